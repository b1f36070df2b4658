package matrix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// serverPair is a server key pair that a byte stands for.
func serverPair(b byte) ServerKeyPair {
	seed := make([]byte, 32)
	seed[0] = b
	return ServerKeyPairFromSeed(seed)
}

// participants are the keys of the tests below.
type participants struct {
	one, two, three ServerKeyPair
	alice           Account
}

func newParticipants() participants {
	return participants{serverPair(1), serverPair(2), serverPair(3), AccountFromSeed([]byte(strings.Repeat("a", 32)))}
}

const anyRoom = "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// participationEvent is an event about a server.
func (p participants) participationEvent(t testing.TB, v RoomVersion, sender UserID, about ServerKey, content string, auth []*Event, signers ...Signer) *Event {
	t.Helper()
	proto := ProtoEvent{Type: ParticipationType, StateKey: StateKey(about.String()), Sender: sender, RoomID: anyRoom, Content: []byte(content), PrevEvents: []string{"$p"}}
	for _, a := range auth {
		proto.AuthEvents = append(proto.AuthEvents, a.ID())
	}
	e, err := proto.Build(v, signers...)
	require.NoError(t, err)
	return e
}

// finder finds the given events.
func finder(events ...*Event) EventFinder {
	return func(id string) *Event {
		i := slices.IndexFunc(events, func(e *Event) bool { return e.ID() == id })
		if i < 0 {
			return nil
		}
		return events[i]
	}
}

// Servers do not offer the versions of MSC4345 and MSC4348.
func TestParticipationVersionsAreApart(t *testing.T) {
	for _, v := range ParticipationRoomVersions() {
		require.True(t, v.HasParticipation())
		require.NotContains(t, RoomVersions(), v)
		_, ok := RoomVersionByID(v.ID)
		require.False(t, ok, v.ID)
	}
	for _, v := range RoomVersions() {
		require.False(t, v.HasParticipation())
		require.False(t, v.HasPortableAccounts())
	}
	require.False(t, RoomVersionMSC4345().HasAccountKeys())
	require.True(t, RoomVersionMSC4348().HasAccountKeys())
	require.True(t, RoomVersionMSC4348().HasPortableAccounts())
}

func TestUserIDForms(t *testing.T) {
	a := urlSafeAccount(t)
	key := a.Key().String() // has both "-" and "_"
	standard := EncodeBase64(a.key[:])
	smallOrder := strings.Repeat("A", 43)
	for _, c := range []struct {
		name, text                       string
		classic, server, portable, point bool // point: the text is well-formed, but the key is none
	}{
		{"account name and domain", "@alice:example.org", true, false, false, false},
		{"account name and server key", "@alice:" + key, false, true, false, false},
		{"any localpart and server key", "@Ä ö\"@:" + key, false, true, false, false},
		{"empty localpart and server key", "@:" + key, false, true, false, false},
		{"account key alone", "@" + key, false, false, true, false},
		{"account key and domain", "@" + key + ":example.org", true, false, false, false},
		{"account key and server key", "@" + key + ":" + key, false, true, false, false},
		{"account key and an empty domain", "@" + key + ":", false, false, false, false},
		{"account key in standard base64", "@" + standard, false, false, false, false},
		{"server key in standard base64", "@alice:" + standard, false, false, false, false},
		{"padded account key", "@" + key + "=", false, false, false, false},
		{"padded server key", "@alice:" + key + "=", false, false, false, false},
		{"server key and port", "@alice:" + key + ":8448", false, false, false, false},
		{"short server key", "@alice:" + key[:42], false, false, false, false},
		{"server key of small order", "@alice:" + smallOrder, true, true, false, true}, // also a host name of letters
		{"account key of small order", "@" + smallOrder, false, false, true, true},
		{"NUL before a server key", "@a\x00:" + key, false, false, false, false},
		{"no sigil", "alice:" + key, false, false, false, false},
		{"key without its sigil", key, false, false, false, false},
		{"sigil", "@", false, false, false, false},
		{"nothing", "", false, false, false, false},
		{"255 bytes", "@" + strings.Repeat("u", 255-45) + ":" + key, false, true, false, false},
		{"256 bytes", "@" + strings.Repeat("u", 256-45) + ":" + key, false, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for v, want := range map[RoomVersion]bool{
				RoomVersion12(): c.classic, RoomVersionMSC4243(): c.classic, RoomVersionMSC4345(): c.server, RoomVersionMSC4348(): c.portable,
			} {
				u, err := v.ParseUserID(c.text)
				require.Equal(t, want, err == nil, "%s: %v", v.ID, err)
				if want {
					require.Equal(t, UserID(c.text), u)
				}
				e, err := ProtoEvent{Type: "m", Sender: UserID(c.text), RoomID: anyRoom, Content: []byte(`{}`)}.Build(v)
				require.NoError(t, err)
				_, err = ParseEvent(v, e.JSON())
				require.Equal(t, want, err == nil, "sender in %s: %v", v.ID, err)
			}
			u, k, err := ParseServerKeyUserID(c.text)
			require.Equal(t, c.server && !c.point, err == nil, "%v", err)
			if err == nil {
				require.Equal(t, UserID(c.text), u)
				require.Equal(t, k.Name(), u.Domain())
				require.Equal(t, u, k.UserID(u.Localpart()))
			}
			u, ak, err := ParsePortableUserID(c.text)
			require.Equal(t, c.portable && !c.point, err == nil, "%v", err)
			if err == nil {
				require.Equal(t, UserID(c.text), u)
				require.Equal(t, u, ak.PortableUserID())
				require.Empty(t, u.Domain())
			}
		})
	}
}

