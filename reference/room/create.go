package room

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/rules"
)

// Create makes a room and returns its ID: the create event, the creator's join, and the initial
// events. When an initial event is refused the room exists, with what came before, and the error says
// so. Errors are *peer.Error.
func (g *Engine) Create(ctx context.Context, c Creation) (string, error) {
	r, a, err := g.newRoom(c)
	if err != nil {
		return "", err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := g.commit(r, verdict{event: r.create, outcome: Accepted, restart: true}); err != nil {
		return "", err
	}
	join, err := withMembership(c.Member, "join")
	if err != nil {
		return "", err
	}
	drafts := g.foundingDrafts(c.Version, a)
	drafts = append(drafts, Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(a.user)), Content: join})
	if len(drafts) == 2 && g.Defects.Has("JoinBeforeParticipating") {
		slices.Reverse(drafts)
	}
	for _, d := range append(drafts, c.Initial...) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := g.send(r, a, d); err != nil {
			return "", fmt.Errorf("creating the room: %s: %w", d.Type, err)
		}
	}
	return r.id, nil
}

// foundingDrafts are what comes between the create event and the creator's join: in rooms with
// participation the creator's server accepts itself (MSC4345, "Room creation flow").
func (g *Engine) foundingDrafts(v matrix.RoomVersion, a actor) []Draft {
	if !v.HasParticipation() {
		return nil
	}
	return []Draft{{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(string(a.server)),
		Content: participationContent(matrix.Accepted, g.ServerName, ""),
	}}
}

// newRoom makes a room of which nothing but this server's key is stored yet, and finds out who the creator
// is in it. Two rooms of one creator have the same ID when their create events are the same down to the
// millisecond; the second is then dated later.
func (g *Engine) newRoom(c Creation) (*liveRoom, actor, error) {
	a, key, err := g.founder(c)
	if err != nil {
		return nil, actor{}, err
	}
	for at := g.Clock().UnixMilli(); ; at++ {
		create, err := buildCreate(c, a, at)
		if err != nil {
			return nil, actor{}, err
		}
		r, err := g.newLiveRoom(create)
		if err != nil {
			return nil, actor{}, forbidden(err)
		}
		if key != nil {
			if err := g.ServerKeys.Adopt(r.id, c.Version, *key); err != nil {
				return nil, actor{}, err
			}
		}
		added, err := g.addRoom(r)
		if err != nil || added {
			return r, a, err
		}
	}
}

// founder is the creator of a room to be, with the key that this server will have in it, if the version
// has server keys: the room's ID follows from the create event, which the key may have to sign.
func (g *Engine) founder(c Creation) (actor, *matrix.ServerKeyPair, error) {
	if !c.Version.HasParticipation() {
		a, err := g.actor(c.Version, "", c.Creator)
		return a, nil, err
	}
	key := c.Server
	if key == nil {
		minted, err := matrix.NewServerKeyPair()
		if err != nil {
			return actor{}, nil, err
		}
		key = &minted
	}
	a, err := g.actorThrough(c.Version, *key, c.Creator)
	return a, key, err
}

func buildCreate(c Creation, a actor, at int64) (*matrix.Event, error) {
	content := c.Content
	if content == nil {
		content = []byte("{}")
	}
	content, err := sjson.SetBytes(content, "room_version", c.Version.ID)
	if err != nil {
		return nil, peer.BadJSON("creation_content: %v", err)
	}
	p := matrix.ProtoEvent{
		Type: "m.room.create", StateKey: matrix.StateKey(""), Sender: a.user, Content: content,
		Depth: 1, OriginServerTS: at,
	}
	create, err := p.Build(c.Version, a.signers...)
	if err != nil {
		return nil, peer.BadJSON("%v", err)
	}
	if err := checkSize(create); err != nil {
		return nil, err
	}
	if err := rules.AuthoriseCreate(create); err != nil {
		return nil, peer.BadJSON("%v", err)
	}
	return create, nil
}

// addRoom makes a new room known, unless there is one with its ID.
func (g *Engine) addRoom(r *liveRoom) (bool, error) {
	if known, err := g.live(r.id); err != nil || known != nil {
		return false, err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if _, ok := g.rooms[r.id]; ok {
		return false, nil
	}
	g.rooms[r.id] = r
	return true, nil
}

// withMembership is the content of a member event: an object of a client's, or nil, with membership set.
func withMembership(content []byte, membership string) ([]byte, error) {
	object := map[string]json.RawMessage{}
	if content != nil {
		if err := json.Unmarshal(content, &object); err != nil {
			return nil, peer.BadJSON("the content of a member event is not an object: %v", err)
		}
	}
	if object == nil {
		object = map[string]json.RawMessage{}
	}
	quoted, err := json.Marshal(membership)
	if err != nil {
		return nil, err
	}
	object["membership"] = quoted
	return json.Marshal(object)
}
