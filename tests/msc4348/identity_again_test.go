package msc4348

import (
	"testing"

	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// MSC4348, "Proposal": "Leaving and rejoining the same room MUST NOT change the account key", and the introduction: "the
// server key can be rotated without effecting users". Here the homeserver's key is revoked, it comes back with another
// one, and its user is the same.
func TestAccountKey_StaysOverAnotherServerKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-02")
	r := visiting(t)
	setup := conform.Setup(t)
	before, old := r.AliceID(t), r.ServerKey(t)
	r.FayRevokes(setup, old)
	r.MustSeeParticipation(setup, old, matrix.Revoked)
	r.Alice.Leave(t, r.ID)
	key := r.Requests(setup, r.Alice)
	must.Be(setup, key != old, "another server key than the one that was revoked")
	r.FayAccepts(setup, key)
	r.MustEnter(setup, r.Alice)
	must.Equal(t, "alice's user ID after she has come back", r.AliceID(t), before)
}
