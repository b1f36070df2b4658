package report

import (
	"regexp"
	"strconv"
	"strings"
)

// Overview is the head of a transcript: who took part, and what was on the wire, one line each.
type Overview struct {
	// Names say who the short names are, in the order of the transcript.
	Names []OverviewName
	// Steps are the requests, in the order in which they began.
	Steps []Step
}

// OverviewName is who a short name stands for.
type OverviewName struct{ Short, Name string }

// Step is one request of an [Overview], with its answer.
type Step struct {
	// Seconds is when it began, since the first one.
	Seconds float64
	// From and To are short names: hs1 is a homeserver, fake1 a fake server, and @alice a user.
	From, To string
	// Asked is the request in a few words, and Answer its status, or "no answer".
	Asked, Answer string
}

// overviewTitle is the first line of a transcript that has an overview, which ends at the first empty
// line.
const overviewTitle = "overview\n"

var (
	overviewParts = regexp.MustCompile(` {2,}`)
	overviewName  = regexp.MustCompile(`^([^ ]+) = ([^ ]+)$`)
	overviewWho   = regexp.MustCompile(`^([^ ]+) -> ([^ ]+)$`)
)

// ParseOverview reads the head of a transcript. It returns nil for a transcript without one; a line
// that it does not understand is passed over.
func ParseOverview(transcript string) *Overview {
	head, ok := strings.CutPrefix(transcript, overviewTitle)
	if !ok {
		return nil
	}
	o := &Overview{}
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		if name := overviewName.FindStringSubmatch(line); name != nil {
			o.Names = append(o.Names, OverviewName{name[1], name[2]})
			continue
		}
		parts := overviewParts.Split(line, -1)
		if len(parts) != 4 {
			continue
		}
		who := overviewWho.FindStringSubmatch(parts[1])
		at, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimPrefix(parts[0], "+"), "s"), 64)
		if who == nil || err != nil {
			continue
		}
		o.Steps = append(o.Steps, Step{Seconds: at, From: who[1], To: who[2], Asked: parts[2], Answer: parts[3]})
	}
	return o
}