func TestServerKeyPair(t *testing.T) {
	p, err := NewServerKeyPair()
	require.NoError(t, err)
	require.Equal(t, p, ServerKeyPairFromSeed(p.Seed()))
	k, err := ParseServerKey(p.Key().String())
	require.NoError(t, err)
	require.Equal(t, p.Key(), k)
	require.Equal(t, p.Key().String(), p.Signer().Entity)
	require.Equal(t, KeyID("ed25519:1"), p.Signer().KeyID)
	for _, bad := range []string{"", "example.org", strings.Repeat("A", 43), k.String() + "="} {
		_, err := ParseServerKey(bad)
		require.Error(t, err, bad)
	}
}

func TestUnverifiedDomain(t *testing.T) {
	p := newParticipants()
	for content, want := range map[string]ServerName{
		`{"unverified_domain":"example.org:8448"}`: "example.org:8448", `{}`: "", `{"unverified_domain":""}`: "", `{"unverified_domain":1}`: "",
		`{"unverified_domain":"https://example.org"}`: "", `{"unverified_domain":["example.org"]}`: "", `{"unverified_domain":null}`: "",
	} {
		domain, ok := p.participationEvent(t, RoomVersionMSC4345(), "@a:b", p.one.Key(), content, nil).UnverifiedDomain()
		require.Equal(t, want, domain, content)
		require.Equal(t, want != "", ok, content)
	}
}

// What redaction keeps, and so what signatures and event IDs cover.
func TestParticipationRedaction(t *testing.T) {
	p := newParticipants()
	const participation = `{"participation":"requested","reason":"because","request_authorised_via_server":"k","unverified_domain":"example.org"}`
	const kept = `{"participation":"requested","request_authorised_via_server":"k","unverified_domain":"example.org"}`
	const levels = `{"accept":50,"ban":60,"notifications":{"room":1}}`
	for v, want := range map[RoomVersion]struct{ participation, levels string }{
		RoomVersion12():      {`{}`, `{"ban":60}`},
		RoomVersionMSC4243(): {`{}`, `{"ban":60}`},
		RoomVersionMSC4345(): {kept, `{"accept":50,"ban":60}`},
		RoomVersionMSC4348(): {kept, `{"accept":50,"ban":60}`},
	} {
		t.Run(v.ID, func(t *testing.T) {
			e := p.participationEvent(t, v, "@a:b", p.one.Key(), participation, nil, p.one.Signer())
			r := e.Redacted()
			require.Equal(t, want.participation, string(r.Content()))
			require.Equal(t, e.ID(), r.ID())
			require.NoError(t, r.VerifyServerKey(p.one.Key().Name()))
			require.False(t, r.HashOK())

			redacted, err := v.Redact(e.JSON())
			require.NoError(t, err)
			require.Equal(t, string(r.JSON()), string(redacted))
			message, err := v.EventSigningBytes(e.JSON())
			require.NoError(t, err)
			require.Equal(t, string(e.SigningBytes()), string(message))
			sum, err := v.ReferenceHash(e.JSON())
			require.NoError(t, err)
			require.Equal(t, e.ID(), "$"+EncodeURLBase64(sum[:]))

			pl, err := ProtoEvent{Type: "m.room.power_levels", StateKey: StateKey(""), Sender: "@a:b", RoomID: anyRoom, Content: []byte(levels)}.Build(v)
			require.NoError(t, err)
			require.Equal(t, want.levels, string(pl.Redacted().Content()))
		})
	}
}

