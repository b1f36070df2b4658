package matrix

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strconv"

	"github.com/tidwall/gjson"
)

// Limits of the event format (client-server API, "Size limits", and the PDU definition).
const (
	MaxEventSize  = 65536
	MaxPrevEvents = 20
	MaxAuthEvents = 10
)

// ErrInvalidEvent is wrapped by the errors of events that do not comply with the event format of
// their room version. A homeserver drops such an event.
var ErrInvalidEvent = errors.New("invalid event")

// Event is a PDU of the room version 12 family. It is immutable and safe for concurrent use; byte
// slices that it returns must not be modified.
type Event struct {
	version   RoomVersion
	raw       []byte // canonical JSON, complete
	message   []byte // what signatures cover
	id        string
	eventType string
	sender    UserID
	roomID    string
	stateKey  string
	isState   bool
	hasRoomID bool
	hashOK    bool
	depth     int64
	timestamp int64
	prev      []string
	auth      []string
	content   []byte
}

// ParseEvent reads a PDU and checks everything that needs no other event: strict canonical JSON, the
// event format of the room version, and the size limits. It computes the event ID and compares the
// content hash, but checks no signature. Errors wrap ErrInvalidEvent or ErrNotCanonical.
func ParseEvent(v RoomVersion, pdu []byte) (*Event, error) {
	c, err := CanonicalJSON(pdu)
	if err != nil {
		return nil, err
	}
	return parseCanonicalEvent(v, c)
}

// ParseTrustedEvent is ParseEvent for the output of Event.JSON, such as an event that comes back from
// the caller's own storage. It does not check that the JSON is canonical.
func ParseTrustedEvent(v RoomVersion, canonical []byte) (*Event, error) {
	return parseCanonicalEvent(v, canonical)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidEvent, fmt.Sprintf(format, args...))
}

