package msc4243

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Server-server API, "Joining Rooms": a resident server makes templates for users of the server that
// asks, as the room knows them.
func TestJoin_TemplateIsForTheAccountKey(t *testing.T) {
	t.Parallel()
	for _, membership := range []string{"join", "knock", "leave"} {
		t.Run(membership, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-JOIN-03")
			rules := joinRule("public")
			if membership == "knock" {
				rules = joinRule("knock")
			}
			r := blueprints.Hosted(t, conform.AccountKeyVersion(t), rules)
			user := r.Fay
			if membership == "leave" {
				r.FayJoins(t)
			}
			answer := r.Peer.Make(t, r.At, membership, r.ID, string(user.KeyID()), r.Version.ID)
			template := must.Succeed(t, answer)
			if membership != "leave" { // of a leave the version need not be told
				must.Field(t, template, "room_version", r.Version.ID)
			}
			must.Field(t, template, "event.type", "m.room.member")
			must.Field(t, template, "event.room_id", r.ID)
			must.Field(t, template, "event.sender", string(user.KeyID()))
			must.Field(t, template, "event.state_key", string(user.KeyID()))
			must.Field(t, template, "event.content.membership", membership)

			for whose, id := range map[string]string{
				"the same key at another server": "@" + user.Key() + ":elsewhere.invalid",
				"the same key at the homeserver": "@" + user.Key() + ":" + string(r.At),
				"the creator":                    string(creator(t, r, r.Alice)),
			} {
				refusal := r.Peer.Make(t, r.At, membership, r.ID, id, r.Version.ID)
				must.RefuseAny(t, refusal)
				if refusal.StatusCode() != http.StatusForbidden {
					conform.Info(t, "MSC4243-JOIN-03", "a template for "+whose+" is refused with "+http.StatusText(refusal.StatusCode()))
				}
			}
		})
	}
}

// joinRule has alice make her room with a join rule.
func joinRule(rule string) blueprints.Setting {
	return blueprints.Create("initial_state", []any{map[string]any{
		"type": "m.room.join_rules", "state_key": "", "content": map[string]any{"join_rule": rule},
	}})
}

// Nothing says what becomes of a request for a template that names an account name user ID. It comes
// from servers that do not know the room's version.
func TestJoin_TemplateForAnAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-04")
	r := hosting(t)
	late := r.Peer.Member(t, "late")
	answer := r.Peer.Make(t, r.At, "join", r.ID, string(late.NameID()), r.Version.ID)
	switch sender := answer.JSON().Get("event.sender").Str; {
	case answer.StatusCode() != http.StatusOK:
		conform.Info(t, "MSC4243-JOIN-04", "make_join with an account name user ID is refused with "+answer.JSON().Get("errcode").Str)
	case sender == string(late.NameID()):
		conform.Info(t, "MSC4243-JOIN-04", "make_join with an account name user ID makes a template for it")
	default:
		conform.Info(t, "MSC4243-JOIN-04", "make_join with an account name user ID makes a template for "+sender)
	}

	forged := r.Forge(t, late, fakeserver.Membership(late.KeyID(), "join"), fakeserver.Forgery{Sender: "@{name}:{domain}"})
	if reply := submit(t, r, "join", forged); reply.StatusCode() == http.StatusOK {
		conform.Violation(t, "MSC4243-JOIN-04", "a join by an account name user ID to be refused", reply.String())
	}
	r.Fence(t)
	if got := r.Observe(t, forged); got.Effective() {
		conform.Violation(t, "MSC4243-JOIN-04", "a join by an account name user ID to have no effect", got.String())
	}
}

// submit hands in an event of a handshake, however malformed, and returns the answer.
func submit(t testing.TB, r *blueprints.Room, membership string, f fakeserver.Forged) blueprints.Reply {
	t.Helper()
	version := "v2"
	if membership == "knock" {
		version = "v1"
	}
	return r.Peer.Ask(t, r.At, http.MethodPut, "/_matrix/federation/"+version+"/send_"+membership+"/"+url.PathEscape(r.ID)+"/"+url.PathEscape(f.EventID), f.PDU)
}

