package csapi

import (
	"fmt"
	"strings"
	"sync"
)

// transcriptLimit bounds the number of exchanges a transcript keeps. A test needs tens; a runaway
// poll must not eat the machine's memory.
const transcriptLimit = 1000

// Transcript is the record of what clients asked and were answered, in the order of the answers.
// It is shared by the clients of a test. The zero value is empty and ready.
type Transcript struct {
	mu        sync.Mutex
	exchanges []*Response
	dropped   int
}

func (tr *Transcript) add(r *Response) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.exchanges) == transcriptLimit {
		copy(tr.exchanges, tr.exchanges[1:])
		tr.exchanges = tr.exchanges[:transcriptLimit-1]
		tr.dropped++
	}
	tr.exchanges = append(tr.exchanges, r)
}

// Exchanges returns what was recorded so far. The values must not be changed.
func (tr *Transcript) Exchanges() []*Response {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]*Response(nil), tr.exchanges...)
}

// String shows every exchange, each with its number and its time since the first one.
func (tr *Transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var text strings.Builder
	if tr.dropped > 0 {
		fmt.Fprintf(&text, "(%d earlier exchanges are not shown)\n", tr.dropped)
	}
	for i, r := range tr.exchanges {
		fmt.Fprintf(&text, "[%d] +%dms %s\n", tr.dropped+i+1, r.Started.Sub(tr.exchanges[0].Started).Milliseconds(), r)
	}
	return text.String()
}
