package fakeserver

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/matrix/edge"
)

// Proto is an event that is about to be built.
type Proto struct {
	matrix.ProtoEvent
	// Version is the room version.
	Version matrix.RoomVersion
	// Author is whose event it is.
	Author *User
	// CoSigners sign it as well.
	CoSigners []*User
	// ServerKey is the server key through which the event is sent, in rooms with participation.
	ServerKey matrix.ServerKeyPair
	// Authorising is the server key that signs a request to participate as well; the zero value when
	// somebody else is to do it.
	Authorising matrix.ServerKeyPair
	// Cast are the others whom a forgery can name.
	Cast Cast

	// authEvents selects the auth events of an event that differs from the one they were selected for;
	// nil keeps them.
	authEvents func(selection) []string
	// received is an event that somebody else has begun and that Author signs as well: an invitation.
	received json.RawMessage
}

// Forged is a finished event, honest or not.
type Forged struct {
	// PDU is the event as it goes on the wire.
	PDU json.RawMessage
	// EventID is the event ID that a receiver computes; of an event that has no canonical form the one
	// that its author had in mind.
	EventID string
	// Version is the version of the room that it was built for.
	Version matrix.RoomVersion

	// prev and depth are the place in the history of the room that the author had in mind.
	prev  []string
	depth int64
}

// Event reads the event strictly; many forgeries cannot be read.
func (f Forged) Event() (*matrix.Event, error) { return matrix.ParseEvent(f.Version, f.PDU) }

// Tuple is the place in a room's state that the event claims; ok is false for one that is not a state
// event.
func (f Forged) Tuple() (tuple matrix.StateTuple, ok bool) {
	event := gjson.ParseBytes(f.PDU)
	key := event.Get("state_key")
	return matrix.StateTuple{Type: event.Get("type").String(), StateKey: key.String()}, key.Type == gjson.String
}

// honest reports whether a forgery deviates in nothing.
func (f Forgery) honest() bool { return reflect.ValueOf(f).IsZero() }

// maxRetries bounds how often an event is built a millisecond later because its bytes do not allow
// what was asked for: a signature without '+' and '/' looks the same in both alphabets.
const maxRetries = 2000

// Forge builds an event, with the deviation that f describes and no other: the zero Forgery builds
// the honest event. The error says what the forgery asked for that makes no sense for this event.
func Forge(p Proto, f Forgery) (Forged, error) {
	start := p.OriginServerTS
	for i := range int64(maxRetries) {
		p.OriginServerTS = start + i
		b := builder{Proto: p, Forgery: f}
		forged, err := b.build()
		if errors.Is(err, edge.ErrUnfit) {
			continue
		}
		if err == nil {
			err = f.mustDiffer(p, forged)
		}
		return forged, err
	}
	return Forged{}, fmt.Errorf("forging %s: in %d attempts: %w", p.Type, maxRetries, edge.ErrUnfit)
}

// mustDiffer refuses a forged event that is the honest one after all, such as one in which a property
// was set to the value that it had.
func (f Forgery) mustDiffer(p Proto, forged Forged) error {
	f.Courier, f.TemplateEdits = false, nil // not about the event
	if f.honest() {
		return nil
	}
	b := builder{Proto: p}
	honest, err := b.build()
	if err == nil && string(honest.PDU) == string(forged.PDU) {
		return fmt.Errorf("forging %s: the forgery changes nothing about this event", p.Type)
	}
	return nil
}

// builder builds one event. Every step takes the honest way unless a field of the forgery says
// otherwise.
type builder struct {
	Proto
	Forgery
	names names
	// odd are texts without a canonical form, by the placeholder that stands for them in doc.
	odd map[string]string
	// subject is the text under which the sending server signs, when it is not that of its key.
	subject string
	// doc is the event without signatures and unsigned.
	doc []byte
}

func (b *builder) build() (Forged, error) {
	forged := Forged{Version: b.Version, prev: b.PrevEvents, depth: b.Depth}
	fail := func(step string, err error) (Forged, error) {
		return forged, fmt.Errorf("forging %s: %s: %w", b.Type, step, err)
	}
	if !b.honest() {
		b.names = b.templateNames()
	}
	if err := b.sensible(); err != nil {
		return fail("the forgery", err)
	}
	if err := b.author(); err != nil {
		return fail("the event", err)
	}
	if err := b.hash(); err != nil {
		return fail("the content hash", err)
	}
	redacted, err := b.Version.EventSigningBytes(b.doc)
	if err != nil {
		return fail("the redacted event", err)
	}
	id := sha256.Sum256(b.plain(redacted))
	forged.EventID = "$" + matrix.EncodeURLBase64(id[:])
	signatures, err := b.sign(redacted, forged.EventID)
	if err != nil {
		return fail("the signatures", err)
	}
	if forged.PDU, err = b.assemble(signatures); err != nil {
		return fail("the finished event", err)
	}
	if forged.PDU, err = b.late(forged.PDU); err != nil {
		return fail("the change after signing", err)
	}
	if hash, err := b.Version.ReferenceHash(forged.PDU); err == nil {
		forged.EventID = "$" + matrix.EncodeURLBase64(hash[:])
	}
	return forged, nil
}

