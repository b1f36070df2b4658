package matrix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"testing"
)

// FuzzCanonicalJSON: never panics; accepts only what encoding/json accepts, with the same meaning; the
// result is its own canonical form in both modes.
func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[1,-1,0]`, `{"b":[{}],"a":"\u00e9\ud83d\ude00\n"}`, `{"a":1,"a":2}`, `-0`, `1e10`, `1e400`, "\"\xff\"", `"\ud800"`, `{"\"":1,"\\":2}`, ` [ ] `, `9007199254740992`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		lenient, lenientErr := LenientCanonicalJSON(doc)
		if lenientErr == nil {
			again, err := LenientCanonicalJSON(lenient)
			if err != nil || !bytes.Equal(again, lenient) {
				t.Fatalf("lenient form %q is not stable: %q, %v", lenient, again, err)
			}
			if !json.Valid(doc) || !json.Valid(lenient) {
				t.Fatalf("accepted %q as %q, which is not JSON", doc, lenient)
			}
		}
		strict, err := CanonicalJSON(doc)
		if err != nil {
			return
		}
		if lenientErr != nil || !bytes.Equal(strict, lenient) {
			t.Fatalf("strict %q, lenient %q (%v)", strict, lenient, lenientErr)
		}
		again, err := CanonicalJSON(strict)
		if err != nil || !bytes.Equal(again, strict) {
			t.Fatalf("canonical form %q is not stable: %q, %v", strict, again, err)
		}
		if !sameJSON(t, doc, strict) {
			t.Fatalf("%q changed its meaning as %q", doc, strict)
		}
	})
}

// FuzzParseEvent: never panics; an accepted event can be written and read again without a change, and
// so can its redaction, under the same event ID.
func FuzzParseEvent(f *testing.F) {
	account := AccountFromSeed(make([]byte, 32))
	for _, p := range []ProtoEvent{
		{Type: "m.room.create", StateKey: StateKey(""), Content: []byte(`{"room_version":"12"}`)},
		{Type: "m.room.member", StateKey: StateKey("@a:b"), RoomID: "!r", Content: []byte(`{"membership":"join","third_party_invite":{"signed":{"mxid":"@a:b"}}}`)},
		{Type: "m.room.message", RoomID: "!r", Content: []byte(`{"body":"\u0000\""}`), Unsigned: []byte(`{"age":1}`), PrevEvents: []string{"$a"}, AuthEvents: []string{"$b"}},
	} {
		p.Sender = account.Key().UserID("example.org")
		e, err := p.Build(RoomVersionMSC4243(), account.Signer())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.JSON())
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		e, err := ParseEvent(RoomVersionMSC4243(), pdu)
		if err != nil {
			return
		}
		e.Membership()
		e.AuthEventTuples()
		for _, entity := range e.SignatureEntities() {
			e.SignatureKeyIDs(entity)
		}
		if e.VerifyAccountKey(e.Sender()) == nil {
			if _, err := e.Sender().AccountKey(); err != nil {
				t.Fatalf("verified by a key that is not one: %v", err)
			}
		}
		redacted := e.Redacted()
		if redacted.ID() != e.ID() {
			t.Fatalf("redaction changed the ID of %s", e.JSON())
		}
		for _, x := range []*Event{e, redacted, e.WithSignature(account.Signer())} {
			again, err := ParseEvent(x.Version(), x.JSON())
			if len(x.JSON()) > MaxEventSize {
				continue
			}
			if err != nil || !sameEvent(x, again) {
				t.Fatalf("%s cannot be read again: %v", x.JSON(), err)
			}
		}
	})
}

// FuzzParseAccountKey: never panics; accepts only the text that the key is written as.
func FuzzParseAccountKey(f *testing.F) {
	text := AccountFromSeed(make([]byte, 32)).Key().String()
	for _, seed := range []string{text, text + "=", text + "\n", text[:42] + "_", "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseAccountKey(text)
		if err != nil {
			return
		}
		if key.String() != text {
			t.Fatalf("%q is written as %q", text, key)
		}
		if err := CheckPublicKey(key[:]); err != nil {
			t.Fatal(err)
		}
		u, again, err := ParseAccountKeyUserID("@" + text + ":example.org")
		if err != nil || again != key || u != key.UserID("example.org") {
			t.Fatalf("%q in a user ID: %v", text, err)
		}
	})
}

// FuzzParseXMatrix: never panics; what was accepted can be written and is then read as the same.
func FuzzParseXMatrix(f *testing.F) {
	for _, seed := range []string{
		`X-Matrix origin="a.example",destination="b.example",key="ed25519:1",sig="AAAA"`,
		`x-matrix origin=a.example:8448 , KEY = ed25519:1,sig=A+/=`, `X-Matrix origin="a\"b",key="k",sig="\\"`, `X-Matrix ,,,`, `Bearer x`, `X-Matrix origin="`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		x, err := ParseXMatrix(header)
		if err != nil {
			return
		}
		again, err := ParseXMatrix(x.String())
		if err != nil || again != x {
			t.Fatalf("%q was read as %+v, written as %q, and read as %+v (%v)", header, x, x, again, err)
		}
		if x.Verify(FederationRequest{Method: "GET", URI: "/"}, x.Destination, make([]byte, 32)) == nil {
			t.Fatal("verified by a key of small order")
		}
	})
}

// FuzzVerifyJSON: never panics; accepts only objects that the key has signed, which signing again
// reproduces.
func FuzzVerifyJSON(f *testing.F) {
	s := vectorSigner(f)
	for _, seed := range []string{`{}`, `{"one":1,"two":"Two"}`, `{"signatures":{"domain":{"ed25519:1":5}}}`, `{"signatures":[],"unsigned":{}}`, `{"signatures":{"\u0000":{}}}`} {
		f.Add([]byte(seed))
		signed, err := SignJSON([]byte(seed), s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed)
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		public := s.Key.Public().(ed25519.PublicKey)
		verified := VerifyJSON(object, s.Entity, s.KeyID, public) == nil
		signed, err := SignJSON(object, s)
		if err != nil {
			if verified {
				t.Fatalf("verified what cannot be signed: %v", err)
			}
			return
		}
		if err := VerifyJSON(signed, s.Entity, s.KeyID, public); err != nil {
			t.Fatalf("signed %q as %q: %v", object, signed, err)
		}
		if !verified {
			return
		}
		// Ed25519 signatures of one message by one key are equal, whatever base64 spells them.
		c, err := CanonicalJSON(object)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := findSignature(c, s.Entity, s.KeyID)
		b, errB := findSignature(signed, s.Entity, s.KeyID)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Fatalf("verified a signature that the key has not made: %q", object)
		}
	})
}
