package msc4243

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal: "User ID localparts in rooms are replaced with the unpadded urlsafe base64 encoded public
// part of the account key." Among 16 keys each of '-' and '_' occurs all but certainly, so that the
// standard alphabet would show.
func TestUserIDs_AreAccountKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-01", "MSC4243-KEY-06")
	r := hosting(t)
	seen := map[string]string{}
	for range 16 {
		bob := local(t, r, "bob")
		id := idOf(t, r, bob)
		if _, _, err := matrix.ParseAccountKeyUserID(string(id)); err != nil {
			conform.Violation(t, "MSC4243-ID-01", "a sender whose localpart is an account key", err.Error())
		}
		if other, taken := seen[id.Localpart()]; taken {
			conform.Violation(t, "MSC4243-KEY-06", "a key of every user's own", other+" and "+bob.UserID+" are both "+string(id))
		}
		seen[id.Localpart()] = bob.UserID
	}
	for _, e := range r.Room.FullState() {
		key, _ := e.StateKey()
		if _, err := matrix.UserID(key).AccountKey(); e.Type() == "m.room.member" && err != nil {
			conform.Violation(t, "MSC4243-ID-01", "a membership event whose state key is an account key user ID", string(e.JSON()))
		}
	}
}

// Proposal: the domain part is kept "to provide routing information to other servers".
func TestDomain_IsTheServerName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-02")
	r := hosting(t)
	message := r.Peer.MustReceiveEvent(t, r.Alice.MustSay(t, r.ID, "to every server in the room"))
	must.Equal(t, "domain of the sender", message.Sender().Domain(), r.At)
}

// Terminology, and the first aim of the proposal: what identifies a user in the DAG holds no account
// name, whatever clients say.
func TestDAG_HoldsNoAccountNames(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-03")
	r := hosting(t)
	setup := conform.Setup(t)
	bob, carol := local(t, r, "bob"), local(t, r, "carol")

	r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", map[string]any{
		"users": map[string]any{bob.UserID: 50, string(r.Fay.NameID()): 25},
	})
	r.Alice.MustBan(setup, r.ID, carol.UserID)
	r.Alice.MustUnban(setup, r.ID, carol.UserID)
	r.Alice.MustInvite(setup, r.ID, carol.UserID)
	carol.MustLeave(setup, r.ID)
	bob.MustLeave(setup, r.ID)
	last := received(t, r, r.Alice.MustSay(setup, r.ID, "the last event"))
	r.Alice.MustSee(setup, r.ID, last.ID()) // and everything before it, for the sweepers

	state := r.Peer.StateAt(setup, r.At, r.ID, last.ID())
	history := r.Peer.Backfill(setup, r.At, r.ID, 100, last.ID())
	must.Succeed(setup, state)
	must.Succeed(setup, history)
	for _, pdu := range append(append(state.Events, state.AuthChain...), history.Events...) {
		for field, id := range blueprints.Identified(pdu) {
			_, err := id.AccountKey()
			must.Be(t, err == nil, "no user but by an account key, got %s %s in:\n%s", field, id, pdu)
		}
	}
}

// Appendices, "User Identifiers": account keys have upper-case letters, which user IDs of today have
// not. Two keys that differ in the case of a letter are two users.
func TestAccountKeys_AreCaseSensitive(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-04")
	r := visiting(t)
	gil := r.Join(t, "gil") // whose key has '-', '_' and both cases
	blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Membership(lookalike(t, gil.KeyID()), "ban"))
	r.Fence(t)

	message := blueprints.MustSend(t, r.Room, gil, fakeserver.Message("I am not banned"))
	conform.Expect(t, "a ban of an account key that differs in the case of one letter does not concern %s", gil.KeyID())
	r.Alice.MustSee(t, r.ID, message.ID())
	must.Equal(t, "membership of "+r.ClientID(gil), r.Member(t, r.ClientID(gil)), "join")
}

// lookalike is another account key user ID, which differs in the case of one letter.
func lookalike(t *testing.T, id matrix.UserID) matrix.UserID {
	t.Helper()
	key := id.Localpart()
	for i := range key {
		swapped := key[:i] + swapCase(key[i:i+1]) + key[i+1:]
		other := matrix.UserID("@" + swapped + ":" + string(id.Domain()))
		if _, err := other.AccountKey(); err == nil && swapped != key {
			return other
		}
	}
	conform.HarnessError(t, "%s has no lookalike that is an account key", id)
	return ""
}

