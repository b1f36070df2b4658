package msc4243

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Server behaviour: asking "SHOULD be done prior to sending the room information to clients", of whoever
// comes later too.
func TestNewMembers_AreAskedFor(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-05", "MSC4243-QC-21")
	r := visiting(t)
	bob := r.Peer.Member(t, "bob")
	join := blueprints.MustSend(conform.Setup(t), r.Room, bob, fakeserver.Membership(bob.KeyID(), "join"))
	mustBeQuestioned(t, "MSC4243-QC-21", r.Peer, []string{bob.Key()})
	err := r.Alice.SyncUntil(t.Context(), "bob's join", func(v *csapi.View) bool {
		return v.Room(r.ID).Membership(r.ClientID(bob)) == "join"
	})
	if err != nil {
		conform.Violation(t, "MSC4243-QC-21", "the join of a new member, whose server confirms him, as "+r.ClientID(bob), err.Error())
	}
	message := blueprints.MustSend(conform.Setup(t), r.Room, bob, fakeserver.Message("hello"))
	r.Alice.MustSee(conform.Setup(t), r.ID, r.Fence(t).ID())
	if shown := r.Alice.View().Room(r.ID).Event(message.ID()); shown.Get("sender").Str != r.ClientID(bob) {
		conform.Violation(t, "MSC4243-QC-05", "a message of a user whose key was confirmed, from "+r.ClientID(bob), "in /sync: "+shown.Raw)
	}
	must.Be(t, everythingShown(t, r).has(join.ID()), "the join of a user whose key was confirmed to be shown")
}

// Proposal: "If an account key is missing, then the sending server should try again later with that key
// to resolve it."
func TestMissingKeys_AreAskedForAgain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-09")
	r := visiting(t)
	bob := r.Peer.Member(t, "bob")
	bob.AnswerWith(fakeserver.AccountAnswer{Omit: true})
	join := r.MustHide(t, bob, fakeserver.Membership(bob.KeyID(), "join"))
	r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(bob.Key()))
	if everythingShown(t, r).has(join.ID()) {
		conform.Violation(t, "MSC4243-QC-09", "nothing to be shown of a member whose key was left out", "his join is shown")
	}

	r.ConfirmLate(t, bob)
	err := wait.Until(t.Context(), wait.Limit(), "bob to be shown", func(context.Context) (bool, error) {
		return r.Member(t, r.ClientID(bob)) == "join", nil
	})
	if err != nil {
		conform.Violation(t, "MSC4243-QC-09", "a member to be shown who was confirmed when he was asked for again", err.Error())
	}
}