// sensible refuses what would silently be honest in the room's version.
func (b *builder) sensible() error {
	keys, domains := b.Version.HasAccountKeys(), b.Version.Identity == matrix.ServerIdentity
	switch {
	case !b.Version.HasParticipation() && b.aboutServers():
		return errors.New("the forgery is about server keys, which rooms of this version do not have")
	case domains && b.SignWithServerKeyOnly:
		return errors.New("in rooms without account keys the server's key is the honest one")
	case domains && (b.SignWith == ServerKey || b.CoSignWith == ServerKey || b.CoSignWithServerKey):
		return errors.New("in rooms without account keys the server's key is the honest one")
	case keys && (b.SignWith == AccountKey || b.CoSignWith == AccountKey):
		return errors.New("in rooms with account keys the account key is the honest one")
	case !keys && b.Edge.ChangesKey():
		return errors.New("in rooms without account keys no user has a key of their own")
	case b.Edge != Edge{} && b.SignWith != HonestKey:
		return errors.New("Edge and SignWith both choose the key")
	}
	return nil
}

// author writes the event as its author would, before it is hashed.
func (b *builder) author() (err error) {
	if b.Edge.ChangesKey() {
		key, err := b.Edge.Key(b.Author.account.Signer().Key)
		if err != nil {
			return err
		}
		id := matrix.AccountKey(key).UserID(b.Author.server.name)
		if b.Version.HasPortableAccounts() {
			id = matrix.AccountKey(key).PortableUserID()
		}
		b.become(id)
	}
	if err := b.role(); err != nil {
		return err
	}
	if b.Forgery.Sender != "" {
		id, err := b.names.expand(b.Forgery.Sender)
		if err != nil {
			return err
		}
		b.become(matrix.UserID(id))
	}
	if b.Forgery.StateKey != "" {
		key, err := b.names.expand(b.Forgery.StateKey)
		if err != nil {
			return err
		}
		b.ProtoEvent.StateKey = &key
	}
	event := b.begun()
	maps.Copy(event, map[string]any{
		"type": b.Type, "sender": b.ProtoEvent.Sender, "content": json.RawMessage(b.Content), "depth": b.Depth,
		"origin_server_ts": b.OriginServerTS, "prev_events": nonNil(b.PrevEvents), "auth_events": nonNil(b.AuthEvents),
	})
	if b.ProtoEvent.StateKey != nil {
		event["state_key"] = *b.ProtoEvent.StateKey
	}
	if b.RoomID != "" {
		event["room_id"] = b.RoomID
	}
	if b.doc, err = json.Marshal(event); err != nil {
		return err
	}
	if b.Authoriser != "" {
		if err := b.authorise(); err != nil {
			return err
		}
	}
	if err := b.edit(); err != nil {
		return err
	}
	return b.selectAuthEvents()
}

// begun is what an event holds before its author writes anything: nothing, or what the one who began
// it wrote.
func (b *builder) begun() map[string]any {
	event := map[string]any{}
	gjson.ParseBytes(b.received).ForEach(func(key, value gjson.Result) bool {
		event[key.String()] = json.RawMessage(value.Raw)
		return true
	})
	for _, name := range []string{"hashes", "signatures", "unsigned"} {
		delete(event, name)
	}
	return event
}

// become changes the sender, and in an event about the sender the state key too.
func (b *builder) become(id matrix.UserID) {
	if key := b.ProtoEvent.StateKey; b.Type == "m.room.member" && key != nil && *key == string(b.ProtoEvent.Sender) {
		b.ProtoEvent.StateKey = matrix.StateKey(string(id))
	}
	b.ProtoEvent.Sender = id
}

// authorise names who vouches for a restricted join, and has them co-sign where their key is known.
func (b *builder) authorise() error {
	id, err := b.names.expand(b.Authoriser)
	if err != nil {
		return err
	}
	b.CoSigners = nil
	localpart := matrix.UserID(id).Localpart()
	for _, u := range []*User{b.Cast.Other, b.Cast.Stranger} {
		if u != nil && (localpart == u.Key() || localpart == u.name) {
			b.CoSigners = []*User{u}
		}
	}
	b.doc, err = sjson.SetBytes(b.doc, "content.join_authorised_via_users_server", id)
	return err
}

