package msc4345

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// "participation is protected from redaction": a revocation that was redacted still revokes, so that the key
// that it is about does not even request again.
func TestRedaction_UndoesNoRevocation(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FORGE-18")
	r := visiting(t)
	setup := conform.Setup(t)
	key := r.AnotherServer(t, matrix.Accepted)
	name := key.Key().Name()
	revocation := blueprints.MustSend(setup, r.Room, r.Fay, r.Room.Revokes(name).With("reason", "spam"))
	r.MustSeeParticipation(setup, name, matrix.Revoked)
	redaction := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Redaction(revocation.ID()))
	r.Alice.MustSee(setup, r.ID, redaction.ID())

	if _, got := try(t, r, r.Fay, r.Room.Asks(key), fakeserver.Forgery{}); got.Effective() {
		conform.Violation(t, "MSC4345-FORGE-18", "the key of a revocation that was redacted does not request again", got.String())
	}
}