func TestParticipationAuthEventTuples(t *testing.T) {
	p := newParticipants()
	one, two := p.one.Key().Name(), p.two.Key().Name()
	atOne := p.one.Key().UserID("alice")
	portable := p.alice.Key().PortableUserID()
	request := fmt.Sprintf(`{"participation":"requested","request_authorised_via_server":%q}`, two)
	place := func(servers ...ServerName) (tuples []StateTuple) {
		for _, s := range servers {
			tuples = append(tuples, ParticipationPlace(s))
		}
		return tuples
	}
	for _, c := range []struct {
		name, eventType string
		stateKey        *string
		content         string
		want            []StateTuple // beside those of version 12
	}{
		{"message", "m.room.message", nil, `{}`, place(one)},
		{"create", "m.room.create", StateKey(""), `{}`, nil},
		{"join", "m.room.member", StateKey(string(atOne)), `{"membership":"join"}`, place(one)},
		{"request", ParticipationType, StateKey(string(one)), request, place(one, two)},
		{"request through itself", ParticipationType, StateKey(string(two)), request, place(two, one)},
		{"request through nobody", ParticipationType, StateKey(string(one)), `{"participation":"requested"}`, place(one)},
		{"request through a number", ParticipationType, StateKey(string(one)), `{"participation":"requested","request_authorised_via_server":1}`, place(one)},
		{"accept", ParticipationType, StateKey(string(two)), `{"participation":"accepted"}`, place(two, one)},
		{"accept that names a third", ParticipationType, StateKey(string(two)), `{"participation":"accepted","request_authorised_via_server":"x"}`, place(two, one)},
		{"revocation of oneself", ParticipationType, StateKey(string(one)), `{"participation":"revoked"}`, place(one)},
		{"no state event", ParticipationType, nil, request, place(one)},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := RoomVersionMSC4345()
			base := AuthEventTuples(c.eventType, c.stateKey, atOne, []byte(c.content))
			require.Equal(t, append(base, c.want...), v.AuthEventTuples(c.eventType, c.stateKey, atOne, []byte(c.content), "ignored"))
			e, err := ProtoEvent{Type: c.eventType, StateKey: c.stateKey, Sender: atOne, RoomID: anyRoom, Content: []byte(c.content)}.Build(v)
			require.NoError(t, err)
			require.Equal(t, append(base, c.want...), e.AuthEventTuples())

			v = RoomVersionMSC4348()
			base = AuthEventTuples(c.eventType, c.stateKey, portable, []byte(c.content))
			require.Equal(t, append(base, c.want...), v.AuthEventTuples(c.eventType, c.stateKey, portable, []byte(c.content), one))

			for _, v := range RoomVersions() {
				base = AuthEventTuples(c.eventType, c.stateKey, "@a:b", []byte(c.content))
				require.Equal(t, base, v.AuthEventTuples(c.eventType, c.stateKey, "@a:b", []byte(c.content), one), v.ID)
			}
		})
	}
}

