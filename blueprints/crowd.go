package blueprints

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Place makes a user of any fake server a member of fay's copy of the room, which she tells of from now
// on. The join is returned, and not sent. Her server does not speak to the user's.
func (r *Room) Place(t testing.TB, user *fakeserver.User) *matrix.Event {
	t.Helper()
	join := NewEvent(t, r.Room, user, fakeserver.Membership(user.ID(r.Version), "join"))
	r.Room.Add(join)
	r.Room.Ignore(user.NameID().Domain())
	return join
}

// maxTransaction is how many events a transaction may carry (server-server API, "Transactions").
const maxTransaction = 50

// Crowd has n users of a domain join the room, each with an account key of its own, which fay's server
// says in transactions as large as they may be. Her server does not speak to the domain, which need not
// exist. What the homeserver answers to the transactions is in the transcript, and is not judged; a
// transaction that it does not answer leaves the test INCONCLUSIVE.
func (r *Room) Crowd(t testing.TB, domain matrix.ServerName, n int) []*matrix.Event {
	t.Helper()
	joins, err := r.Room.Crowd(domain, n)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	r.Room.Ignore(domain)
	r.Relay(conform.Setup(t), joins)
	return joins
}

// relayLimit is for how long a transaction is sent again that was not answered, before the timeout scale.
const relayLimit = time.Minute

// Relay has fay's server send events of its copy of the room, whoever's they are, in transactions as
// large as they may be. As servers do, it sends a transaction again that was not answered.
func (r *Room) Relay(t testing.TB, events []*matrix.Event) {
	t.Helper()
	for batch := range slices.Chunk(events, maxTransaction) {
		pdus := make([]json.RawMessage, len(batch))
		for i, e := range batch {
			pdus[i] = e.JSON()
		}
		err := wait.Until(wait.Context(t), wait.Scaled(relayLimit), "a transaction to be answered", func(ctx context.Context) (bool, error) {
			err := r.Room.Deliver(ctx, pdus...)
			return err == nil, err
		})
		if err != nil {
			t.Fatalf("delivering %d events to %s: %v", len(pdus), r, err)
		}
	}
}