// Server-server API, "Joining Rooms": the state and the auth chain are what the room is made of, as
// those who sent it have signed it. What is made of it for clients is not for other servers.
func TestJoin_StateIsAsItWasSigned(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-08")
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	bob.MustSendState(setup, r.ID, "m.room.topic", "", map[string]any{"topic": "by bob"})
	own := blueprints.MustSend(setup, r.Room, r.Fay, blueprints.Probe())
	unverified := r.JoinUnverified(t, "mallory")
	r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", map[string]any{
		"state_default": 0, "events": map[string]any{}, "users": map[string]any{bob.UserID: 50, r.ClientID(r.Fay): 25},
	})
	r.Alice.MustInvite(setup, r.ID, r.User(t, r.HS.Alias(), "carol").UserID)
	r.Alice.MustBan(setup, r.ID, r.User(t, r.HS.Alias(), "dave").UserID)

	late := r.Peer.Member(t, "late")
	_, reply := blueprints.MustSubmit(setup, r.Peer.MustBegin(setup, r.At, r.Version, "join", r.ID, late))
	answer := must.Succeed(t, reply)
	seen := map[string]string{}
	for _, list := range []string{"state", "auth_chain"} {
		for _, pdu := range answer.Get(list).Array() {
			e := blueprints.MustParse(t, r.Version, []byte(pdu.Raw))
			r.Peer.MustVerify(t, e)
			for field, id := range blueprints.Identified(e.JSON()) {
				_, err := id.AccountKey()
				must.Be(t, err == nil, "no user but by an account key, got %s %s in:\n%s", field, id, e.JSON())
			}
			seen[e.ID()] = string(e.JSON())
		}
	}
	must.Be(setup, len(seen) > 10, "the state of the room, got %d events", len(seen))
	member := r.Room.State("m.room.member", string(unverified.KeyID()))
	for _, e := range []*matrix.Event{own, member} {
		must.Equal(t, "an event of the fake server's as it comes back", withoutUnsigned(t, []byte(seen[e.ID()])), withoutUnsigned(t, e.JSON()))
	}
}

// withoutUnsigned is an event in canonical JSON without its unsigned property.
func withoutUnsigned(t testing.TB, event json.RawMessage) string {
	t.Helper()
	signatures := gjson.GetBytes(event, "signatures").Raw
	return unsignedObject(t, event) + signatures
}

// Server-server API, "Joining Rooms": a joining server that is not told the members is told which
// servers have any. They are those of the user IDs, whoever is behind them.
func TestJoin_ServersInRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-09")
	r := hosting(t)
	setup := conform.Setup(t)
	doubtful := r.Scene.Peer(t)
	mallory := doubtful.Member(t, "mallory")
	mallory.AnswerWith(blueprints.Unknown())
	doubtful.MustJoin(setup, r.At, r.Version, r.ID, mallory)

	handshake := r.Peer.MustBegin(setup, r.At, r.Version, "join", r.ID, r.Peer.Member(t, "late"))
	join, err := handshake.Event()
	must.NoError(setup, "building a join", err)
	path := "/_matrix/federation/v2/send_join/" + url.PathEscape(r.ID) + "/" + url.PathEscape(join.ID()) + "?omit_members=true"
	answer := must.Succeed(setup, r.Peer.Ask(t, r.At, http.MethodPut, path, join.JSON()))
	if !answer.Get("members_omitted").Bool() && !answer.Get("servers_in_room").Exists() {
		conform.Skip(t, "the homeserver tells the members although they may be omitted")
	}
	var servers []string
	for _, name := range answer.Get("servers_in_room").Array() {
		servers = append(servers, name.Str)
	}
	must.SameSet(conform.Judge(t, "MSC4243-JOIN-09"), "servers_in_room", servers, []string{string(r.At), string(r.Peer.Name()), string(doubtful.Name())})
}

// Room version 12, rule 5.3: an invite is for a user, and users are account keys. Another key with the
// same account name is not invited.
func TestJoin_InviteIsForOneKey(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"send_join", "send"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-JOIN-10")
			r := blueprints.Hosted(t, conform.AccountKeyVersion(t), blueprints.Create("preset", "private_chat"))
			setup := conform.Setup(t)
			second := r.Peer.Member(t, "second")
			second.AnswerWith(fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"` + r.Fay.Name() + `"`}}})
			r.Alice.MustInvite(setup, r.ID, r.ClientID(r.Fay))

			must.Refuse(t, r.Peer.Make(t, r.At, "join", r.ID, string(second.KeyID()), r.Version.ID), http.StatusForbidden, "M_FORBIDDEN")
			r.FayJoins(t) // control, and by now the fake server can build events for the room
			join := r.Forge(t, second, fakeserver.Membership(second.KeyID(), "join"), fakeserver.Forgery{})
			if by == "send" {
				blueprints.MustDeliver(setup, r.Room, join.PDU)
			} else {
				must.RefuseAny(t, submit(t, r, "join", join))
			}
			r.Fence(t)
			if got := r.Observe(t, join); got.Effective() {
				conform.Violation(t, "MSC4243-JOIN-10", "the join of a key that is not invited to have no effect", got.String())
			}
		})
	}
}