// Who co-signs follows from what the event cites (MSC4348; D-53, D-55).
func TestCosigner(t *testing.T) {
	p := newParticipants()
	v := RoomVersionMSC4348()
	alice := p.alice.Key().PortableUserID()
	accepted := func(s ServerKeyPair) *Event {
		return p.participationEvent(t, v, alice, s.Key(), `{"participation":"accepted"}`, nil)
	}
	one, two, three := accepted(p.one), accepted(p.two), accepted(p.three)
	member, err := ProtoEvent{Type: "m.room.member", StateKey: StateKey(string(alice)), Sender: alice, RoomID: anyRoom, Content: []byte(`{"membership":"join"}`)}.Build(v)
	require.NoError(t, err)
	notState, err := ProtoEvent{Type: ParticipationType, Sender: alice, RoomID: anyRoom, Content: []byte(`{"participation":"accepted"}`)}.Build(v)
	require.NoError(t, err)
	find := finder(one, two, three, member, notState)
	unknown, err := ProtoEvent{Type: "m", Sender: alice, RoomID: anyRoom, Content: []byte(`{}`)}.Build(v)
	require.NoError(t, err)

	message := func(auth ...*Event) *Event {
		proto := ProtoEvent{Type: "m.room.message", Sender: alice, RoomID: anyRoom, Content: []byte(`{}`)}
		for _, a := range auth {
			proto.AuthEvents = append(proto.AuthEvents, a.ID())
		}
		e, err := proto.Build(v)
		require.NoError(t, err)
		return e
	}
	about := func(s ServerKeyPair, participation string, auth ...*Event) *Event {
		return p.participationEvent(t, v, alice, s.Key(), `{"participation":"`+participation+`"}`, auth)
	}
	for _, c := range []struct {
		name  string
		event *Event
		want  *ServerKeyPair // nil when no server is named
	}{
		{"message", message(member, one), &p.one},
		{"message that cites none", message(member), nil},
		{"message that cites nothing", message(), nil},
		{"message that cites two", message(one, two), nil},
		{"message that cites one twice", message(one, one), nil},
		{"message that cites an unknown event", message(one, unknown), nil},
		{"message that cites a message of the type", message(notState), nil},
		{"request", about(p.two, "requested", one), &p.two},
		{"request that cites nothing", about(p.two, "requested"), &p.two},
		{"first participation", about(p.one, "accepted"), &p.one},
		{"accept", about(p.two, "accepted", two, one), &p.one},
		{"accept in another order", about(p.two, "accepted", one, two, member), &p.one},
		{"accept that cites its subject only", about(p.two, "accepted", two), &p.two},
		{"accept that cites two others", about(p.two, "accepted", one, two, three), nil},
		{"revocation of oneself", about(p.one, "revoked", one), &p.one},
		{"revocation of another", about(p.two, "revoked", two, one), &p.one},
		{"another word", about(p.two, "nonsense", one), &p.one},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.event.Cosigner(find)
			if c.want == nil {
				require.ErrorIs(t, err, ErrNoCosigner)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want.Key().Name(), got)
		})
	}
}

func TestVerifySender(t *testing.T) {
	p := newParticipants()
	bob := AccountFromSeed([]byte(strings.Repeat("b", 32)))
	one, two := p.one.Signer(), p.two.Signer()
	misfiled := func(s Signer, entity string, id KeyID) Signer {
		s.Entity, s.KeyID = entity, id
		return s
	}
	padded := one.Entity + "="
	portable := p.alice.Key().PortableUserID()
	cited := p.participationEvent(t, RoomVersionMSC4348(), portable, p.one.Key(), `{"participation":"accepted"}`, nil)
	build := func(v RoomVersion, sender UserID, signers ...Signer) *Event {
		e, err := ProtoEvent{Type: "m.room.message", Sender: sender, RoomID: anyRoom, Content: []byte(`{}`), AuthEvents: []string{cited.ID()}}.Build(v, signers...)
		require.NoError(t, err)
		return e
	}
	key, m4345, m4348 := p.alice.Signer(), RoomVersionMSC4345(), RoomVersionMSC4348()
	atOne := p.one.Key().UserID("alice")
	for _, c := range []struct {
		name  string
		event *Event
		err   error
	}{
		{"MSC4243", build(RoomVersionMSC4243(), p.alice.Key().UserID("example.org"), key), nil},
		{"version 12", build(RoomVersion12(), "@alice:example.org", misfiled(one, "example.org", "ed25519:1")), ErrNoSignature},

		{"server key", build(m4345, atOne, one), nil},
		{"server key and others", build(m4345, atOne, two, one, key), nil},
		{"no signature", build(m4345, atOne), ErrNoSignature},
		{"another server's key", build(m4345, atOne, two), ErrNoSignature},
		{"another server's key under the name", build(m4345, atOne, misfiled(two, one.Entity, one.KeyID)), ErrBadSignature},
		{"under a domain", build(m4345, atOne, misfiled(one, "example.org", one.KeyID)), ErrNoSignature},
		{"under another key ID", build(m4345, atOne, misfiled(one, one.Entity, "ed25519:auto")), ErrNoSignature},
		{"under the padded key", build(m4345, atOne, misfiled(one, padded, one.KeyID)), ErrNoSignature},
		{"under the user ID", build(m4345, atOne, misfiled(one, string(atOne), one.KeyID)), ErrNoSignature},

		{"account and server", build(m4348, portable, key, one), nil},
		{"server and account", build(m4348, portable, one, key), nil},
		{"account only", build(m4348, portable, key), ErrNoSignature},
		{"server only", build(m4348, portable, one), ErrNoSignature},
		{"account and another server", build(m4348, portable, key, two), ErrNoSignature},
		{"account and two servers", build(m4348, portable, key, two, one), nil},
		{"another account", build(m4348, portable, bob.Signer(), one), ErrNoSignature},
		{"another account under the name", build(m4348, portable, misfiled(bob.Signer(), key.Entity, key.KeyID), one), ErrBadSignature},
		{"swapped", build(m4348, portable, misfiled(key, one.Entity, one.KeyID), misfiled(one, key.Entity, key.KeyID)), ErrBadSignature},
		{"account under its user ID", build(m4348, portable, misfiled(key, string(portable), key.KeyID), one), ErrNoSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.event.VerifySender(finder(cited))
			if c.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.err)
		})
	}
	t.Run("create event", func(t *testing.T) {
		create, err := ProtoEvent{Type: "m.room.create", StateKey: StateKey(""), Sender: portable, Content: []byte(`{}`)}.Build(m4348, key)
		require.NoError(t, err)
		require.NoError(t, create.VerifySender(finder()))
	})
	t.Run("unknown co-signer", func(t *testing.T) {
		require.ErrorIs(t, build(m4348, portable, key, one).VerifySender(finder()), ErrNoCosigner)
	})
}

