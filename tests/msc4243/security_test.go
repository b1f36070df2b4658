package msc4243

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Security Considerations: "Servers can equivocate and tell some servers that account key A has the
// account name "alice" and tell other servers that account key A has the account name "bob". This
// doesn't affect the security of the protocol from a server perspective".
func TestTwoNamesOfOneKey_SplitNoState(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-01")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t))
	hs2 := r.Server(t, "hs2")
	conform.NeedRoomVersion(t, hs2, r.Version.ID)
	other := r.Peer.Member(t, "other")
	r.Peer.Override(fakeserver.OpQueryAccounts, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		if q.Origin != blueprints.Name(hs2) {
			return honest(q)
		}
		object := signedBy(t, r.Fay, map[string]any{"account_name": other.Name(), "domain": r.Peer.Name()})
		return fakeserver.Answer{Status: http.StatusOK, Body: fmt.Appendf(nil, `{"account_keys":{%q:%s}}`, r.Fay.Key(), object)}
	})
	setup := conform.Setup(t)
	bob := r.User(t, hs2.Alias(), "bob")
	shown := map[*csapi.Client]string{r.Alice: r.ClientID(r.Fay), bob: string(other.NameID())}
	for client, name := range shown {
		client.MustJoin(setup, r.ID, string(r.Peer.Name()))
		mustFind(setup, client, r.ID, name)
	}
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.State("m.room.topic", "", map[string]any{"topic": "one room, two names"}))
	sentinel := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("sentinel"))
	var states [2][]string
	for i, server := range []matrix.ServerName{r.At, blueprints.Name(hs2)} {
		reply := r.Peer.StateIDsAt(setup, server, r.ID, sentinel.ID())
		must.Succeed(setup, reply)
		states[i] = reply.IDs
	}
	must.SameSet(t, "the state of the room at two servers that were told two names of its creator", states[0], states[1])
	for client := range shown {
		client.MustSee(t, r.ID, sentinel.ID())
	}
}

// Security Considerations: "the account name is simply a user alias". With its domain it is one of that
// domain, whoever has the same name elsewhere.
func TestNamesOfLocalUsers_GiveNothing(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-02")
	r := hosting(t)
	setup := conform.Setup(t)
	twin, err := r.Peer.NewUser(matrix.UserID(r.Alice.UserID).Localpart())
	must.NoError(setup, "making a user of alice's name", err)
	blueprints.MustSend(setup, r.Room, twin, fakeserver.Membership(twin.KeyID(), "join"))
	conform.Expect(t, "a user of alice's name on another server is shown as %s", twin.NameID())
	r.Alice.MustSeeMember(t, r.ID, string(twin.NameID()), "join")
	message := blueprints.MustSend(setup, r.Room, twin, fakeserver.Message("I am alice"))
	must.Field(t, r.Alice.MustSee(t, r.ID, message.ID()), "sender", string(twin.NameID()))

	// Alice made the room. Her name gives no power in it.
	topic := r.Forge(t, twin, fakeserver.State("m.room.topic", "", map[string]any{"topic": "alice says"}), fakeserver.Forgery{})
	blueprints.MustDeliver(setup, r.Room, topic.PDU)
	r.Fence(t)
	o := r.Observe(t, topic)
	must.Be(t, !o.Effective(), "a topic that a user of the creator's name has set not to have any effect; %s", o)
	own := r.Alice.MustSay(setup, r.ID, "no, I am alice")
	must.Field(t, r.Alice.MustSee(setup, r.ID, own), "sender", r.Alice.UserID)
}

// Security Considerations: with a stolen key and its domain one can make events, but "the attacker will
// not be sent events in the room due to their domain not being present in the domain part of the user ID".
func TestThief_IsNotSentTheRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-03")
	r := hosting(t)
	setup := conform.Setup(t)
	den := r.Scene.Peer(t)
	den.Member(t, "thief", fakeserver.WithAccount(r.Fay.Account()))
	stolen := r.Forge(t, r.Fay, fakeserver.Message("signed with a stolen key"), fakeserver.Forgery{})
	must.Succeed(setup, den.SendPDUs(setup, r.At, stolen.PDU))
	r.Fence(t)

	for range 5 {
		r.Next(t) // fay's server is sent it
	}
	for _, pdu := range den.PDUs() {
		if pdu.Get("room_id").Str == r.ID {
			must.Be(t, false, "nothing of the room to be sent to a server that none of its members is of, got %s by %s:\n%s", pdu.Type(), pdu.Via, pdu.Raw)
		}
	}
}

