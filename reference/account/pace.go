package account

import (
	"time"

	"countersign/matrix"
)

// How long an event waits for its sender's domain, and how often a domain is asked that confirms nothing.
const (
	patience      = 3 * time.Second        // since the domain was asked
	shortPatience = 250 * time.Millisecond // the same, when it has not answered the last time
	freeQuestions = 50                     // in a row, without a confirmed key, at any rate
	pause         = time.Second            // between those that follow
	maxPaces      = 100_000
)

// pace is how a domain has answered lately. Anybody can claim a domain for any number of keys, so that a
// domain that is well and confirms none of them must not be asked for each of them (MSC4243, "Potential
// Issues"). D-29: the text asks for a back-off and has no curve. This one never keeps a domain's true
// users waiting for long.
type pace struct {
	// failing: the last question was not answered.
	failing bool
	// fruitless counts the answers in a row that confirmed nothing.
	fruitless int
	// next is when the domain may be asked again.
	next time.Time
}

// patience is for how long an event may wait for a domain from now on.
func (d *Directory) patience(from source) time.Duration {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	left := patience
	if d.paces[from].failing {
		left = shortPatience
	}
	if since := d.busy[from]; !since.IsZero() {
		left -= d.Clock().Sub(since)
	}
	return max(left, 0)
}

// postponed reports whether a domain is not to be asked now, in which case the key is asked for later,
// together with all others of the domain. d.mutex is held.
func (d *Directory) postponed(s subject) bool {
	next := d.paces[s.source()].next
	if !next.After(d.Clock()) {
		return false
	}
	if a := d.attempts[s]; a.next.Before(next) && len(d.attempts) < maxAttempts {
		a.next = next
		d.attempts[s] = a
		d.nudge()
	}
	return true
}

// notePace notes what came of asking a domain for some of its keys.
func (d *Directory) notePace(from source, asked []matrix.UserID, said map[matrix.UserID]Entry, answered bool) {
	if len(asked) == 0 {
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	p := d.paces[from]
	p.failing = !answered
	if answered {
		p.fruitless++
	}
	for _, e := range said {
		if e.State == Verified {
			p.fruitless = 0
		}
	}
	p.next = time.Time{}
	if p.fruitless > freeQuestions {
		p.next = d.Clock().Add(pause)
	}
	if p == (pace{}) {
		delete(d.paces, from)
		return
	}
	if len(d.paces) >= maxPaces {
		clear(d.paces)
	}
	d.paces[from] = p
}
