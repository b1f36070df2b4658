package matrix

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strconv"
)

// ProtoEvent is an event before it is hashed and signed.
type ProtoEvent struct {
	// Type is the event type.
	Type string
	// StateKey is the state key; nil for an event that is not a state event.
	StateKey *string
	// Sender is the sending user as the room version names users.
	Sender UserID
	// RoomID is the room; empty for a create event, which has none of its own.
	RoomID string
	// Content is the content object as JSON.
	Content []byte
	// PrevEvents and AuthEvents are event IDs.
	PrevEvents, AuthEvents []string
	// Depth is one more than the greatest depth of the previous events.
	Depth int64
	// OriginServerTS is milliseconds since the Unix epoch.
	OriginServerTS int64
	// Unsigned is the unsigned object as JSON, or nil.
	Unsigned []byte
}

// StateKey is a convenience for ProtoEvent.StateKey.
func StateKey(key string) *string { return &key }

// Build hashes the event, signs it with every signer, and returns it. The error wraps
// ErrNotCanonical when content or unsigned cannot be canonicalised.
func (p ProtoEvent) Build(v RoomVersion, signers ...Signer) (*Event, error) {
	content, err := requireObject(p.Content, CanonicalJSON)
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", p.Type, err)
	}
	var unsigned []byte
	if p.Unsigned != nil {
		if unsigned, err = requireObject(p.Unsigned, CanonicalJSON); err != nil {
			return nil, fmt.Errorf("unsigned of %s: %w", p.Type, err)
		}
	}
	e := &Event{
		version: v, eventType: p.Type, sender: p.Sender, roomID: p.RoomID, hasRoomID: p.RoomID != "",
		isState: p.StateKey != nil, hashOK: true, depth: p.Depth, timestamp: p.OriginServerTS,
		prev: nonNil(p.PrevEvents), auth: nonNil(p.AuthEvents),
	}
	if p.StateKey != nil {
		e.stateKey = *p.StateKey
	}
	size := 512 + len(content) + 48*(len(p.PrevEvents)+len(p.AuthEvents))

	hashed := p.write(make([]byte, 0, size), content, "", nil, nil)
	sum := sha256.Sum256(hashed)
	hash := EncodeBase64(sum[:])

	redacted := appendRedactedContent(make([]byte, 0, len(content)), v.Identity, p.Type, content)
	e.message = p.write(make([]byte, 0, size), redacted, hash, nil, nil)
	signatures := []byte("{}")
	for _, s := range signers {
		signatures = mergeSignature(signatures, s.Entity, s.KeyID, EncodeBase64(ed25519.Sign(s.Key, e.message)))
	}
	e.raw = p.write(make([]byte, 0, size+len(signatures)+len(unsigned)), content, hash, signatures, unsigned)
	e.content = lookup(e.raw, "content")
	e.id = referenceID(e.message)
	if e.IsCreate() && !e.hasRoomID {
		e.roomID = "!" + e.id[1:]
	}
	return e, nil
}

// write writes the event's canonical JSON; hash, signatures and unsigned are left out when empty.
func (p ProtoEvent) write(dst, content []byte, hash string, signatures, unsigned []byte) []byte {
	dst = append(dst, `{"auth_events":`...)
	dst = appendStrings(dst, p.AuthEvents)
	dst = append(dst, `,"content":`...)
	dst = append(dst, content...)
	dst = append(dst, `,"depth":`...)
	dst = strconv.AppendInt(dst, p.Depth, 10)
	if hash != "" {
		dst = append(dst, `,"hashes":{"sha256":"`...)
		dst = append(dst, hash...)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, p.OriginServerTS, 10)
	dst = append(dst, `,"prev_events":`...)
	dst = appendStrings(dst, p.PrevEvents)
	if p.RoomID != "" {
		dst = append(dst, `,"room_id":`...)
		dst = appendString(dst, p.RoomID)
	}
	dst = append(dst, `,"sender":`...)
	dst = appendString(dst, string(p.Sender))
	if signatures != nil {
		dst = append(dst, `,"signatures":`...)
		dst = append(dst, signatures...)
	}
	if p.StateKey != nil {
		dst = append(dst, `,"state_key":`...)
		dst = appendString(dst, *p.StateKey)
	}
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, p.Type)
	if unsigned != nil {
		dst = append(dst, `,"unsigned":`...)
		dst = append(dst, unsigned...)
	}
	return append(dst, '}')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func referenceID(message []byte) string {
	sum := sha256.Sum256(message)
	return "$" + EncodeURLBase64(sum[:])
}