func parseCanonicalEvent(v RoomVersion, c []byte) (*Event, error) {
	if len(c) > MaxEventSize {
		return nil, invalid("%d bytes, more than %d", len(c), MaxEventSize)
	}
	if len(c) < 2 || c[0] != '{' {
		return nil, invalid("not an object")
	}
	e := &Event{version: v, raw: c, depth: -1}
	var hash []byte
	hasTimestamp := false
	var err error
	for f := range fields(c) {
		switch string(f.key) {
		case "auth_events":
			e.auth, err = eventIDs("auth_events", f.value, MaxAuthEvents)
		case "content":
			if f.value[0] != '{' {
				err = invalid("content is not an object")
			}
			e.content = f.value
		case "depth":
			e.depth, err = nonNegative("depth", f.value)
		case "hashes":
			if f.value[0] != '{' {
				err = invalid("hashes is not an object")
			}
			hash = lookup(f.value, "sha256")
		case "origin_server_ts":
			e.timestamp, err = integer("origin_server_ts", f.value)
			hasTimestamp = true
		case "prev_events":
			e.prev, err = eventIDs("prev_events", f.value, MaxPrevEvents)
		case "room_id":
			e.roomID, err = shortString("room_id", f.value)
			e.hasRoomID = true
		case "sender":
			var sender string
			if sender, err = shortString("sender", f.value); err == nil {
				if e.sender = UserID(sender); v.checkUserID(sender) != nil {
					err = invalid("sender: %v", v.checkUserID(sender))
				}
			}
		case "signatures":
			if f.value[0] != '{' {
				err = invalid("signatures is not an object")
			}
		case "state_key":
			e.stateKey, err = shortString("state_key", f.value)
			e.isState = true
		case "type":
			e.eventType, err = shortString("type", f.value)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case e.auth == nil:
		return nil, invalid("no auth_events")
	case e.content == nil:
		return nil, invalid("no content")
	case e.depth < 0:
		return nil, invalid("no depth")
	case hash == nil:
		return nil, invalid("no hashes.sha256")
	case !hasTimestamp:
		return nil, invalid("no origin_server_ts")
	case e.prev == nil:
		return nil, invalid("no prev_events")
	case e.sender == "":
		return nil, invalid("no sender")
	case e.eventType == "":
		return nil, invalid("no type")
	case !e.hasRoomID && !e.IsCreate():
		return nil, invalid("no room_id")
	}
	e.hashOK = hashMatches(hash, c)
	e.identify()
	return e, nil
}

// identify computes the message that signatures cover, and from it the event ID and, for a create
// event, the room ID.
func (e *Event) identify() {
	e.message = signingBytes(e.version.Identity, e.raw, e.eventType)
	e.id = referenceID(e.message)
	if e.IsCreate() && !e.hasRoomID {
		e.roomID = "!" + e.id[1:]
	}
}

func eventIDs(name string, value []byte, limit int) ([]string, error) {
	if value[0] != '[' {
		return nil, invalid("%s is not an array", name)
	}
	ids := make([]string, 0, 4)
	for element := range elements(value) {
		id, ok := stringValue(element)
		if !ok || len(id) < 2 || len(id) > MaxIDLength || id[0] != '$' {
			return nil, invalid("%s contains something that is not an event ID", name)
		}
		if len(ids) == limit {
			return nil, invalid("%s has more than %d entries", name, limit)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// hashMatches compares the value of hashes.sha256, in any correct base64 spelling, with the content
// hash of a canonical event.
func hashMatches(value, event []byte) bool {
	text, ok := stringValue(value)
	if !ok {
		return false
	}
	hash, err := DecodeBase64Padded(text)
	sum := contentHash(event)
	return err == nil && bytes.Equal(hash, sum[:])
}

func integer(name string, value []byte) (int64, error) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0, invalid("%s is not an integer", name)
	}
	return n, nil
}

func nonNegative(name string, value []byte) (int64, error) {
	n, err := integer(name, value)
	if err == nil && n < 0 {
		err = invalid("%s is negative", name)
	}
	return n, err
}

func shortString(name string, value []byte) (string, error) {
	s, ok := stringValue(value)
	if !ok {
		return "", invalid("%s is not a string", name)
	}
	if len(s) > MaxIDLength {
		return "", invalid("%s is longer than %d bytes", name, MaxIDLength)
	}
	return s, nil
}

// ID is the event ID: "$" and the reference hash in URL-safe base64.
func (e *Event) ID() string { return e.id }

// Version is the room version that the event was read as.
func (e *Event) Version() RoomVersion { return e.version }

// JSON is the complete event in canonical JSON.
func (e *Event) JSON() []byte { return e.raw }

// MarshalJSON is JSON, so that events can be embedded in responses.
func (e *Event) MarshalJSON() ([]byte, error) { return e.raw, nil }

// Type is the event type.
func (e *Event) Type() string { return e.eventType }

// Sender is the user ID that the event claims to come from.
func (e *Event) Sender() UserID { return e.sender }

// RoomID is the room that the event belongs to. A create event's is computed from its event ID.
func (e *Event) RoomID() string { return e.roomID }

// HasRoomID reports whether the event has a room_id property. A create event of room version 12 must
// not (authorization rule 1.2).
func (e *Event) HasRoomID() bool { return e.hasRoomID }

// StateKey is the state key; ok is false for an event that is not a state event.
func (e *Event) StateKey() (key string, ok bool) { return e.stateKey, e.isState }

// IsState reports whether the event is the state event for a type and a state key.
func (e *Event) IsState(eventType, stateKey string) bool {
	return e.isState && e.eventType == eventType && e.stateKey == stateKey
}

// Tuple is the place that a state event takes in the room's state; it is only meaningful for state
// events.
func (e *Event) Tuple() StateTuple { return StateTuple{e.eventType, e.stateKey} }

// IsCreate reports whether the event is an m.room.create event.
func (e *Event) IsCreate() bool { return e.eventType == "m.room.create" }

// Depth is the depth property.
func (e *Event) Depth() int64 { return e.depth }

// OriginServerTS is the time of the event in milliseconds since the Unix epoch, as its sender claims.
func (e *Event) OriginServerTS() int64 { return e.timestamp }

// PrevEvents are the IDs of the event's parents.
func (e *Event) PrevEvents() []string { return e.prev }

// AuthEvents are the IDs of the events that authorise the event.
func (e *Event) AuthEvents() []string { return e.auth }

// Content is the content object in canonical JSON.
func (e *Event) Content() []byte { return e.content }

// Get reads a property of the content by its gjson path.
func (e *Event) Get(path string) gjson.Result { return gjson.GetBytes(e.content, path) }

// Membership is content.membership, or empty.
func (e *Event) Membership() string {
	s, _ := stringValue(lookup(e.content, "membership"))
	return s
}

// Unsigned is the unsigned object, or nil.
func (e *Event) Unsigned() []byte { return lookup(e.raw, "unsigned") }

// HashOK reports whether hashes.sha256 is the content hash. A homeserver redacts an event for which
// it is not (server-server API, "Checks performed on receipt of a PDU", 3).
func (e *Event) HashOK() bool { return e.hashOK }

// SigningBytes is the message that the event's signatures cover.
func (e *Event) SigningBytes() []byte { return e.message }

// SignatureKeyIDs lists the key IDs under which entity has signed, validly or not.
func (e *Event) SignatureKeyIDs(entity string) []KeyID { return signatureKeyIDs(e.raw, entity) }

// SignatureEntities lists the names under which the event carries signatures.
func (e *Event) SignatureEntities() (entities []string) {
	for f := range fields(lookup(e.raw, "signatures")) {
		entities = append(entities, string(unescapeCanonical(f.key)))
	}
	return entities
}

// VerifySignature checks the signature of one entity and key ID. The error wraps ErrNoSignature or
// ErrBadSignature.
func (e *Event) VerifySignature(entity string, id KeyID, key ed25519.PublicKey) error {
	return verifyCanonical(e.raw, e.message, entity, id, key)
}

// VerifyAccountKey checks that the account key in a user ID's localpart has signed the event: entity
// is the localpart, key ID is AccountKeyID (MSC4243, "Proposal"). It needs no key server.
func (e *Event) VerifyAccountKey(u UserID) error {
	entity := u.Localpart()
	key, err := decodeAccountKey(entity)
	if err != nil {
		return fmt.Errorf("%w: %q is not an account key: %w", ErrBadSignature, abbreviate(entity), err)
	}
	return e.VerifySignature(entity, AccountKeyID, key[:])
}

// Redacted returns the event with everything removed that redaction removes. Its ID and its
// signatures stay valid; its content hash is compared anew; unsigned is gone.
func (e *Event) Redacted() *Event {
	r := *e
	r.raw = appendRedacted(make([]byte, 0, len(e.raw)), e.version.Identity, e.eventType, e.raw, dropNothing)
	r.content = lookup(r.raw, "content")
	r.hashOK = hashMatches(lookup(lookup(r.raw, "hashes"), "sha256"), r.raw)
	return &r
}

// WithSignature returns a copy that s has signed as well.
func (e *Event) WithSignature(s Signer) *Event {
	return e.withRaw(putSignature(e.raw, s.Entity, s.KeyID, EncodeBase64(ed25519.Sign(s.Key, e.message))))
}

// WithUnsigned returns a copy whose unsigned property is the given object; nil removes it. The error
// says why unsigned has no canonical form.
func (e *Event) WithUnsigned(unsigned []byte) (*Event, error) {
	if unsigned == nil {
		b := newObject(len(e.raw))
		for f := range fields(e.raw) {
			if string(f.key) != "unsigned" {
				b.raw(f.text)
			}
		}
		return e.withRaw(b.close()), nil
	}
	c, err := requireObject(unsigned, CanonicalJSON)
	if err != nil {
		return nil, fmt.Errorf("unsigned: %w", err)
	}
	return e.withRaw(mergeMember(e.raw, "unsigned", c)), nil
}

// withRaw replaces parts of the event that signatures do not cover.
func (e *Event) withRaw(raw []byte) *Event {
	c := *e
	c.raw = raw
	c.content = lookup(raw, "content")
	return &c
}