// edit makes the author's edits; what has no canonical form is kept aside.
func (b *builder) edit() error {
	edits := slices.Clone(b.Edits)
	for i, e := range edits {
		if e.JSON == "" {
			continue
		}
		value, err := b.names.expand(e.JSON)
		if err != nil {
			return err
		}
		if _, err := matrix.CanonicalJSON([]byte(value)); err == nil {
			continue
		}
		if b.odd == nil {
			b.odd = map[string]string{}
		}
		placeholder := fmt.Sprintf(`"countersign placeholder %d"`, i)
		b.odd[placeholder] = value
		edits[i].JSON = placeholder
	}
	var err error
	b.doc, err = applyEdits(b.doc, edits, b.names)
	return err
}

// plain puts the texts without a canonical form in their places.
func (b *builder) plain(canonical []byte) []byte {
	text := string(canonical)
	for placeholder, value := range b.odd {
		text = strings.ReplaceAll(text, placeholder, value)
	}
	return []byte(text)
}

// selectAuthEvents selects the auth events of the event as it is now, unless the forgery is about
// them.
func (b *builder) selectAuthEvents() (err error) {
	about := slices.ContainsFunc(b.Edits, func(e Edit) bool { return strings.HasPrefix(e.Path, "auth_events") })
	if b.honest() || b.authEvents == nil || about {
		return nil
	}
	event := gjson.ParseBytes(b.doc)
	var stateKey *string
	if key := event.Get("state_key"); key.Exists() {
		stateKey = matrix.StateKey(key.String())
	}
	content, err := matrix.CanonicalJSON([]byte(event.Get("content").Raw))
	if err != nil {
		return nil // the forgery is that there is no content to select for
	}
	s := selection{
		eventType: event.Get("type").String(), stateKey: stateKey, sender: matrix.UserID(event.Get("sender").String()),
		server: b.ServerKey.Key(), content: content, cite: b.Cite,
	}
	if isKey(b.Cast.OtherServer) {
		s.other = b.Cast.OtherServer.Key().Name()
	}
	ids := b.authEvents(s)
	b.doc, err = sjson.SetBytes(b.doc, "auth_events", nonNil(ids))
	return err
}

// hash adds the content hash.
func (b *builder) hash() error {
	c, err := matrix.CanonicalJSON(b.doc)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b.plain(c))
	b.doc, err = sjson.SetBytes(c, "hashes", map[string]string{"sha256": matrix.EncodeBase64(sum[:])})
	return err
}

// assemble puts the event together.
func (b *builder) assemble(signatures []filed) ([]byte, error) {
	rest := map[string]string{}
	switch {
	case b.OmitSignatures:
	case b.EmptySignatures:
		rest["signatures"] = "{}"
	default:
		rest["signatures"] = writeSignatures(signatures)
	}
	if b.ProtoEvent.Unsigned != nil {
		rest["unsigned"] = string(b.ProtoEvent.Unsigned)
	}
	if b.Forgery.Unsigned != "" {
		text, err := b.names.expand(b.Forgery.Unsigned)
		if err != nil {
			return nil, err
		}
		rest["unsigned"] = text
	}
	var err error
	for _, name := range sortedKeys(rest) {
		value := []byte(rest[name])
		if _, odd := matrix.CanonicalJSON(value); odd != nil {
			placeholder := `"countersign placeholder ` + name + `"`
			if b.odd == nil {
				b.odd = map[string]string{}
			}
			b.odd[placeholder] = rest[name]
			value = []byte(placeholder)
		}
		if b.doc, err = sjson.SetRawBytes(b.doc, name, value); err != nil {
			return nil, err
		}
	}
	c, err := matrix.CanonicalJSON(b.doc)
	if err != nil {
		return nil, err
	}
	return b.plain(c), nil
}

// late does what happens to an event after it was signed.
func (b *builder) late(event []byte) ([]byte, error) {
	var err error
	if len(b.LateEdits) > 0 {
		if event, err = applyEdits(event, b.LateEdits, b.names); err != nil {
			return nil, err
		}
	}
	if b.Rehash {
		if event, err = matrix.PutContentHash(event); err != nil {
			return nil, err
		}
	}
	if b.RecosignedBy != Nobody {
		if event, err = b.resign(event); err != nil {
			return nil, err
		}
	}
	if b.Redacted {
		if event, err = b.Version.Redact(event); err != nil {
			return nil, err
		}
	}
	if b.RawEdit != nil {
		event = b.RawEdit(slices.Clone(event))
	}
	return event, nil
}
