package clientapi

import (
	"sync"

	"countersign/reference/room"
)

// relation is an event that relates to another one.
type relation struct {
	eventID, relType, eventType string
	place                       room.Place
}

// relationIndex knows which events of a room relate to which, for the rooms that clients look at. It
// is built from timelines when it is needed and never stored. What it names must be looked up again:
// an event may have been redacted, or its sender hidden, since.
type relationIndex struct {
	engine *room.Engine
	mu     sync.Mutex
	rooms  map[string]*roomRelations
}

type roomRelations struct {
	mu sync.Mutex
	// upTo is how far the timeline has been read.
	upTo     room.Place
	byParent map[string][]relation
}

func newRelationIndex(engine *room.Engine) *relationIndex {
	return &relationIndex{engine: engine, rooms: map[string]*roomRelations{}}
}

// forget drops what is known about a room, after its history has grown at the other end.
func (x *relationIndex) forget(roomID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.rooms, roomID)
}

func (x *relationIndex) room(roomID string) *roomRelations {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.rooms[roomID]
	if r == nil {
		r = &roomRelations{byParent: map[string][]relation{}}
		x.rooms[roomID] = r
	}
	return r
}

// children returns the events that relate to one, in the order of the timeline.
func (x *relationIndex) children(roomID, parent string) ([]relation, error) {
	r := x.room(roomID)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		chunk, next, err := x.engine.Timeline(roomID, r.upTo, false, chunkSize)
		if err != nil {
			return nil, err
		}
		for _, e := range chunk {
			to := e.Get(`m\.relates_to`)
			if id := to.Get("event_id").Str; id != "" {
				r.byParent[id] = append(r.byParent[id], relation{e.ID(), to.Get("rel_type").Str, e.Type(), e.Place})
			}
		}
		if len(chunk) == 0 || next == r.upTo {
			return r.byParent[parent], nil
		}
		r.upTo = next
	}
}
