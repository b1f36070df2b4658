package conform

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
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

// gcPercent lets the heap of a test binary grow further between collections. A run makes and drops
// thousands of small rooms, in which a sixth of its time would go to collecting them.
const gcPercent = 400

// relaxCollector collects less often, unless GOGC says how often.
func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
