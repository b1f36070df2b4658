package matrix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawSigner(t *rapid.T) Signer {
	seed := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed")
	if rapid.Bool().Draw(t, "account key") {
		return AccountFromSeed(seed).Signer()
	}
	return Signer{
		Entity: rapid.OneOf(rapid.SampledFrom([]string{"example.org", "[::1]:8448"}), rapid.String()).Draw(t, "entity"),
		KeyID:  KeyID("ed25519:" + rapid.StringMatching(`[a-zA-Z0-9_]{1,5}`).Draw(t, "key name")),
		Key:    ed25519.NewKeyFromSeed(seed),
	}
}

func drawObject(t *rapid.T, label string) []byte {
	b, err := json.Marshal(jsonObject().Draw(t, label))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// drawEvent draws an event of any type whose content uses the names that redaction looks for.
func drawEvent(t *rapid.T) (ProtoEvent, RoomVersion, []Signer) {
	types := []string{
		"m.room.create", "m.room.member", "m.room.join_rules", "m.room.power_levels", "m.room.history_visibility",
		"m.room.redaction", "m.room.message", "a\"b\\c\n", "org.example.ſ",
	}
	content := jsonObject().Draw(t, "content")
	for _, name := range []string{"membership", "join_rule", "allow", "ban", "users", "redacts", "history_visibility", "third_party_invite", "join_authorised_via_users_server"} {
		if rapid.IntRange(0, 3).Draw(t, name) == 0 {
			content[name] = jsonValue().Draw(t, "value")
		}
	}
	if rapid.Bool().Draw(t, "signed") {
		content["third_party_invite"] = map[string]any{"signed": jsonValue().Draw(t, "signed"), "display_name": "x"}
	}
	b, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	id := rapid.StringMatching(`\$[A-Za-z0-9_\-"\\]{1,43}`)
	p := ProtoEvent{
		Type:   rapid.SampledFrom(types).Draw(t, "type"),
		Sender: UserID(rapid.SampledFrom([]string{"@alice:example.org", "@Ä ö\"\\:[::1]:8448", "@:x"}).Draw(t, "sender")),
		RoomID: rapid.SampledFrom([]string{"!room", "!room:example.org", "!\n\"ü"}).Draw(t, "room"),
		Depth:  rapid.Int64Range(0, MaxSafeInteger).Draw(t, "depth"), OriginServerTS: rapid.Int64Range(-MaxSafeInteger, MaxSafeInteger).Draw(t, "ts"),
		Content:    b,
		PrevEvents: rapid.SliceOfN(id, 0, MaxPrevEvents).Draw(t, "prev"), AuthEvents: rapid.SliceOfN(id, 0, MaxAuthEvents).Draw(t, "auth"),
	}
	if rapid.Bool().Draw(t, "is state") {
		p.StateKey = StateKey(rapid.SampledFrom([]string{"", "@alice:example.org", "k\u2028\"\\"}).Draw(t, "state key"))
	}
	if rapid.Bool().Draw(t, "has unsigned") {
		p.Unsigned = drawObject(t, "unsigned")
	}
	if p.Type == "m.room.create" && rapid.Bool().Draw(t, "no room") {
		p.RoomID = ""
	}
	v := rapid.SampledFrom(RoomVersions()).Draw(t, "version")
	var signers []Signer
	for range rapid.IntRange(0, 3).Draw(t, "signers") {
		signers = append(signers, drawSigner(t))
	}
	return p, v, signers
}

func build(t *rapid.T) (*Event, []Signer) {
	p, v, signers := drawEvent(t)
	e, err := p.Build(v, signers...)
	if err != nil {
		t.Fatalf("building: %v", err)
	}
	return e, signers
}

// Reading what was built gives what was built.
func TestParseUndoesBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, signers := build(t)
		for _, parse := range []func(RoomVersion, []byte) (*Event, error){ParseEvent, ParseTrustedEvent} {
			got, err := parse(e.Version(), e.JSON())
			if err != nil {
				t.Fatalf("%s: %v", e.JSON(), err)
			}
			if !sameEvent(e, got) {
				t.Fatalf("built\n%+v\nread\n%+v", e, got)
			}
		}
		if !e.HashOK() {
			t.Fatal("the content hash is wrong")
		}
		last := map[string]Signer{} // a later signer replaces an earlier one of the same name and key ID
		for _, s := range signers {
			last[s.Entity+" "+string(s.KeyID)] = s
		}
		for _, s := range last {
			if err := e.VerifySignature(s.Entity, s.KeyID, s.Key.Public().(ed25519.PublicKey)); err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(e.SignatureEntities(), s.Entity) || !slices.Contains(e.SignatureKeyIDs(s.Entity), s.KeyID) {
				t.Fatalf("%s is not listed among the signatures", s.Entity)
			}
		}
		sum, err := ContentHash(e.JSON())
		if err != nil || !bytes.Contains(e.JSON(), []byte(`"sha256":"`+EncodeBase64(sum[:])+`"`)) {
			t.Fatalf("ContentHash disagrees: %v", err)
		}
	})
}

