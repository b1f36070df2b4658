package consensus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"unicode/utf8"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
)

// honest and bad are the controls of a batch: the first must be accepted, the second rejected.
var (
	honest = probe{id: "control", expect: conform.Accepted}
	bad    = probe{id: "control", expect: conform.Rejected, forgery: fakeserver.Forgery{FlipSignatureBits: []int{300}}}
)

// try sends a batch of probes between its controls, and says what came of them. Of a batch in which the
// homeserver crashed or fell silent, what is not known yet is to be tried again.
func (l *lab) try(t *testing.T, batch []probe) (found []finding, again [][]probe) {
	t.Helper()
	ctx := wait.Context(t)
	if l.gone != nil {
		for _, p := range batch {
			found = append(found, undecided(&shot{probe: p, forged: l.build(t, p).forged}, l.gone.Error()))
		}
		return found, nil
	}
	path := fakeserver.SendPath()
	if batch[0].fetched {
		path = fakeserver.MissingEventsPath()
	}
	before := l.build(t, honest)
	l.deliver(ctx, path, before)
	var shots []*shot
	for i, p := range batch {
		s := l.build(t, p)
		if death := l.survive(t, path, s); death != "" {
			found = append(found, crashed(s, death))
			l.restart(ctx)
			return found, rest(append(batch[:i:i], batch[i+1:]...))
		}
		shots = append(shots, s)
	}
	after := l.build(t, bad)
	l.deliver(ctx, path, after)

	next, err := l.fence(ctx)
	if err != nil {
		return l.silent(t, shots, err)
	}
	view, err := l.look(ctx, next, append([]*shot{before, after}, shots...))
	if err != nil {
		return l.silent(t, shots, err)
	}
	for _, s := range shots {
		found = append(found, judge(s, before, after, view))
	}
	return found, nil
}

// survive sends an event and returns how the homeserver died of it; empty when it lives.
func (l *lab) survive(t *testing.T, path fakeserver.DeliveryPath, s *shot) (death string) {
	t.Helper()
	ctx := wait.Context(t)
	l.deliver(ctx, path, s)
	if err := l.alive(ctx); err != nil {
		return fmt.Sprintf("it answered before it was sent the event, and not behind it: %v", err)
	}
	if s.err == nil {
		return ""
	}
	first := s.err
	if l.deliver(ctx, path, s); s.err == nil { // the connection may have been an old one
		return ""
	}
	if err := l.alive(ctx); err != nil {
		return fmt.Sprintf("it answered before it was sent the event, and not behind it: %v", err)
	}
	return fmt.Sprintf("it gives no answer to the request with the event: %v", first)
}

// silent deals with a batch that the homeserver did not get through. The probes are tried one by one; of one
// alone, it is the one at fault if the homeserver is as good as new after it was started again.
func (l *lab) silent(t *testing.T, shots []*shot, reason error) (found []finding, again [][]probe) {
	t.Helper()
	ctx := wait.Context(t)
	l.restart(ctx)
	if len(shots) > 1 {
		for _, s := range shots {
			again = append(again, []probe{s.probe})
		}
		return nil, again
	}
	if l.gone == nil {
		if _, err := l.fence(ctx); err != nil {
			return []finding{undecided(shots[0], reason.Error())}, nil
		}
	}
	return []finding{crashed(shots[0], fmt.Sprintf("%v until it was started again: %v", errSilent, reason))}, nil
}

func rest(batch []probe) [][]probe {
	if len(batch) == 0 {
		return nil
	}
	return [][]probe{batch}
}

// newFinding is a finding without an outcome.
func newFinding(s *shot) finding {
	sum := sha256.Sum256(s.forged.PDU)
	event := ""
	if utf8.Valid(s.forged.PDU) {
		event = string(s.forged.PDU)
	}
	return finding{probe: s.probe, Probe: conform.Probe{
		Probe: s.probe.id, Requirement: s.probe.requirement, Server: "hs1", Expected: s.probe.expect, EventID: s.forged.EventID,
		EventSHA256: hex.EncodeToString(sum[:]), Event: event, HTTP: s.status, Oracles: []conform.Oracle{},
		ControlBefore: conform.Undecided, ControlAfter: conform.Undecided, Outcome: conform.Undecided,
	}}
}

func crashed(s *shot, how string) finding {
	f := newFinding(s)
	f.Outcome, f.Note = conform.Crashed, how
	return f
}

func undecided(s *shot, why string) finding {
	f := newFinding(s)
	f.Note = why
	return f
}
