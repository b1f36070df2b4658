package msc4243

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// mention is a message that every homeserver highlights for a user.
func mention(userID string) fakeserver.Draft {
	return fakeserver.Message(userID+": look").With("m.mentions", map[string]any{"user_ids": []string{userID}})
}

// unread waits until the counts of what a client has not read of the room are as they should be.
func unread(t testing.TB, c *csapi.Client, roomID string, is func(counts gjson.Result) bool) {
	t.Helper()
	wait.For(t, "the unread counts of "+c.UserID, func(context.Context) (bool, error) {
		counts := inSync(t, place{client: c, roomID: roomID}, csapi.SyncRequest{}).Get("unread_notifications")
		if is(counts) {
			return true, nil
		}
		return false, fmt.Errorf("they are %s", counts.Raw)
	})
}

// Server behaviour: what is hidden notifies nobody. Mallory, who is unverified, mentions alice as fay
// has; one more message of fay's is unread besides.
func TestHiddenEvents_NotifyNobody(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-12")
	r := hosting(t)
	setup := conform.Setup(t)
	mallory := r.JoinUnverified(t, "mallory")
	seen := blueprints.MustSend(setup, r.Room, r.Fay, mention(r.Alice.UserID))
	r.Alice.MustSee(setup, r.ID, seen.ID())
	unread(setup, r.Alice, r.ID, func(counts gjson.Result) bool { return counts.Get("highlight_count").Int() == 1 })
	r.Alice.Receipt(setup, r.ID, "m.read", seen.ID()).MustOK(setup)
	unread(setup, r.Alice, r.ID, func(counts gjson.Result) bool {
		return counts.Get("highlight_count").Int() == 0 && counts.Get("notification_count").Int() == 0
	})

	for range 3 {
		blueprints.MustSend(setup, r.Room, mallory, mention(r.Alice.UserID))
	}
	r.MustHide(t, mallory, mention(r.Alice.UserID)) // and a message of fay's
	counts := inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get("unread_notifications")
	must.Field(t, counts, "highlight_count", 0)
	must.Be(t, counts.Get("notification_count").Int() <= 1, "at most fay's message to be unread, got %s", counts.Raw)
	notified := r.Alice.Notifications(t)
	must.Be(t, !strings.Contains(string(notified.Body), mallory.Key()), "no notification of a hidden event, got:\n%s", notified)
}

// Server behaviour: what is hidden adds nothing to other events. In each case fay relates to alice's
// message, and mallory, who is unverified, in the same way.
func TestHiddenEvents_AreNotAggregated(t *testing.T) {
	t.Parallel()
	relation := func(eventType, relType string, content map[string]any) func(parent string) fakeserver.Draft {
		return func(parent string) fakeserver.Draft {
			d := fakeserver.Draft{Type: eventType, Content: content}
			relates := map[string]any{"rel_type": relType, "event_id": parent}
			if relType == "m.annotation" {
				relates["key"] = "👍"
			}
			return d.With("m.relates_to", relates)
		}
	}
	text := map[string]any{"msgtype": "m.text", "body": "related"}
	for _, c := range []struct {
		name   string
		relate func(parent string) fakeserver.Draft
		// bundled is what a homeserver says of fay's alone, at a path of the bundle.
		path, bundled string
	}{
		{"a reaction", relation("m.reaction", "m.annotation", map[string]any{}), "", ""},
		{"a reference", relation("m.room.message", "m.reference", text), `m\.reference.chunk.#`, "1"},
		{"an answer in a thread", relation("m.room.message", "m.thread", text), `m\.thread.count`, "1"},
		{"an edit", relation("m.room.message", "m.replace", map[string]any{
			"msgtype": "m.text", "body": "* edited", "m.new_content": text,
		}), `m\.replace.event_id`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-13")
			r := hosting(t)
			setup := conform.Setup(t)
			mallory := r.JoinUnverified(t, "mallory")
			parent := received(setup, r, r.Alice.MustSay(setup, r.ID, "the parent")).ID()
			visible := blueprints.MustSend(setup, r.Room, r.Fay, c.relate(parent)).ID()
			hidden := r.MustHide(t, mallory, c.relate(parent)).ID()

			related := r.Alice.Relations(setup, r.ID, parent)
			must.Be(setup, eventIn(related.MustOK(setup), visible).Exists(), "%s by a verified user among the relations, got:\n%s", c.name, related)
			for what, answer := range map[string]*csapi.Response{"the relations": related, "the parent": r.Alice.Event(t, r.ID, parent)} {
				if strings.Contains(string(answer.Body), hidden) {
					conform.Violation(t, "MSC4243-VIS-13", "no trace of "+c.name+" by an unverified user, in "+what, answer.String())
				}
			}
			bundle := r.Alice.Event(t, r.ID, parent).Get(`unsigned.m\.relations`)
			if got := bundle.Get(c.path).String(); c.path != "" && got != c.bundled && bundle.Exists() {
				conform.Violation(t, "MSC4243-VIS-13", c.name+" by a verified user alone in the bundled relations, at "+c.path+": "+c.bundled, bundle.Raw)
			}
		})
	}
}

// A redaction takes effect by the rules of the room, which know nothing of verification. Who redacted is
// not shown.
func TestHiddenRedactions_RedactAllTheSame(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-14")
	var mallory *fakeserver.User
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		mallory = r.Peer.Member(t, "mallory")
		mallory.AnswerWith(blueprints.Unknown())
		r.Room.Add(blueprints.NewEvent(t, r.Room, mallory, fakeserver.Membership(mallory.KeyID(), "join")))
		r.Room.Add(blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
			"users": map[string]int{string(mallory.KeyID()): 50},
		})))
	}))
	setup := conform.Setup(t)
	for _, by := range []*fakeserver.User{r.Fay, mallory} { // the control is fay's redaction
		said := received(setup, r, r.Alice.MustSay(setup, r.ID, "to be redacted")).ID()
		r.MustHide(t, by, fakeserver.Redaction(said))
		shown := r.Alice.Event(setup, r.ID, said).MustOK(setup)
		for _, id := range blueprints.KeyUserIDs(shown.Raw) {
			conform.Violation(t, "MSC4243-VIS-14", "no account key user ID with a redacted event", string(id)+" in "+shown.Raw)
		}
		switch redacted := shown.Get("content").Raw == "{}"; {
		case redacted:
		case by == r.Fay:
			conform.Inconclusive(t, "the redaction of a verified user has no effect: %s", shown.Raw)
		default:
			conform.Violation(t, "MSC4243-VIS-14", "the target of an unverified user's redaction without its content", shown.Raw)
		}
	}
}
