package msc4348

import (
	"context"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// MSC4348, "User accounts can move servers"; MSC4345, "The request participation handshake": "Joins and knocks can be
// sent directly where the server already has a participation of accepted". So an account that is in the room moves, too:
// its new server asks the homeserver under test for a template, and hands the join in.
func TestMigration_ThroughAResidentServer(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"public", "invite"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-COSIG-04", "MSC4348-MIG-01")
			r := hosting(t)
			setup := conform.Setup(t)
			next := r.Scene.Peer(t)
			fay, err := next.Carry(r.Fay)
			must.NoError(setup, "taking the account to another server", err)
			r.Alice.MustSendState(setup, r.ID, "m.room.join_rules", "", map[string]any{"join_rule": rule})
			key := next.MustRequest(setup, r.At, r.Version, r.ID, fay).ServerKey.Key().Name()
			r.MustSeeParticipation(setup, key, matrix.Requested)
			r.AliceAccepts(setup, key)
			// D-46: whether a server outside is told is not said. If it is not, the template says what to cite.
			ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit()/4)
			defer cancel()
			if _, err := next.WaitAcceptance(ctx, r.ID, key); err != nil {
				t.Log(err)
			}

			moved := *r
			moved.Peer, moved.Fay = next, fay
			moved.Room = next.MustJoin(conform.Judge(t, "MSC4348-COSIG-04"), r.At, r.Version, r.ID, fay)
			join := moved.Room.State("m.room.member", string(r.UserID(fay)))
			said := moved.FenceBy(t, fay)
			must.Contain(conform.Judge(t, "MSC4348-MIG-01"), "the state at the homeserver", moved.StateBefore(t, moved.Next(t)), join.ID())
			server, err := said.Cosigner(moved.Room.Event)
			must.Be(setup, err == nil && server == key, "the message to come through the new server")
		})
	}
}

// MSC4348, "Proposal": events are "cosigned by a participating server", also those that the homeserver hands on. What it
// keeps of an event is the event with both signatures.
func TestEvents_AreHandedOnWithBothSignatures(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-09")
	r := hosting(t)
	said := r.Fence(t)
	next := r.Next(t)
	judge := conform.Judge(t, "MSC4348-COSIG-09")
	check := func(what string, events ...*matrix.Event) {
		for _, e := range events {
			if !e.IsCreate() && e.Sender() == said.Sender() {
				must.NoError(judge, "verifying both signatures of an event from "+what, r.Signatures(e))
			}
		}
	}
	check("/event", r.Peer.Event(t, r.At, said.ID()).Only(conform.Setup(t), r.Version))
	for what, reply := range map[string]blueprints.Reply{
		"/backfill": r.Peer.Backfill(t, r.At, r.ID, 5, next.ID()), "/state": r.Peer.StateAt(t, r.At, r.ID, next.ID()),
	} {
		var events []*matrix.Event
		for _, pdu := range reply.Events {
			events = append(events, blueprints.MustParse(conform.Setup(t), r.Version, pdu))
		}
		check(what, events...)
	}
}

// MSC4348, "Proposal": an account is no server. One whose events cite no server, and which has signed in the place of one
// as well, is not co-signed by a participating server; whether it may be accepted as a server is another question
// (MSC4348-FORGE-08).
func TestCosigner_IsNotTheAccountItself(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-01")
	r := visiting(t)
	loner := r.Peer.Member(t, "loner")
	for _, d := range []fakeserver.Draft{fakeserver.Membership(r.UserID(loner), "join"), fakeserver.Message("on my own")} {
		event := r.Forge(t, loner, d, fakeserver.Forgery{Through: fakeserver.AccountAsServer})
		blueprints.MustDeliver(conform.Setup(t), r.Room, event.PDU)
		r.Fence(t)
		if got := r.Observe(t, event); got.Effective() {
			conform.Violation(t, "MSC4348-COSIG-01", "an account that is no accepted server does not co-sign for itself", got.String()+"\n"+string(event.PDU))
		}
	}
	joined := r.Forge(t, loner, fakeserver.Membership(r.UserID(loner), "join"), fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), r.Room, joined.PDU)
	r.Fence(t)
	must.Be(conform.Setup(t), r.Observe(t, joined).Effective(), "the account to join through a server")
}