// Proposal: "The account_name MUST NOT change upon subsequent requests for the same account key", and
// "Once a mapping has been verified, it can be permanently cached." Bob is verified. Then his server says
// something else: whenever it is asked for his key, for which a second room is a reason, and beside its
// answer about another key, which comes for sure.
func TestVerifiedUsers_StayWhoTheyAre(t *testing.T) {
	t.Parallel()
	other := strings.ToLower(blueprints.Unique("renamed"))
	for _, c := range []struct {
		name, requirement string
		later             fakeserver.AccountAnswer
	}{
		{"has another name", "MSC4243-QC-16", fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"` + other + `"`}}}},
		{"is unknown", "MSC4243-QC-17", blueprints.Unknown()},
		{"is left out", "MSC4243-QC-17", fakeserver.AccountAnswer{Omit: true}},
		{"is not signed for", "MSC4243-QC-17", fakeserver.AccountAnswer{OmitSignatures: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := visiting(t)
			setup := conform.Setup(t)
			bob := r.Join(t, "bob")
			verified := time.Now()
			bob.AnswerWith(c.later)
			carol := r.Peer.Member(t, "carol")
			if !c.later.Omit {
				carol.AnswerWith(fakeserver.AccountAnswer{Unsolicited: []fakeserver.Unsolicited{{Name: bob.Name(), Answer: c.later}}})
			}
			second := r.Another(t)
			second.Place(t, bob)
			second.Alice.MustJoin(setup, second.ID, string(r.Peer.Name()))
			blueprints.MustSend(setup, r.Room, carol, fakeserver.Membership(carol.KeyID(), "join"))
			r.Alice.MustSeeMember(setup, r.ID, r.ClientID(carol), "join") // what came beside has been read

			message := blueprints.MustSend(setup, r.Room, bob, fakeserver.Message("it is still me"))
			r.Fence(t)
			if shown := r.Alice.View().Room(r.ID).Event(message.ID()); shown.Get("sender").Str != r.ClientID(bob) {
				conform.Violation(t, c.requirement, "a message of a verified user whose key "+c.name+" later, from "+r.ClientID(bob), "in /sync: "+shown.Raw)
			}
			for _, room := range []*blueprints.Room{r, second} {
				if membership := room.Member(t, r.ClientID(bob)); membership != "join" {
					conform.Violation(t, c.requirement, fmt.Sprintf("%s to be a member of %s", r.ClientID(bob), room.ID), fmt.Sprintf("the membership is %q", membership))
				}
				must.Be(t, !everythingShown(t, room).has(other), "a name that a verified key has later not to be shown in %s", room.ID)
			}
			asked := 0
			for _, e := range r.Peer.Transcript().Exchanges(fakeserver.AsksFor(bob.Key())) {
				if e.Started.After(verified) {
					asked++
				}
			}
			conform.Info(t, c.requirement, fmt.Sprintf("the key of a verified user was asked for %d times more", asked))
		})
	}
}

// Proposal: "The server receiving this response SHOULD persist the mapping in persistent storage." After
// a restart the user's server does not answer any more.
func TestVerifiedUsers_AreRememberedAfterARestart(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-15")
	version := conform.AccountKeyVersion(t)
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), version.ID)
	r := blueprints.HostedOn(t, blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1)), version)
	r.FayJoins(t)
	message := r.Fence(t)
	must.NoError(conform.Setup(t), "closing the fake server", r.Peer.Close())
	conform.CanDo(t, "restarting hs1", r.HS.Restart(t.Context()))

	shown := everythingShown(t, r)
	if !shown.has(message.ID()) || !shown.has(r.ClientID(r.Fay)) {
		conform.Violation(t, "MSC4243-QC-15", "a member who was verified before the restart, and her message, to be shown as "+r.ClientID(r.Fay), string(shown))
	}
	if membership := r.Member(t, r.ClientID(r.Fay)); membership != "join" {
		conform.Violation(t, "MSC4243-QC-15", r.ClientID(r.Fay)+" to be a member after the restart", fmt.Sprintf("the membership is %q", membership))
	}
}

// Server behaviour: servers may retry, "prioritising servers which have never responded over servers
// which have responded with the absence of the key". Which of two is asked first is recorded.
func TestRetries_Order(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-18")
	var silent, absent *fakeserver.User
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		silent, absent = r.Scene.Peer(t).Member(t, "silent"), r.Scene.Peer(t).Member(t, "absent")
		silent.AnswerWith(fakeserver.AccountAnswer{Manner: fakeserver.Reset})
		absent.AnswerWith(fakeserver.AccountAnswer{Omit: true})
		r.Place(t, silent)
		r.Place(t, absent)
	}))
	r.Fence(t)
	type question struct {
		user *fakeserver.User
		e    fakeserver.Exchange
		err  error
	}
	asked := []*question{{user: silent}, {user: absent}}
	for _, q := range asked {
		q.user.AnswerWith(fakeserver.AccountAnswer{})
	}
	answering := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit())
	defer cancel()
	for _, q := range asked {
		q.e, q.err = q.user.Server().WaitRequest(ctx, func(e fakeserver.Exchange) bool {
			return e.Started.After(answering) && fakeserver.AsksFor(q.user.Key())(e)
		})
	}
	switch never, said := asked[0], asked[1]; {
	case never.err != nil && said.err != nil:
		conform.Info(t, "MSC4243-QC-18", fmt.Sprintf("neither domain was asked again within %v", wait.Limit()))
	case said.err != nil || never.err == nil && never.e.Started.Before(said.e.Started):
		conform.Info(t, "MSC4243-QC-18", "the domain that never answered was asked again first")
	default:
		conform.Info(t, "MSC4243-QC-18", "the domain that left the key out was asked again first")
	}
}

// fewQuestions is how many requests about one key a homeserver may make while a hundred events of the
// user arrive within seconds and the domain fails. One after the other and a few retries are far less.
const fewQuestions = 20

// Potential Issues: "Servers MUST have a global backoff timer per-domain". Many events by one user whose
// domain fails are no reason to ask many times.
func TestManyEvents_CauseFewQuestions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer fakeserver.AccountAnswer
	}{
		{"whose domain fails", fakeserver.AccountAnswer{Status: http.StatusInternalServerError, Body: "{}"}},
		{"whose domain does not know them", blueprints.Unknown()},
		{"whom their domain leaves out", fakeserver.AccountAnswer{Omit: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QC-22")
			r := visiting(t)
			elsewhere := r.Scene.Peer(t)
			elsewhere.AnswerAccounts(c.answer)
			gil := elsewhere.Member(t, "gil")
			gil.AnswerWith(c.answer)
			events := []*matrix.Event{r.Place(t, gil)}
			for range 99 {
				message := blueprints.NewEvent(t, r.Room, gil, fakeserver.Message("again"))
				r.Room.Add(message)
				events = append(events, message)
			}
			r.Relay(conform.Setup(t), events)
			r.Fence(t)
			elsewhere.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(gil.Key()))
			r.MustHold(t, events[len(events)-1].ID())
			if asked := len(questions(elsewhere)); asked > fewQuestions {
				conform.Violation(t, "MSC4243-QC-22", fmt.Sprintf("at most %d requests about a user who has sent 100 events, %s", fewQuestions, c.name), fmt.Sprintf("%d requests", asked))
			} else {
				conform.Observed(t, "%d requests", asked)
			}
		})
	}
}

// Server behaviour: the domain of a key decides who knows its name. A key of the homeserver's own domain
// that it has not minted is nobody's. The join is valid for every server, this one too: who claims the
// domain cannot be seen from the event.
func TestUnknownKeysOfItsOwnDomain_AreUnverified(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-23")
	r := hosting(t)
	mallory := r.Peer.Member(t, "mallory")
	impostor := matrix.UserID("@" + mallory.Key() + ":" + string(r.At))
	forged := r.Forge(t, mallory, fakeserver.Membership(impostor, "join"), fakeserver.Forgery{Sender: string(impostor)})
	blueprints.MustDeliver(conform.Setup(t), r.Room, forged.PDU)
	r.Keep(t, forged)
	r.Fence(t)
	message := r.Forge(t, mallory, fakeserver.Message("I am one of yours"), fakeserver.Forgery{Sender: string(impostor)})
	blueprints.MustDeliver(conform.Setup(t), r.Room, message.PDU)
	r.Fence(t)

	o := r.Observe(t, forged)
	must.Be(t, o.InState, "a join that its account key has signed to be in the state, as it is for other servers; %s", o)
	shown := everythingShown(t, r)
	must.Be(t, !o.Shown && !shown.has(forged.EventID) && !shown.has(message.EventID), "nothing to be shown of a key that claims the homeserver's own domain")
	must.Be(t, !shown.has(mallory.Key()), "the key that claims the homeserver's own domain not to be shown")
}