func sameEvent(a, b *Event) bool {
	return bytes.Equal(a.raw, b.raw) && bytes.Equal(a.message, b.message) && bytes.Equal(a.content, b.content) &&
		a.id == b.id && a.eventType == b.eventType && a.sender == b.sender && a.roomID == b.roomID && a.stateKey == b.stateKey &&
		a.isState == b.isState && a.hasRoomID == b.hasRoomID && a.hashOK == b.hashOK && a.depth == b.depth && a.timestamp == b.timestamp &&
		slices.Equal(a.prev, b.prev) && slices.Equal(a.auth, b.auth) && a.version == b.version
}

// Redaction is idempotent, and neither it nor further signatures nor unsigned data change the event
// ID, the signed message or the signatures' validity.
func TestEventIDInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, signers := build(t)
		redacted := e.Redacted()
		direct, err := Redact(e.JSON())
		if err != nil || !bytes.Equal(direct, redacted.JSON()) {
			t.Fatalf("Redact and Redacted disagree: %v\n%s\n%s", err, direct, redacted.JSON())
		}
		if again := redacted.Redacted(); !sameEvent(redacted, again) {
			t.Fatalf("redacted again\n%s\nbecame\n%s", redacted.JSON(), again.JSON())
		}
		reread, err := ParseEvent(e.Version(), redacted.JSON())
		if err != nil || !sameEvent(redacted, reread) {
			t.Fatalf("reading a redacted event: %v\n%+v\n%+v", err, redacted, reread)
		}
		extra := drawSigner(t)
		signed := e.WithSignature(extra)
		aged, err := signed.WithUnsigned(drawObject(t, "more unsigned"))
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range []*Event{redacted, signed, aged} {
			reread, err := ParseEvent(e.Version(), other.JSON())
			if err != nil {
				t.Fatal(err)
			}
			if reread.ID() != e.ID() || reread.RoomID() != e.RoomID() || !bytes.Equal(reread.SigningBytes(), e.SigningBytes()) {
				t.Fatalf("the event ID changed from %s to %s", e.ID(), reread.ID())
			}
		}
		if err := aged.VerifySignature(extra.Entity, extra.KeyID, extra.Key.Public().(ed25519.PublicKey)); err != nil {
			t.Fatal(err)
		}
		for _, s := range signers {
			if s.Entity == extra.Entity && s.KeyID == extra.KeyID || slices.ContainsFunc(signers, func(o Signer) bool {
				return o.Entity == s.Entity && o.KeyID == s.KeyID && !o.Key.Equal(s.Key)
			}) {
				continue
			}
			if err := redacted.VerifySignature(s.Entity, s.KeyID, s.Key.Public().(ed25519.PublicKey)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What was signed verifies; what was changed after that, except signatures and unsigned, does not.
func TestVerifyUndoesSign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := drawObject(t, "object")
		s, other := drawSigner(t), drawSigner(t)
		public := s.Key.Public().(ed25519.PublicKey)
		signed, err := SignJSON(object, s)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := CanonicalJSON(signed); err != nil || !bytes.Equal(c, signed) {
			t.Fatalf("SignJSON's output is not canonical: %v\n%s", err, signed)
		}
		if err := VerifyJSON(signed, s.Entity, s.KeyID, public); err != nil {
			t.Fatal(err)
		}
		if other.Entity != s.Entity || other.KeyID != s.KeyID {
			cosigned, err := SignJSON(signed, other)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyJSON(cosigned, s.Entity, s.KeyID, public); err != nil {
				t.Fatalf("a second signature broke the first: %v", err)
			}
			if VerifyJSON(signed, other.Entity, other.KeyID, other.Key.Public().(ed25519.PublicKey)) == nil {
				t.Fatal("verified for someone who has not signed")
			}
		}
		tampered := mergeMember(signed, "tampered with "+rapid.String().Draw(t, "key"), []byte("1"))
		if VerifyJSON(tampered, s.Entity, s.KeyID, public) == nil {
			t.Fatalf("verified after a change: %s", tampered)
		}
		if err := VerifyJSON(mergeMember(signed, "unsigned", []byte(`{"x":1}`)), s.Entity, s.KeyID, public); err != nil {
			t.Fatalf("unsigned is covered by the signature: %v", err)
		}
	})
}

// The raw walk over canonical JSON sees what encoding/json sees.
func TestFieldsAndElements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := jsonObject().Draw(t, "object")
		doc := []byte(plainEncode(object))
		seen := 0
		for f := range fields(doc) {
			seen++
			v, ok := object[string(unescapeCanonical(f.key))]
			if !ok || plainEncode(v) != string(f.value) || string(f.text) != `"`+string(f.key)+`":`+string(f.value) {
				t.Fatalf("%s: member %s is %s", doc, f.key, f.value)
			}
			if text, isString := v.(string); isString {
				if got, ok := stringValue(f.value); !ok || got != text {
					t.Fatalf("%q became %q", text, got)
				}
			}
			list, isList := v.([]any)
			i := 0
			for e := range elements(f.value) {
				if !isList || plainEncode(list[i]) != string(e) {
					t.Fatalf("%s: element %d is %s", f.value, i, e)
				}
				i++
			}
			if i != len(list) {
				t.Fatalf("%s: %d elements", f.value, i)
			}
		}
		if seen != len(object) {
			t.Fatalf("%s: %d members", doc, seen)
		}
	})
}
