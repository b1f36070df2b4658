package consensus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// lab is a homeserver in a room with a fake server.
type lab struct {
	*blueprints.Room
	// previous is the event that all probes follow.
	previous []string
	// levels are the power levels at it, whose entries the probes of them add to.
	levels map[string]any
	// gone is why there is no homeserver any more; nil while there is.
	gone error
}

// Everybody may send state and change the power levels.
func anyoneChangesLevels() blueprints.Setting {
	return blueprints.Create("power_level_content_override", map[string]any{"state_default": 0, "events": map[string]any{"m.room.power_levels": 0}})
}

// newLab brings the homeserver into a room. It may have to be started again, and so no other test of this
// package may run at the same time.
func newLab(t *testing.T, v matrix.RoomVersion) *lab {
	t.Helper()
	scene := blueprints.NewSceneOn(t, conform.Deployment(t))
	l := &lab{Room: blueprints.HostedOn(t, scene, v, anyoneChangesLevels())}
	l.FayJoins(t)
	l.Fence(t)
	l.begin(t)
	return l
}

// begin chooses the event that the probes follow.
func (l *lab) begin(t *testing.T) {
	t.Helper()
	l.previous = []string{l.Next(t).ID()}
	levels, ok := l.Room.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
	if !ok {
		conform.Inconclusive(t, "the room has no power levels")
	}
	l.levels = levels
}

// shot is an event on its way, and what came of sending it.
type shot struct {
	probe  probe
	forged fakeserver.Forged
	// status and answered are the status of the answer, and what it says about the event; status is 0 when
	// there was none.
	status   int
	answered string
	err      error
}

// draft is the honest event in which a probe is made, and its author.
func (l *lab) draft(t *testing.T, p probe) (*fakeserver.User, fakeserver.Draft) {
	t.Helper()
	author := l.Fay
	var d fakeserver.Draft
	if p.levels == "" {
		author = l.Peer.Member(t, "joiner")
		d = fakeserver.Membership(author.ID(l.Version), "join")
	} else {
		d = fakeserver.State("m.room.power_levels", "", l.withLevels(t, p.levels))
	}
	d.PrevEvents = l.previous
	return author, d
}

// withLevels are the room's power levels with more entries in "events".
func (l *lab) withLevels(t *testing.T, entries string) map[string]any {
	t.Helper()
	text, err := json.Marshal(l.levels)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	var levels map[string]any
	if err := json.Unmarshal(text, &levels); err != nil {
		conform.HarnessError(t, "%v", err)
	}
	events, _ := levels["events"].(map[string]any)
	if events == nil {
		events = map[string]any{}
	}
	if err := json.Unmarshal([]byte("{"+entries+"}"), &events); err != nil {
		conform.HarnessError(t, "the entries %s: %v", entries, err)
	}
	levels["events"] = events
	return levels
}

// build makes the event of a probe.
func (l *lab) build(t *testing.T, p probe) *shot {
	t.Helper()
	author, d := l.draft(t, p)
	return &shot{probe: p, forged: l.Forge(t, author, d, p.forgery)}
}

// deliver sends the event of a shot by a path.
func (l *lab) deliver(ctx context.Context, path fakeserver.DeliveryPath, s *shot) {
	ctx, cancel := context.WithTimeout(ctx, wait.Limit())
	defer cancel()
	s.err = nil
	delivered, err := path.Deliver(ctx, l.Room.Room, l.At, s.forged)
	if err != nil {
		s.err = err
		return
	}
	if delivered.Response != nil {
		s.status = delivered.Response.Status
		for id, entry := range delivered.Response.Get("pdus").Map() {
			if id == s.forged.EventID || len(delivered.Response.Get("pdus").Map()) == 1 {
				s.answered = entry.Get("error").String()
			}
		}
	}
}

// alive reports whether the homeserver still answers; the error says how it does not. One that is merely
// busy has as long as any other wait lasts.
func (l *lab) alive(ctx context.Context) error {
	return wait.Until(ctx, wait.Limit(), "the homeserver to answer", func(ctx context.Context) (bool, error) {
		response, err := l.Alice.Do(ctx, http.MethodGet, csapi.Path("versions"), csapi.Timeout(wait.Limit()))
		if err == nil && !response.OK() {
			err = fmt.Errorf("status %d", response.Status)
		}
		return err == nil, err
	})
}

// restart starts the homeserver again after a crash.
func (l *lab) restart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*wait.Limit())
	defer cancel()
	if err := l.TryRestart(ctx, l.HS); err != nil {
		l.gone = fmt.Errorf("the homeserver could not be started again: %w", err)
	}
}

// next has alice send messages until one builds upon an event, and returns that message: the homeserver has
// then dealt with what came before the event.
func (l *lab) next(ctx context.Context, upon string) (*matrix.Event, error) {
	var found *matrix.Event
	err := wait.Until(ctx, wait.Limit(), "an event of the homeserver upon "+upon, func(ctx context.Context) (bool, error) {
		path := csapi.Path("v3", "rooms", l.ID, "send", "m.room.message", rand.Text())
		response, err := l.Alice.Do(ctx, http.MethodPut, path, csapi.Body(map[string]any{"msgtype": "m.text", "body": "next"}))
		if err != nil {
			return false, err
		}
		id := response.Get("event_id").Str
		if !response.OK() || id == "" {
			return false, fmt.Errorf("alice cannot send a message:\n%s", response)
		}
		pdu, err := l.Peer.WaitPDU(ctx, func(pdu fakeserver.PDU) bool { return pdu.Event != nil && pdu.Event.ID() == id })
		if err != nil {
			return false, err
		}
		if !slices.Contains(pdu.Event.PrevEvents(), upon) {
			return false, fmt.Errorf("the homeserver builds upon %q", pdu.Event.PrevEvents())
		}
		found = pdu.Event
		return true, nil
	})
	return found, err
}

// fence has fay send an honest event and waits until the homeserver builds upon it.
func (l *lab) fence(ctx context.Context) (*matrix.Event, error) {
	bounded, cancel := context.WithTimeout(ctx, wait.Limit())
	defer cancel()
	sentinel, err := l.Room.Room.Send(bounded, l.Fay, fakeserver.Message("sentinel"))
	if err != nil {
		return nil, fmt.Errorf("the sentinel could not be sent: %w", err)
	}
	return l.next(ctx, sentinel.ID())
}

// errSilent is the error of a fence that a living homeserver does not pass.
var errSilent = errors.New("the homeserver answers, but takes no more part in the room")
