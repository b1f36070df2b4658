package conform

import (
	"flag"
	"runtime"
	"strconv"
)

// testsPerCore is how many tests run at once for each core. A test mostly waits, for a homeserver to
// answer or for an event to arrive, and homeservers share the cores with it.
const testsPerCore = 6

// raiseParallelism runs more tests at once than there are cores, unless -parallel says how many.
func raiseParallelism() error {
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if chosen {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(testsPerCore*runtime.GOMAXPROCS(0)))
}
