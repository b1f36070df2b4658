package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"

	"countersign/matrix"
)

// SendJoinPath delivers a state event with the state that the answer to send_join tells, or, when the
// forgery has left no state event of it, with the auth chain.
func SendJoinPath() DeliveryPath {
	return DeliveryPath{
		Name:  "send_join",
		Needs: Join,
		deliver: func(_ context.Context, r *Room, _ matrix.ServerName, f Forged) (Delivered, error) {
			r.Plant(f)
			return Delivered{}, nil
		},
		refuses: answers(refusal{ofOwnServer, "the revocation of the fake server takes the place of its acceptance in the state that is told, so that no fence would be taken"}),
	}
}

// BackfillPath makes an event part of the history that a server finds when it has joined the room and
// asks what came before: GET /backfill. The state that the server is told on joining is without it.
func BackfillPath() DeliveryPath {
	return DeliveryPath{
		Name:  "backfill",
		Needs: Page,
		Asks:  OpBackfill,
		deliver: func(_ context.Context, r *Room, _ matrix.ServerName, f Forged) (Delivered, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.hide(f, OpBackfill, OpState, OpStateIDs, OpEventAuth)
			r.follow(f)
			after, err := r.speak("after it", nil)
			if err != nil {
				return Delivered{}, err
			}
			r.add(after)
			return Delivered{Followers: []*matrix.Event{after}}, nil
		},
		refuses: answers(refusal{aboutCreate, "the room's create event is known to whoever joins, and no history has a second one"}),
	}
}

// MissingEventsPath keeps an event back and sends its child, so that the other server asks what is
// missing: POST /get_missing_events.
func MissingEventsPath() DeliveryPath {
	return gapPath("get_missing_events", OpMissingEvents)
}

// EventPath keeps an event back and sends its child; asked what is missing, this server does not know,
// so that the other one asks for the parent itself: GET /event.
func EventPath() DeliveryPath {
	return gapPath("event", OpEvent)
}

// gapPath is the path of an event that is missing before another and found by one operation only.
func gapPath(name string, op Operation) DeliveryPath {
	return DeliveryPath{
		Name: name,
		Asks: op,
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
			r.mu.Lock()
			r.hide(f, op, OpState, OpStateIDs, OpEventAuth)
			child, err := r.speak("child", []string{f.EventID})
			r.mu.Unlock()
			return r.sendFollowers(ctx, dest, err, child)
		},
		refuses: answers(refusal{aboutCreate, "a create event has no place among the events of a room that the other server knows"}),
	}
}

// StateIDsPath claims that a state event is in the state before a message that the other server has to
// ask for: GET /state_ids, and then the event itself by GET /event, or all by GET /state.
func StateIDsPath() DeliveryPath {
	return DeliveryPath{
		Name: "state_ids",
		Asks: OpStateIDs,
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
			r.mu.Lock()
			r.hide(f, OpEvent, OpState)
			parent, err := r.speak("parent", nil)
			var child *matrix.Event
			if err == nil {
				h := r.hide(forgedOf(parent), OpEvent, OpState, OpStateIDs, OpEventAuth)
				h.claims = []Forged{f}
				child, err = r.speak("child", []string{parent.ID()})
			}
			r.mu.Unlock()
			d, err := r.sendFollowers(ctx, dest, err, child)
			if parent != nil {
				d.Followers = append([]*matrix.Event{parent}, d.Followers...)
			}
			return d, err
		},
		refuses: answers(refusal{aboutCreate, "a state with another create event is that of another room"}),
	}
}

// speak builds a message of a user of this server; the parents are the extremities when prev is nil.
func (r *Room) speak(text string, prev []string) (*matrix.Event, error) {
	u := r.member()
	if u == nil {
		return nil, fmt.Errorf("no user of %s is in %s to send a message after the event", r.server.name, r.id)
	}
	d := Message(text)
	d.PrevEvents = prev
	return r.newEvent(u, d)
}

// sendFollowers makes honest events known and sends the last of them.
func (r *Room) sendFollowers(ctx context.Context, dest matrix.ServerName, err error, e *matrix.Event) (Delivered, error) {
	if err != nil {
		return Delivered{}, err
	}
	r.AddOutlier(e)
	_, err = r.server.SendTransaction(ctx, dest, []json.RawMessage{e.JSON()}, nil)
	return Delivered{Followers: []*matrix.Event{e}}, err
}
