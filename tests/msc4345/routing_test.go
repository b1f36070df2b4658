package msc4345

import (
	"encoding/json"
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// The unverified_domain property: "Its primary purpose is to provide routing." Events go to the domain that
// a server names, and a domain that nobody has keeps nobody else from them. D-81: whether they go there before the
// domain was verified is not said.
func TestParticipation_Routing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		owned             bool
	}{{"a-domain-that-has-the-key", "MSC4345-PART-08", true}, {"a-domain-that-has-not", "MSC4345-PART-12", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := hosting(t)
			elsewhere, key := r.Scene.Peer(t), r.Peer.MintServerKey()
			if c.owned {
				elsewhere.HoldServerKey(key)
			}
			guest(t, r, r.Peer.MintServerKey(), "nowhere.invalid")
			guest(t, r, key, elsewhere.Name())
			r.Fence(t)
			next := r.Next(t)
			elsewhere.MustReceive(conform.Judge(t, c.requirement), "an event at the domain that a server names", func(pdu fakeserver.PDU) bool {
				return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == next.ID() || pdu.Get("content.body").Str == "next"
			})
		})
	}
}

// guest brings fay into alice's room through a further key, which names a domain.
func guest(t testing.TB, r *blueprints.Room, key matrix.ServerKeyPair, domain matrix.ServerName) {
	t.Helper()
	t = conform.Setup(t)
	join := fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key)
	r.Room.Ignore(domain) // the fake server has nothing to say there
	blueprints.MustSend(t, r.Room, r.Fay, r.Room.Asks(key).With("unverified_domain", domain))
	r.MustSeeParticipation(t, key.Key().Name(), matrix.Requested)
	r.AliceAccepts(t, key.Key().Name())
	blueprints.MustSend(t, r.Room, r.Fay, join)
}

// beside is alice's room as another fake server has it, of which a user has joined, too.
func beside(t testing.TB, r *blueprints.Room) *blueprints.Room {
	t.Helper()
	other := *r
	other.Peer = r.Scene.Peer(t)
	other.Fay = other.Peer.Member(t, "gil")
	other.FayJoins(t)
	return &other
}

// Proposal: "allows servers to be revoked access to the room". D-46: that a revoked server is sent no more events, and
// is told none when it asks, is not said in so many words.
func TestRevoked_IsToldNoMore(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-23")
	r := hosting(t)
	witness := beside(t, r)
	r.AliceRevokes(t, r.Room.Key().Key().Name())
	r.MustSeeParticipation(conform.Setup(t), r.Room.Key().Key().Name(), matrix.Revoked)
	var after []string
	for range 3 { // by when the first has long reached whoever it is sent to
		after = append(after, witness.Next(t).ID())
	}
	judge := conform.Judge(t, "MSC4345-FLOW-23")
	answer := r.Peer.Event(t, r.At, after[0])
	must.Be(judge, answer.StatusCode() != 200, "a server that was revoked to be told no event from after that, got: %s", answer)
	page := r.Peer.Backfill(t, r.At, r.ID, 10, after[2])
	must.Be(judge, page.StatusCode() != 200 || len(page.Events) == 0, "a server that was revoked not to page back from there, got: %s", page)
	for _, pdu := range r.Peer.PDUs() {
		if pdu.Event != nil && pdu.Event.ID() == after[0] {
			conform.Violation(t, "MSC4345-FLOW-23", "a server that was revoked is sent no more events", "it was sent "+after[0])
		}
	}
}

// Requested participation; server-server API, "Backfilling and retrieving missing events": who has only requested is
// not in the room. The text answers a request like a join, though, and so with the state (D-34).
func TestWaiting_ReadsNothing(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-24")
	r := hosting(t)
	said := r.Next(t).ID()
	waiting := r.Scene.Peer(t)
	waiting.MustRequest(conform.Setup(t), r.At, r.Version, r.ID, waiting.Member(t, "waiting"))
	must.Succeed(conform.Setup(t), r.Peer.Event(t, r.At, said))
	judge := conform.Judge(t, "MSC4345-FLOW-24")
	answer := waiting.Event(t, r.At, said)
	must.Be(judge, answer.StatusCode() != 200, "a server that has only requested to be told no event, got: %s", answer)
	page := waiting.Backfill(t, r.At, r.ID, 10, said)
	must.Be(judge, page.StatusCode() != 200 || len(page.Events) == 0, "a server that has only requested not to page back, got: %s", page)
}

// Server-server API, "Typing notifications". D-38: a server speaks for the users of its key.
func TestTyping_FromTheUsersServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-08")
	r := hosting(t)
	other := beside(t, r)
	r.Fence(t)
	typing(t, other.Peer, r, r.UserID(r.Fay))
	other.FenceBy(t, other.Fay)
	if seen := shownTyping(r, r.Fay); seen {
		conform.Violation(t, "MSC4345-RV-08", "nobody types for a user but the user's server", "a client is shown that "+string(r.UserID(r.Fay))+" is typing")
	}
	typing(t, r.Peer, r, r.UserID(r.Fay))
	r.Fence(t)
	conform.Info(t, "MSC4345-RV-08", fmt.Sprintf("clients are shown at once that users of other servers type: %t", shownTyping(r, r.Fay)))
}

// typing has a fake server say that a user types.
func typing(t testing.TB, peer *blueprints.Peer, r *blueprints.Room, user matrix.UserID) {
	t.Helper()
	edu, err := fakeserver.NewEDU("m.typing", map[string]any{"room_id": r.ID, "user_id": user, "typing": true})
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	if _, err := peer.SendTransaction(t.Context(), r.At, nil, []json.RawMessage{edu}); err != nil {
		conform.Inconclusive(t, "%v", err)
	}
}

// shownTyping reports whether alice has been shown that a user types, under either user ID (D-45).
func shownTyping(r *blueprints.Room, user *fakeserver.User) bool {
	for _, e := range r.Alice.View().Room(r.ID).Ephemeral {
		for _, id := range e.Get("content.user_ids").Array() {
			if id.Str == string(r.UserID(user)) || id.Str == string(user.NameID()) {
				return true
			}
		}
	}
	return false
}