// An event is the same whoever has signed it, which is why signatures cannot name the co-signer (D-55).
func TestCosignaturesDoNotChangeTheEvent(t *testing.T) {
	p := newParticipants()
	build := func(signers ...Signer) *Event {
		return p.participationEvent(t, RoomVersionMSC4348(), p.alice.Key().PortableUserID(), p.one.Key(), `{"participation":"accepted"}`, nil, signers...)
	}
	e := build(p.alice.Signer(), p.one.Signer())
	require.Equal(t, e.ID(), build().ID())
	require.Equal(t, e.ID(), build(p.alice.Signer(), p.two.Signer()).ID())
	require.Equal(t, string(e.JSON()), string(build(p.alice.Signer()).WithSignature(p.one.Signer()).JSON()))
}

// What is built can be read again in the new versions too, and redaction changes neither the event ID
// nor who has signed.
func TestParticipationEventsRoundTrip(t *testing.T) {
	p := newParticipants()
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.SampledFrom(ParticipationRoomVersions()).Draw(rt, "version")
		sender, signers := p.one.Key().UserID("alice"), []Signer{p.one.Signer()}
		if v.HasPortableAccounts() {
			sender, signers = p.alice.Key().PortableUserID(), []Signer{p.alice.Signer(), p.two.Signer()}
		}
		content := jsonObject().Draw(rt, "content")
		for _, name := range []string{"participation", "unverified_domain", "request_authorised_via_server", "reason", "accept"} {
			if rapid.Bool().Draw(rt, name) {
				content[name] = jsonValue().Draw(rt, "value")
			}
		}
		b, err := json.Marshal(content)
		require.NoError(t, err)
		e, err := ProtoEvent{
			Type:     rapid.SampledFrom([]string{ParticipationType, "m.room.power_levels", "m.room.member"}).Draw(rt, "type"),
			StateKey: StateKey(p.two.Key().String()), Sender: sender, RoomID: anyRoom, Content: b,
		}.Build(v, signers...)
		if err != nil {
			return // not canonical JSON
		}
		got, err := ParseEvent(v, e.JSON())
		if err != nil || got.ID() != e.ID() || !got.HashOK() {
			rt.Fatalf("%s came back as %v, %v", e.JSON(), got, err)
		}
		redacted, err := ParseEvent(v, got.Redacted().JSON())
		if err != nil || redacted.ID() != e.ID() || redacted.Participation() != e.Participation() && e.IsParticipation() {
			rt.Fatalf("%s was redacted to %v, %v", e.JSON(), redacted, err)
		}
		for _, x := range []*Event{got, redacted} {
			for _, s := range signers {
				if err := x.VerifyServerKey(ServerName(s.Entity)); err != nil {
					rt.Fatal(err)
				}
			}
			if e.IsParticipation() && x.RequestAuthorisedVia() != e.RequestAuthorisedVia() {
				rt.Fatalf("%q is not %q", x.RequestAuthorisedVia(), e.RequestAuthorisedVia())
			}
		}
	})
}