// Security Considerations: "Servers could ignore the requirement to keep the account key constant for
// each user. This would allow ban evasion". That it does is recorded.
func TestBans_AreEvadedByNewKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-04")
	r := hosting(t)
	setup := conform.Setup(t)
	mallory := r.Join(t, "mallory")
	r.Alice.MustBan(setup, r.ID, r.ClientID(mallory))
	r.MustReceiveMember(setup, string(mallory.KeyID()), "ban")

	again := r.Peer.Member(t, "again")
	again.AnswerWith(fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: fmt.Sprintf("%q", mallory.Name())}}})
	made := r.Peer.Make(t, r.At, "join", r.ID, string(again.KeyID()), r.Version.ID)
	if made.StatusCode() != http.StatusOK {
		conform.Info(t, "MSC4243-SEC-04", "a new key of a banned user is not given a template for a join: "+made.String())
		return
	}
	_, answer := blueprints.MustSubmit(t, r.Peer.MustBegin(setup, r.At, r.Version, "join", r.ID, again))
	conform.Info(t, "MSC4243-SEC-04", fmt.Sprintf("a new key of a banned user, who has the same name, may join: %t", answer.StatusCode() == http.StatusOK))
}

// Proposal: "Taken together, the two claims prove that the domain owns the key." Here one domain claims
// a key that is in the room as another domain's.
func TestVerification_TakesBothClaims(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// claim is how the domain that the event names answers about the key.
		claim func(t *testing.T, r *blueprints.Room, key *fakeserver.User) fakeserver.AccountAnswer
		// there is set when the key is in the room as the other domain's user, too, and verified.
		there bool
	}{
		{"the domain of the event knows nothing of a key that is verified at the other", func(*testing.T, *blueprints.Room, *fakeserver.User) fakeserver.AccountAnswer {
			return blueprints.Unknown()
		}, true},
		{"the domain of the event knows nothing", func(*testing.T, *blueprints.Room, *fakeserver.User) fakeserver.AccountAnswer {
			return blueprints.Unknown()
		}, false},
		{"the domain of the event repeats the other's answer", func(t *testing.T, _ *blueprints.Room, key *fakeserver.User) fakeserver.AccountAnswer {
			return fakeserver.AccountAnswer{Entry: accountObject(t, key)}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SEC-05")
			var join *matrix.Event
			var gil *fakeserver.User
			r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
				gil = r.Peer.Member(t, "gil") // whom fay's server knows by this key
				if c.there {
					r.Place(t, gil)
				}
				elsewhere := r.Scene.Peer(t)
				double := elsewhere.Member(t, "double", fakeserver.WithAccount(gil.Account()))
				double.AnswerWith(c.claim(t, r, gil))
				join = r.Place(t, double)
				r.Fay.AnswerWith(fakeserver.AccountAnswer{Unsolicited: []fakeserver.Unsolicited{{Name: gil.Name()}}})
			}))
			r.Fence(t)
			shown := everythingShown(t, r)
			must.Be(conform.Setup(t), shown.has(r.ClientID(r.Fay)), "fay, with whose key the claim came, to be shown")
			must.Be(t, !shown.has(join.ID()), "a key that is in the room as another domain's not to be verified")
			must.Be(t, c.there || !shown.has(string(gil.NameID())), "%s, who is not in the room, not to be shown", gil.NameID())
		})
	}
}

// Footnote signing: "servers do not need to make any network requests to verify the signature on inbound
// events. [...] If they cannot get the server keys, the event is dropped, causing a split-brain. This is
// why this proposal improves the security of the federation protocol." A server that has been in the room
// is gone for good.
func TestRoom_CanBeJoinedWhenAServerIsGone(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-06")
	var gone *blueprints.Peer
	var events []*matrix.Event
	everyone := blueprints.Options(func(o *fakeserver.RoomOptions) { o.PowerLevels = map[string]any{"state_default": 0} })
	r := visiting(t, everyone, blueprints.Before(func(r *blueprints.Room) {
		gone = r.Scene.Peer(t)
		gil := gone.Member(t, "gil")
		events = append(events, r.Place(t, gil))
		for range 3 {
			event := blueprints.NewEvent(t, r.Room, gil, blueprints.Probe())
			r.Room.Add(event)
			events = append(events, event)
		}
		must.NoError(conform.Setup(t), "closing a fake server", gone.Close())
	}))
	r.Fence(t)
	state := r.StateBefore(t, r.Next(t))
	for _, e := range events {
		must.Contain(t, "events in the state of a room that was joined when their server was gone", state, e.ID())
	}
	if asked := r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpNotary)); len(asked) > 0 {
		must.Be(t, false, "no request for the keys of a server whose users have account keys, got:\n%s", r.Peer.Transcript().Print(fakeserver.Is(fakeserver.OpNotary)))
	}
}

