package msc4243

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// Server behaviour speaks of what is "sent to clients/bots/bridges/appservices". An application service
// that is interested in one member of a room is told of what happens there: of users by their account
// names, and of nothing that is hidden from clients. Its interest is in account name user IDs.
func TestAppServices_SeeWhatClientsSee(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-18", "MSC4243-CS-29", "MSC4243-CS-01")
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), conform.AccountKeyVersion(t).ID)
	r, service := blueprints.Bridged(t, conform.AccountKeyVersion(t))
	setup := conform.Setup(t)
	private := r.Alice.MustSay(setup, r.Alice.MustCreateRoom(setup, publicRoom(r)), "nobody here is of interest")
	bridge := local(t, r, "bridge_bob")

	// Control: a room without account keys.
	conform.NeedRoomVersion(t, r.HS, v12.ID)
	plain := bridge.MustCreateRoom(setup, map[string]any{"room_version": v12.ID})
	service.MustHear(t, bridge.MustSay(setup, plain, "hello"))

	mallory := r.JoinUnverified(t, "mallory")
	hidden := r.MustHide(t, mallory, fakeserver.Message("hello")).ID()
	said := map[string]string{
		bridge.MustSay(setup, r.ID, "hello"): bridge.UserID, r.Alice.MustSay(setup, r.ID, "hello"): r.Alice.UserID,
		blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("hello")).ID(): r.ClientID(r.Fay),
	}
	last := r.Fence(t).ID()

	if err := service.Await(t, last); err != nil {
		conform.Violation(t, "MSC4243-CS-29", "the application service to be told of a room that "+bridge.UserID+", whom its namespace matches, is in", err.Error())
		return
	}
	events := service.Events()
	for eventID, sender := range said {
		i := slices.IndexFunc(events, func(e gjson.Result) bool { return e.Get("event_id").Str == eventID })
		must.Be(t, i >= 0, "an application service to be told of the message %s by %s", eventID, sender)
		if got := events[i].Get("sender").Str; got != sender {
			conform.Violation(t, "MSC4243-CS-01", "sender "+sender+" for application services", events[i].Raw)
		}
	}
	joined := slices.ContainsFunc(events, func(e gjson.Result) bool {
		return e.Get("type").Str == "m.room.member" && e.Get("state_key").Str == bridge.UserID
	})
	if !joined {
		conform.Violation(t, "MSC4243-CS-29", "the application service to be told that "+bridge.UserID+", whom its namespace matches, has joined", typesOf(events))
	}
	for _, e := range events {
		switch id := e.Get("event_id").Str; {
		case id == hidden || strings.Contains(e.Raw, mallory.Key()):
			conform.Violation(t, "MSC4243-VIS-18", "no event of an unverified user", e.Raw)
		case id == private:
			conform.Violation(t, "MSC4243-CS-29", "nothing of a room in which no namespace matches anybody", e.Raw)
		case len(blueprints.KeyUserIDs(e.Raw)) > 0:
			conform.Violation(t, "MSC4243-CS-29", "no account key user ID", e.Raw)
		}
	}
}

func typesOf(events []gjson.Result) string { return strings.Join(blueprints.Types(events), ", ") }

// Server behaviour, and the push gateway API: a gateway is told of what notifies a user, by account
// names, and of nothing that is hidden from the user. What it is sent is left open by the proposal; the
// account key is not tied to the domain there either.
func TestPushGateways_SeeWhatClientsSee(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-12", "MSC4243-CS-20")
	r := hosting(t)
	setup := conform.Setup(t)
	mallory := r.JoinUnverified(t, "mallory")
	gateway := r.Scene.Peer(t)
	if set := r.Alice.SetPusher(t, gateway.PushURL(), blueprints.Unique("pushkey")); !set.OK() {
		conform.Skip(t, "the homeserver takes no pushers: %s", set)
	}
	hidden := r.MustHide(t, mallory, mention(r.Alice.UserID)).ID()
	visible := blueprints.MustSend(setup, r.Room, r.Fay, mention(r.Alice.UserID)).ID()

	var told []gjson.Result
	err := wait.Until(t.Context(), wait.Limit(), "a notification", func(context.Context) (bool, error) {
		told = gateway.Notifications()
		return slices.ContainsFunc(told, func(n gjson.Result) bool { return n.Get("event_id").Str == visible }), nil
	})
	if err != nil {
		conform.Skip(t, "the homeserver does not reach push gateways: %v", err)
	}
	for _, n := range told {
		must.Be(t, n.Get("event_id").Str != hidden && !strings.Contains(n.Raw, mallory.Key()), "no notification of what an unverified user has said, got:\n%s", n.Raw)
		sender := n.Get("sender")
		if sender.Exists() && sender.Str != r.ClientID(r.Fay) {
			conform.Violation(t, "MSC4243-CS-20", "the account name user ID of the sender in a notification", n.Raw)
		}
	}
}
