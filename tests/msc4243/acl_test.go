package msc4243

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// deny has alice keep a fake server out of the room.
func deny(t *testing.T, r *blueprints.Room, peer *blueprints.Peer) {
	t.Helper()
	setup := conform.Setup(t)
	host, _ := peer.Name().HostPort()
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.server_acl", "", map[string]any{
		"allow": []string{"*"}, "deny": []string{host}, "allow_ip_literals": true,
	}))
}

// Server-server API, "Server Access Control Lists": the name of the server that asks is what counts.
func TestServerACL_Requests(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	said, knocker := r.Fence(t).ID(), r.Peer.Member(t, "knocker")
	deny(t, r, r.Peer)
	path := func(endpoint, rest string) string {
		return "/_matrix/federation/" + endpoint + "/" + url.PathEscape(r.ID) + rest
	}
	for _, c := range []struct {
		name, method, path string
		body               any
	}{
		{"make_join", http.MethodGet, path("v1/make_join", "/"+string(knocker.KeyID())+"?ver="+r.Version.ID), nil},
		{"make_knock", http.MethodGet, path("v1/make_knock", "/"+string(knocker.KeyID())+"?ver="+r.Version.ID), nil},
		{"make_leave", http.MethodGet, path("v1/make_leave", "/"+string(r.Fay.KeyID())), nil},
		{"state", http.MethodGet, path("v1/state", "?event_id="+url.QueryEscape(said)), nil},
		{"state_ids", http.MethodGet, path("v1/state_ids", "?event_id="+url.QueryEscape(said)), nil},
		{"backfill", http.MethodGet, path("v1/backfill", "?limit=1&v="+url.QueryEscape(said)), nil},
		{"event_auth", http.MethodGet, path("v1/event_auth", "/"+said), nil},
		{"get_missing_events", http.MethodPost, path("v1/get_missing_events", ""), map[string]any{"earliest_events": []string{}, "latest_events": []string{said}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ACL-01")
			answer := r.Peer.Ask(conform.Setup(t), r.At, c.method, c.path, c.body)
			must.Refuse(t, answer, http.StatusForbidden, "M_FORBIDDEN")
		})
	}
	t.Run("send_join", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-ACL-01")
		join := blueprints.NewEvent(t, r.Room, knocker, fakeserver.Membership(knocker.KeyID(), "join"))
		must.Refuse(t, r.Peer.HandIn(conform.Setup(t), r.At, "join", join), http.StatusForbidden, "M_FORBIDDEN")
	})
}

// Server-server API, "Server Access Control Lists": of a transaction those events are ignored that are
// for a room which denies the server. The fence is in the same transaction, for another room.
func TestServerACL_Transactions(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ACL-01")
	denying := hosting(t)
	open := denying.AnotherHosted(t)
	setup := conform.Setup(t)

	both := func() (denied, allowed *matrix.Event) {
		denied = blueprints.NewEvent(t, denying.Room, denying.Fay, fakeserver.Message("to one room"))
		allowed = blueprints.NewEvent(t, open.Room, open.Fay, fakeserver.Message("to the other"))
		denying.Peer.SendPDUs(setup, denying.At, json.RawMessage(denied.JSON()), json.RawMessage(allowed.JSON()))
		open.Alice.MustSee(setup, open.ID, allowed.ID())
		return denied, allowed
	}
	control, _ := both()
	denying.Alice.MustSee(setup, denying.ID, control.ID())

	deny(t, denying, denying.Peer)
	denied, _ := both()
	next := denying.Next(t)
	denying.Alice.MustSee(setup, denying.ID, next.ID())
	if seen := denying.Alice.View().Room(denying.ID).Event(denied.ID()); seen.Exists() || denying.Alice.HistoryHas(setup, denying.ID, denied.ID()) {
		conform.Violation(t, "MSC4243-ACL-01", "an event from a server that the room denies is not shown", "it is")
	}
	must.NotContain(t, "what the homeserver builds upon", next.PrevEvents(), denied.ID())
}