// Server-server API, "Joining Rooms": the template is the resident server's, and the joining server signs
// what it makes of it. What it adopts that nobody asked for is recorded; it must not lend its signatures
// to claims that mean something.
func TestTemplates_LendNoSignatureToClaims(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, json string
		// lent reports whether the signed join stands for the claim; nil when the claim is harmless.
		lent func(join fakeserver.PDU, bob matrix.UserID) bool
	}{
		{"another user of the homeserver as authoriser", "content.join_authorised_via_users_server", `"{victim}"`, func(join fakeserver.PDU, bob matrix.UserID) bool {
			return slices.Contains(join.Event.SignatureEntities(), bob.Localpart())
		}},
		{"an invitation by e-mail", "content.third_party_invite", `{"display_name":"x","signed":{"mxid":"{requested}","token":"t","signatures":{}}}`, func(join fakeserver.PDU, _ matrix.UserID) bool {
			return join.Get("content.third_party_invite").Exists()
		}},
		{"a signature", "signatures", `{"{requested-key}":{"ed25519:1":"AAAA"}}`, func(join fakeserver.PDU, _ matrix.UserID) bool {
			return join.Event.VerifyAccountKey(join.Event.Sender()) != nil
		}},
		{"a property of the content", "content.example", `"harmless"`, nil},
		{"a property of the event", "example", `"harmless"`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SEC-08")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t))
			setup := conform.Setup(t)
			bob := creator(t, r, r.User(setup, r.HS.Alias(), "bob"))
			r.Room.SetCast(fakeserver.Cast{Victim: string(bob)})
			r.Room.ForgeTemplates(fakeserver.Forgery{TemplateEdits: []fakeserver.Edit{{Path: c.path, JSON: c.json}}})
			joined := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
			for _, pdu := range r.Peer.PDUs() {
				if pdu.Event == nil || pdu.Via != fakeserver.OpSendJoin || pdu.Event.RoomID() != r.ID {
					continue
				}
				if c.lent != nil && c.lent(pdu, bob) {
					conform.Violation(t, "MSC4243-SEC-08", "a join that does not stand for "+c.name+" in its template", string(pdu.Raw))
				}
				conform.Info(t, "MSC4243-SEC-08", fmt.Sprintf("%s in a template is adopted: %t", c.name, c.path != "signatures" && pdu.Get(c.path).Exists()))
			}
			conform.Observed(t, "the join was answered with status %d", joined.Status)

			// Control: the same homeserver joins when the template is honest.
			control := r.Another(t)
			control.Alice.MustJoin(setup, control.ID, string(r.Peer.Name()))
		})
	}
}

// Handling GDPR erasure: the object of an erasure is signed "to prevent DNS takeover attacks erasing
// users". A signature of one object is not one of another.
func TestSignatures_OfObjectsAreNotInterchangeable(t *testing.T) {
	t.Parallel()
	// mixed is what one object says with the signatures of another.
	mixed := func(t *testing.T, user *fakeserver.User, said, signed map[string]any) fakeserver.AccountAnswer {
		object := said
		object["signatures"] = gjson.Get(signedBy(t, user, signed), "signatures").Value()
		return fakeserver.AccountAnswer{Entry: string(marshal(t, object))}
	}
	account := func(user *fakeserver.User) map[string]any {
		return map[string]any{"account_name": user.Name(), "domain": user.NameID().Domain()}
	}
	erasure := func(user *fakeserver.User) map[string]any {
		return map[string]any{"errcode": "M_ERASED", "domain": user.NameID().Domain()}
	}
	t.Run("an account's, presented with an erasure", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-SEC-09")
		r := visiting(t)
		setup := conform.Setup(t)
		bob, carol := r.Join(t, "bob"), r.Peer.Member(t, "carol")
		lie := mixed(t, bob, erasure(bob), account(bob))
		bob.AnswerWith(lie)
		carol.AnswerWith(fakeserver.AccountAnswer{Unsolicited: []fakeserver.Unsolicited{{Name: bob.Name(), Answer: lie}}})
		blueprints.MustSend(setup, r.Room, carol, fakeserver.Membership(carol.KeyID(), "join"))
		r.Alice.MustSeeMember(setup, r.ID, r.ClientID(carol), "join") // what came beside has been read
		message := blueprints.MustSend(setup, r.Room, bob, fakeserver.Message("I am still here"))
		r.Fence(t)
		must.Be(t, r.Alice.View().Room(r.ID).Has(message.ID()), "a message of a user whose erasure was not signed to be shown")
		must.Equal(t, "membership of a user whose erasure was not signed", r.Member(t, r.ClientID(bob)), "join")
	})
	t.Run("an erasure's, presented with an account", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-SEC-09")
		var join *matrix.Event
		r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
			bob := r.Peer.Member(t, "bob")
			bob.AnswerWith(mixed(t, bob, account(bob), erasure(bob)))
			join = r.Place(t, bob)
		}))
		r.Fence(t)
		shown := everythingShown(t, r)
		must.Be(conform.Setup(t), shown.has(r.ClientID(r.Fay)), "fay, with whose key the answer came, to be shown")
		must.Be(t, !shown.has(join.ID()), "a user whose account was not signed not to be shown")
	})
}
