// Package roomtest builds unsigned events for the unit tests of the authorization rules and of state
// resolution, which look at no signatures.
package roomtest

import (
	"encoding/json"
	"testing"

	"countersign/matrix"
)

// Event describes an event in the order in which one would say it.
type Event struct {
	Sender   string
	Type     string
	StateKey *string
	// Content is JSON.
	Content string
	// Prev and Auth are the events that it cites.
	Prev, Auth []*matrix.Event
	TS         int64
}

// Key is a state key.
func Key(k string) *string { return &k }

// JSON is a document as text; v must be something that encoding/json can write.
func JSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Build builds an event of a room; create is nil for the create event itself.
func Build(t testing.TB, v matrix.RoomVersion, create *matrix.Event, e Event, signers ...matrix.Signer) *matrix.Event {
	t.Helper()
	p := matrix.ProtoEvent{
		Type: e.Type, StateKey: e.StateKey, Sender: matrix.UserID(e.Sender), Content: []byte(e.Content), OriginServerTS: e.TS,
	}
	if create != nil {
		p.RoomID = create.RoomID()
	}
	for _, prev := range e.Prev {
		p.PrevEvents = append(p.PrevEvents, prev.ID())
		p.Depth = max(p.Depth, prev.Depth()+1)
	}
	for _, auth := range e.Auth {
		p.AuthEvents = append(p.AuthEvents, auth.ID())
	}
	built, err := p.Build(v, signers...)
	if err != nil {
		t.Fatalf("building %s: %v", e.Type, err)
	}
	return built
}

// Create is an m.room.create event.
func Create(t testing.TB, v matrix.RoomVersion, sender, content string) *matrix.Event {
	t.Helper()
	return Build(t, v, nil, Event{Sender: sender, Type: "m.room.create", StateKey: Key(""), Content: content})
}