// Server-server API, "Server Access Control Lists", says who may send, and not whose events: a server
// that is let in passes on what a user of a denied domain says.
func TestServerACL_ByWayOfAnotherServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ACL-02")
	r := hosting(t)
	if r.PeerHost() != "localhost" {
		conform.Skip(t, "the homeservers reach this process as %s, of which no other name is known", r.PeerHost())
	}
	setup := conform.Setup(t)
	courier := r.Scene.PeerAt(t, "127.0.0.1")
	gil := courier.Member(t, "gil")
	room := courier.MustJoin(setup, r.At, r.Version, r.ID, gil)
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(gil), "join")
	r.Fence(t)
	deny(t, r, r.Peer)

	passedOn := blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.Message("by way of gil's server"))
	courier.MustReceiveEvent(setup, r.Alice.MustSay(setup, r.ID, "gil's server is up to date"))
	room.Add(passedOn)
	child := blueprints.MustSend(setup, room, gil, fakeserver.Message("after it"))
	r.Alice.MustSee(setup, r.ID, child.ID())
	shown := r.Alice.HistoryHas(setup, r.ID, passedOn.ID())
	conform.Info(t, "MSC4243-ACL-02", map[bool]string{
		true:  "a message by a user of a denied domain, which an allowed server hands out, is shown to clients",
		false: "a message by a user of a denied domain, which an allowed server hands out, is not shown to clients",
	}[shown])
}

// Proposal: which servers are in a room follows from the domains of its members' user IDs. What is sent
// to a server comes in order, so that a message in another room is the fence.
func TestRouting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer fakeserver.AccountAnswer
	}{
		{"to the domain of a verified user", fakeserver.AccountAnswer{}},
		{"to the domain of an unverified user", blueprints.Unknown()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ACL-03")
			r := hosting(t)
			fence := r.AnotherHosted(t)
			setup := conform.Setup(t)
			elsewhere := r.Scene.Peer(t)
			gil := elsewhere.Member(t, "gil")
			gil.AnswerWith(c.answer)
			room := elsewhere.MustJoin(setup, r.At, r.Version, r.ID, gil)
			second := *fence
			second.Peer, second.Fay = elsewhere, elsewhere.Member(t, "fence")
			second.FayJoins(t)

			elsewhere.MustReceiveEvent(t, r.Alice.MustSay(setup, r.ID, "while a user of the domain is joined"))

			leave := blueprints.MustSend(setup, room, gil, fakeserver.Membership(gil.KeyID(), "leave"))
			gone := r.Eventually(t, fakeserver.Forged{PDU: leave.JSON(), EventID: leave.ID(), Version: r.Version})
			must.Be(setup, gone.InState, "the leave of the domain's last user to be in the room's state")
			late := r.Alice.MustSay(setup, r.ID, "when no user of the domain is joined")
			elsewhere.MustReceiveEvent(setup, fence.Alice.MustSay(setup, fence.ID, "sentinel"))
			for _, pdu := range elsewhere.PDUs() {
				if pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == late {
					conform.Violation(t, "MSC4243-ACL-03", "no events are sent to a domain whose last user has left", string(pdu.Raw))
				}
			}
		})
	}
}

// Server-server API, "Policy Servers": the policy server's signature stands beside that of the account
// key, which alone says who sent the event.
func TestPolicyServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ACL-04")
	r := hosting(t)
	setup := conform.Setup(t)
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.policy", "", r.Peer.PolicyContent()))
	said := r.Peer.MustReceiveEvent(t, r.Alice.MustSay(setup, r.ID, "may I?"))
	asked := r.Peer.Transcript().Exchanges(func(e fakeserver.Exchange) bool {
		return e.Direction == fakeserver.Inbound && e.Operation == fakeserver.OpPolicySign
	})
	if len(asked) == 0 {
		conform.Skip(t, "the homeserver does not ask the policy servers of rooms")
	}
	signer := r.Peer.PolicySigner()
	public, _ := signer.Key.Public().(ed25519.PublicKey)
	if err := said.VerifySignature(signer.Entity, signer.KeyID, public); err != nil {
		conform.Violation(t, "MSC4243-ACL-04", "the policy server's signature is beside the sender's", err.Error()+": "+string(said.JSON()))
	}
}
