package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Time        time.Time
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
	Key         string
	Value       string
}

// lineLimit bounds one line of the stream. The tool writes lines of a few KB; what is longer is
// not its work.
const lineLimit = 1 << 20

// events calls each for every event of a stream, line by line. A line that is not an event (what a
// tool printed beside the stream) is handed on as output of no package. The error is that of the
// reader.
func events(r io.Reader, each func(*event)) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(lines)
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				e = event{Action: "output", Output: string(line) + "\n"}
			}
			each(&e)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the output of go test: %w", err)
		}
	}
}

// readLine reads a line without its end. Of a line beyond lineLimit it returns the beginning.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if room := lineLimit - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return []byte(strings.TrimRight(string(line), "\r\n")), err
		}
	}
}

// tail keeps the beginning and the end of a text, within about twice its limit.
type tail struct {
	head, end string
	cut       bool
}

// tailLimit is how much of each end is kept: enough for a failure and a stack trace.
const tailLimit = 4 << 10

func (t *tail) add(text string) {
	if room := tailLimit - len(t.head); room > 0 && t.end == "" {
		n := min(room, len(text))
		t.head += text[:n]
		text = text[n:]
	}
	t.end += text
	if len(t.end) > tailLimit {
		t.end = t.end[len(t.end)-tailLimit:]
		t.cut = true
	}
}

// String is the text, with a mark where its middle is missing.
func (t *tail) String() string {
	text := t.head + t.end
	if t.cut {
		text = t.head + "\n[...]\n" + t.end
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