func swapCase(letter string) string {
	if upper := strings.ToUpper(letter); upper != letter {
		return upper
	}
	return strings.ToLower(letter)
}

// Client-server API, size limits: a user ID has at most 255 bytes.
func TestUserID_HasAtMost255Bytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sender string
		valid        bool
	}{
		{"255 bytes", "@{key}:{long-domain-210}", true},
		{"256 bytes", "@{key}:{long-domain-211}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ID-05")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t))
			forged, err := r.Room.Forge(r.Fay, fakeserver.Membership(r.Fay.KeyID(), "join"), fakeserver.Forgery{Sender: c.sender})
			must.NoError(conform.Setup(t), "forging a member", err)
			r.Room.Plant(forged)

			joined := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
			switch {
			case !joined.OK() && c.valid:
				conform.Violation(t, "MSC4243-ID-05", "a room with a member whose user ID has 255 bytes to be joined", joined.String())
			case !joined.OK():
				conform.Observed(t, "a room with such a member cannot be joined: %s", joined)
			default:
				state := r.StateBefore(t, r.Next(t))
				if slices.Contains(state, forged.EventID) != c.valid {
					conform.Violation(t, "MSC4243-ID-05", "members with user IDs of up to 255 bytes, and no longer ones", "the state has "+strings.Join(state, ", ")+"; the member is "+forged.EventID)
				}
			}
		})
	}
}

// entity is how an account key is written as the name of a signature.
var entity = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// Proposal: "the entity signing the event is now the url-safe base64 encoded public part of the
// account key", "the signing key identifier is now the constant ed25519:1".
func TestSignatures_AreFiledUnderTheAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-06", "MSC4243-ID-07")
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	for what, eventID := range map[string]string{
		"a message":         r.Alice.MustSay(setup, r.ID, "hello"),
		"a state event":     r.Alice.MustSendState(setup, r.ID, "m.room.topic", "", map[string]any{"topic": "keys"}),
		"a redaction":       r.Alice.MustRedact(setup, r.ID, r.Alice.MustSay(setup, r.ID, "oops"), ""),
		"another's message": bob.MustSay(setup, r.ID, "hello"),
	} {
		e := received(t, r, eventID)
		names, key := e.SignatureEntities(), e.Sender().Localpart()
		if len(names) != 1 || names[0] != key || !entity.MatchString(key) {
			conform.Violation(t, "MSC4243-ID-06", what+" that is signed under "+key+" alone", strings.Join(names, ", "))
		}
		for _, name := range names {
			if name == string(r.At) {
				continue // which is MSC4243-SIG-02's business
			}
			if ids := e.SignatureKeyIDs(name); len(ids) != 1 || ids[0] != "ed25519:1" {
				conform.Violation(t, "MSC4243-ID-07", what+" that is signed with the key ID ed25519:1 alone", string(e.JSON()))
			}
		}
	}
}

// signatureValue is 64 bytes in unpadded standard base64.
var signatureValue = regexp.MustCompile(`^[A-Za-z0-9+/]{85}[AQgw]$`)

// Footnote urlsafe: unlike keys, signatures "are not urlsafe". Of 50 signatures all but one in 10^29
// runs have one in which the alphabets differ.
func TestSignatureValues_AreStandardBase64(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-08")
	r := hosting(t)
	last := ""
	for range 50 {
		last = r.Alice.MustSay(conform.Setup(t), r.ID, "sign this")
	}
	received(conform.Setup(t), r, last)
	for _, pdu := range r.Peer.PDUs() {
		for _, signatures := range pdu.Get("signatures").Map() {
			for _, value := range signatures.Map() {
				must.Be(t, signatureValue.MatchString(value.Str), "64 bytes in unpadded standard base64, got %s in:\n%s", value.Raw, pdu.Raw)
			}
		}
	}
}

