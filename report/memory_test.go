package report

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// synthetic is the stream of a run of very many chatty tests, made while it is read.
type synthetic struct {
	tests, lines int
	test, line   int
	text         strings.Reader
	// printed is a line of output of the test that runs.
	printed string
	// peak is the most heap that was in use at any of some moments.
	peak uint64
	sum  int
}

func (s *synthetic) Read(into []byte) (int, error) {
	for s.text.Len() == 0 {
		if s.test == s.tests {
			return 0, io.EOF
		}
		name := fmt.Sprintf("TestFlood/%d", s.test%50)
		event := func(rest string) string {
			return fmt.Sprintf(`{"Action":%s,"Package":"countersign/tests/msc4243","Test":%q}`+"\n", rest, name)
		}
		switch {
		case s.line == 0:
			s.printed = event(fmt.Sprintf(`"output","Output":%q`, strings.Repeat("what was on the wire ", 45)+"\n"))
			s.text.Reset(event(`"run"`) + event(`"attr","Key":"countersign.covers","Value":"MSC4243-SIG-01"`))
		case s.line > s.lines:
			s.text.Reset(event(`"pass"`))
			s.test++
			s.line = -1
			if s.test%500 == 0 {
				var now runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&now)
				s.peak = max(s.peak, now.HeapAlloc)
			}
		default:
			s.text.Reset(s.printed)
		}
		s.line++
	}
	n, err := s.text.Read(into)
	s.sum += n
	return n, err
}

// A stream of 200 MB is read in constant memory, however long it is.
func TestCollector_ConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: 200 MB are not read")
	}
	catalogue := smallCatalogue(t)
	read := func(tests int) (*synthetic, *Run) {
		stream, collector, run := &synthetic{tests: tests, lines: 100}, NewCollector(catalogue), &Run{}
		require.NoError(t, collector.Read(stream))
		collector.Finish(run)
		return stream, run
	}
	short, _ := read(500)
	long, run := read(2100)
	assert.Greater(t, long.sum, 200<<20)
	assert.Len(t, run.Tests, 50)
	assert.Equal(t, 42, run.Tests[0].Repeats.Pass)
	assert.Less(t, long.peak, short.peak+4<<20, "%d bytes in use after 50 MB, %d after 200 MB", short.peak, long.peak)
}
