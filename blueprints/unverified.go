package blueprints

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Unknown is the answer of a domain that does not know an account key. Its user is unverified (MSC4243,
// "Server behaviour"), and nothing else about the domain is in doubt.
func Unknown() fakeserver.AccountAnswer {
	return fakeserver.AccountAnswer{Entry: `{"errcode":"M_UNKNOWN"}`}
}

// JoinUnverified has another user of the fake server join the room, whose account key the fake server
// does not confirm. The homeserver under test has accepted the join when the method returns.
func (r *Room) JoinUnverified(t testing.TB, name string) *fakeserver.User {
	t.Helper()
	user := r.Peer.Member(t, name)
	user.AnswerWith(Unknown())
	r.MustHide(t, user, fakeserver.Membership(user.ID(r.Version), "join"))
	return user
}

// MustHide sends an honest event of a user whom clients are not shown, and returns it when the
// homeserver under test has accepted it: when an honest event of fay that follows it is seen, and the
// event is served over federation. A homeserver that has not accepted it hides it for another reason
// than its sender, and leaves the test INCONCLUSIVE.
func (r *Room) MustHide(t testing.TB, sender *fakeserver.User, draft fakeserver.Draft) *matrix.Event {
	t.Helper()
	t = conform.Setup(t)
	event := MustSend(t, r.Room, sender, draft)
	r.Fence(t)
	r.MustHold(t, event.ID())
	return event
}

// MustHold asks the homeserver under test for an event over federation. Without it the test is
// INCONCLUSIVE.
func (r *Room) MustHold(t testing.TB, eventID string) {
	t.Helper()
	if reply := r.Peer.Event(conform.Setup(t), r.At, eventID); reply.StatusCode() != http.StatusOK {
		conform.Inconclusive(t, "the homeserver has not accepted the event %s: %s", eventID, reply)
	}
}

// ConfirmLate has the fake server confirm the account key of a user whom it has not confirmed before,
// and waits until the homeserver under test has asked again and has taken in the answer. When and whether it does is its own affair
// (MSC4243, "Server behaviour"): the test is skipped when it has not within the limit of a wait. A
// message of the user's, sent at once, may be a reason to ask.
func (r *Room) ConfirmLate(t testing.TB, user *fakeserver.User) {
	t.Helper()
	user.AnswerWith(fakeserver.AccountAnswer{})
	confirmed := time.Now()
	MustSend(conform.Setup(t), r.Room, user, fakeserver.Message("does anybody see me?"))
	ctx, cancel := limited(t)
	defer cancel()
	_, err := r.Peer.WaitRequest(ctx, func(e fakeserver.Exchange) bool {
		return e.Started.After(confirmed) && e.Answered() && fakeserver.AsksFor(user.Key())(e)
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		conform.Skip(t, "the homeserver has not asked again for an unverified account key, which is its own affair: %v", err)
	case err != nil:
		conform.HarnessError(t, "%v", err)
	}
	// What is sent before the answer has been dealt with counts as history. The lists of members show when it
	// has; a homeserver that has none of late members is left to the test.
	err = wait.Until(t.Context(), wait.Limit()/2, user.Name()+" to be listed", func(context.Context) (bool, error) {
		return r.Member(t, r.ClientID(user)) == "join", nil
	})
	if err != nil {
		t.Log(err)
	}
	r.speakUntilShown(t, user)
}

// speakUntilShown has a user who has just become verified speak until something is shown: what arrives while the
// homeserver takes in who the user is may count as history. Whether anything is shown at all is left to the test.
func (r *Room) speakUntilShown(t testing.TB, user *fakeserver.User) {
	t.Helper()
	const attempts = 4
	for range attempts {
		said := MustSend(conform.Setup(t), r.Room, user, fakeserver.Message("and now?"))
		ctx, cancel := context.WithTimeout(t.Context(), wait.Limit()/attempts)
		err := r.Alice.SyncUntil(ctx, "a message of "+user.Name(), func(v *csapi.View) bool { return v.Room(r.ID).Has(said.ID()) })
		cancel()
		if err == nil {
			return
		}
	}
}

// KeyUserIDs are the account key user IDs in a text, by whatever server. IDs at the domain "invalid",
// which the proposal suggests for users of whom nobody knows the server, are not among them.
func KeyUserIDs(text string) (ids []matrix.UserID) {
	for _, found := range keyUserID.FindAllString(text, -1) {
		id := matrix.UserID(strings.TrimRight(found, ":."))
		if _, err := id.AccountKey(); err == nil && id.Domain() != "invalid" {
			ids = append(ids, id)
		}
	}
	return ids
}
