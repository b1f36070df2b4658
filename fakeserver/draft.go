package fakeserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"countersign/matrix"
)

// Draft is what the author of an event decides. Everything that it leaves empty is filled in as an
// honest server would, from the state of the room.
type Draft struct {
	// Type is the event type.
	Type string
	// StateKey is the state key; nil for an event that is not a state event.
	StateKey *string
	// Content is the content: anything that marshals to a JSON object, or json.RawMessage.
	Content any
	// PrevEvents are the parents; nil means the forward extremities.
	PrevEvents []string
	// AuthEvents are the events that authorise it; nil means what room version 12 selects from the
	// state before the event.
	AuthEvents []string
	// Depth is the depth; 0 means one more than the deepest parent.
	Depth int64
	// Time is origin_server_ts; the zero time means now.
	Time time.Time
	// Unsigned is the unsigned property as JSON, or nil.
	Unsigned json.RawMessage
	// Resolved are state events that are in the state before this one although others in their places are
	// deeper: what state resolution says where the parents are on different branches. See [Room.Merge].
	Resolved []*matrix.Event
	// CoSigners sign the event as well: the authoriser of a restricted join, or the target of an
	// invitation, when their accounts are of a fake server.
	CoSigners []*User
	// ServerKey is the server key through which the event is sent, in rooms with participation; the zero
	// value is the key that the sender's server uses in the room. See [Draft.Through].
	ServerKey matrix.ServerKeyPair
	// Authorising is the server key that signs a request to participate as well, as the server that
	// authorises it; the zero value when the resident server is still to sign. See [Draft.AuthorisedBy].
	Authorising matrix.ServerKeyPair
}

// Message is the draft of a text message.
func Message(body string) Draft {
	return Draft{Type: "m.room.message", Content: map[string]any{"msgtype": "m.text", "body": body}}
}

// State is the draft of a state event.
func State(eventType, stateKey string, content any) Draft {
	return Draft{Type: eventType, StateKey: &stateKey, Content: content}
}

// Membership is the draft of a membership event about a user.
func Membership(target matrix.UserID, membership string) Draft {
	return State("m.room.member", string(target), map[string]any{"membership": membership})
}

// Redaction is the draft of a redaction of an event.
func Redaction(eventID string) Draft {
	return Draft{Type: "m.room.redaction", Content: map[string]any{"redacts": eventID}}
}

// With returns a copy of the draft with a member added to its content, which must be a JSON object.
// A content that is not stays as it is, and the event cannot be built.
func (d Draft) With(key string, value any) Draft {
	content := map[string]any{}
	switch c := d.Content.(type) {
	case map[string]any:
		maps.Copy(content, c)
	case nil:
	default:
		raw, err := encodeBody(c)
		if err != nil || json.Unmarshal(raw, &content) != nil {
			return d
		}
	}
	content[key] = value
	d.Content = content
	return d
}

// content is the content as JSON.
func (d Draft) content() (json.RawMessage, error) {
	if d.Content == nil {
		return json.RawMessage("{}"), nil
	}
	raw, err := encodeBody(d.Content)
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", d.Type, err)
	}
	return raw, nil
}
