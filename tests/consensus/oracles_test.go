package consensus

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// view is what could be seen behind a batch.
type view struct {
	// state are the shots whose events are in the state before the homeserver's next event, served those
	// whose events it hands out, and cited those that its next event builds upon.
	state, served, cited map[*shot]bool
}

// look looks for the events of shots behind a fence.
func (l *lab) look(ctx context.Context, next *matrix.Event, shots []*shot) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.Limit())
	defer cancel()
	v := view{map[*shot]bool{}, map[*shot]bool{}, map[*shot]bool{}}
	answer, err := l.Peer.GetStateIDs(ctx, l.At, l.ID, next.ID())
	if err != nil {
		return v, err
	}
	if answer.Status() != 200 {
		return v, fmt.Errorf("the state at %s cannot be had: status %d", next.ID(), answer.Status())
	}
	for _, id := range answer.IDs {
		if s := shotOf(shots, id); s != nil {
			v.state[s] = true
			continue
		}
		if l.Room.Room.Event(id) == nil {
			if err := l.identify(ctx, id, shots, v.state); err != nil {
				return v, err
			}
		}
	}
	for _, s := range shots {
		answer, err := l.Peer.GetEvent(ctx, l.At, s.forged.EventID)
		if err != nil {
			return v, err
		}
		v.served[s] = answer.Status() == 200
		v.cited[s] = slices.Contains(next.PrevEvents(), s.forged.EventID)
	}
	return v, nil
}

// identify finds the shot of an event in the state that has another ID than its author had in mind: a
// homeserver that reads numbers otherwise hashes them otherwise.
func (l *lab) identify(ctx context.Context, id string, shots []*shot, state map[*shot]bool) error {
	answer, err := l.Peer.GetEvent(ctx, l.At, id)
	if err != nil || len(answer.Events) != 1 {
		return err
	}
	event := gjson.ParseBytes(answer.Events[0])
	for _, s := range shots {
		tuple, ok := s.forged.Tuple()
		if ok && tuple.StateKey != "" && event.Get("type").Str == tuple.Type && event.Get("state_key").Str == tuple.StateKey {
			state[s] = true
		}
	}
	return nil
}

func shotOf(shots []*shot, id string) *shot {
	if i := slices.IndexFunc(shots, func(s *shot) bool { return s.forged.EventID == id }); i >= 0 {
		return shots[i]
	}
	return nil
}

// judge says what came of a shot. A way of looking counts only where it tells the two controls apart; the
// state decides, and when it is contradicted by what the homeserver hands out nothing is decided. What the
// homeserver says in its answer, and what it builds upon, is evidence and no more.
func judge(s, before, after *shot, v view) finding {
	f := newFinding(s)
	outcome := func(accepted bool) conform.Outcome {
		if accepted {
			return conform.Accepted
		}
		return conform.Rejected
	}
	oracle := func(name string, accepts func(*shot) bool) conform.Outcome {
		o := conform.Oracle{Name: name}
		if accepts(before) && !accepts(after) {
			o.Says = outcome(accepts(s))
		}
		f.Oracles = append(f.Oracles, o)
		return o.Says
	}
	state := oracle("state", func(s *shot) bool { return v.state[s] })
	served := oracle("event", func(s *shot) bool { return v.served[s] })
	oracle("cited", func(s *shot) bool { return v.cited[s] })
	oracle("answer", func(s *shot) bool { return s.status == 200 && s.answered == "" })
	f.ControlBefore, f.ControlAfter = outcome(v.state[before]), outcome(v.state[after])
	switch {
	case f.ControlBefore != conform.Accepted:
		f.Note = "the honest event before the probe is not in the state"
	case f.ControlAfter != conform.Rejected:
		f.Note = "the event with the bad signature behind the probe is in the state"
	case state != served && served != "" && !sameEventUnderAnotherID(s, v):
		f.Note = fmt.Sprintf("the state says %s, and whether the event is handed out %s", state, served)
	default:
		f.Outcome = state
	}
	if s.answered != "" {
		f.Note = joinNotes(f.Note, "the answer to the request says: "+s.answered)
	}
	return f
}

// sameEventUnderAnotherID reports whether the event is in the state under another ID than the one that it
// was asked for by.
func sameEventUnderAnotherID(s *shot, v view) bool {
	return v.state[s] && !v.served[s] && hasNoCanonicalForm(s.forged)
}

func hasNoCanonicalForm(f fakeserver.Forged) bool {
	_, err := matrix.CanonicalJSON(f.PDU)
	return err != nil
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