// Terminology, "Account Key User ID": key and domain together. The same key at another domain is not
// in the room until it joins.
func TestSameKeyAtAnotherDomain_IsAnotherUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ID-09")
	r := visiting(t)
	elsewhere := r.Scene.Peer(t)
	twin := elsewhere.Member(t, "twin", fakeserver.WithAccount(r.Fay.Account()))

	honest, borrowed := fakeserver.Message("from outside"), fakeserver.Message("from outside, as if it were fay's")
	borrowed.AuthEvents = []string{r.Room.State("m.room.power_levels", "").ID(), r.Room.State("m.room.member", string(r.Fay.KeyID())).ID()}
	for _, d := range []fakeserver.Draft{honest, borrowed} {
		outside := blueprints.NewEvent(t, r.Room, twin, d)
		_, err := elsewhere.SendTransaction(t.Context(), r.At, []json.RawMessage{outside.JSON()}, nil)
		must.NoError(conform.Setup(t), "delivering a message", err)
		blueprints.MustDeliver(t, r.Room, outside.JSON()) // and by way of a server that is in the room
		r.Fence(t)
		r.MustStayUnseen(t, outside)
	}

	// Control: the same key and domain, once they have joined.
	setup := conform.Setup(t)
	room := elsewhere.MustJoin(setup, r.Peer.Name(), r.Version, r.ID, twin)
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(twin), "join")
	inside := blueprints.MustSend(setup, room, twin, fakeserver.Message("from inside"))
	r.Alice.MustSee(setup, r.ID, inside.ID())
}

// Room version 12, rules 1.4 and 10: valid user IDs are asked for, account keys are not. What a
// server makes of account names there is recorded.
func TestAccountNames_WhereRulesAskForUserIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		room func(o *fakeserver.RoomOptions, alice string)
	}{
		{"additional_creators", func(o *fakeserver.RoomOptions, alice string) {
			o.CreateContent = map[string]any{"additional_creators": []string{alice}}
		}},
		{"power levels", func(o *fakeserver.RoomOptions, alice string) {
			o.PowerLevels = map[string]any{"users": map[string]int{alice: 50}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ID-10")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t))
			options := fakeserver.RoomOptions{Version: r.Version}
			c.room(&options, r.Alice.UserID)
			room, err := r.Peer.CreateRoom(r.Fay, options)
			must.NoError(conform.Setup(t), "making a room", err)

			if joined := r.Alice.Join(t, room.ID(), string(r.Peer.Name())); !joined.OK() {
				conform.Info(t, "MSC4243-ID-10", "a room with an account name user ID in "+c.name+" cannot be joined: "+joined.String())
				return
			}
			power := "gives that user no power"
			if r.Alice.SendState(t, room.ID(), "m.room.name", "", map[string]any{"name": "by alice"}).OK() {
				power = "gives that user power"
			}
			conform.Info(t, "MSC4243-ID-10", "an account name user ID in "+c.name+" is accepted and "+power)
		})
	}
}

// Footnote urlsafe: the key "frequently appears in URL paths".
func TestPaths_TakeEveryEscape(t *testing.T) {
	t.Parallel()
	everything := strings.NewReplacer("@", "%40", ":", "%3A", "-", "%2D", "_", "%5F", "!", "%21")
	for name, escape := range map[string]func(string) string{
		"as it is":           func(id string) string { return id },
		"escaped":            url.QueryEscape,
		"escaped throughout": everything.Replace,
	} {
		for _, membership := range []string{"join", "knock", "leave"} {
			t.Run("make_"+membership+"/"+name, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-ID-11")
				r := hosting(t)
				user := r.Fay
				if membership == "knock" {
					received(conform.Setup(t), r, r.Alice.MustSendState(conform.Setup(t), r.ID, "m.room.join_rules", "", map[string]any{"join_rule": "knock"}))
				}
				if membership != "leave" {
					user = r.Peer.Member(t, "late")
				}
				path := "/_matrix/federation/v1/make_" + membership + "/" + escape(r.ID) + "/" + escape(string(user.KeyID())) + "?ver=" + url.QueryEscape(r.Version.ID)
				template := must.Succeed(t, r.Peer.Ask(t, r.At, http.MethodGet, path, nil))
				must.Field(t, template, "event.sender", string(user.KeyID()))
				must.Field(t, template, "event.state_key", string(user.KeyID()))
			})
		}
	}
}
