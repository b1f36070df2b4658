package msc4243

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// thirdParties is a restricted room that fay made and alice joined. Mallory is of another server, which
// has nobody in the room.
func thirdParties(t testing.TB) (r *blueprints.Room, mallory *fakeserver.User) {
	t.Helper()
	r = restrictedVisit(t)
	setup := conform.Setup(t)
	r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
	r.Alice.MustSeeMember(setup, r.ID, r.Alice.UserID, "join")
	return r, r.Scene.Peer(t).Member(t, "mallory")
}

// authorised is the draft of a join that fay authorises.
func authorised(r *blueprints.Room, user *fakeserver.User) fakeserver.Draft {
	d := fakeserver.Membership(user.KeyID(), "join").With("join_authorised_via_users_server", r.Fay.KeyID())
	d.CoSigners = []*fakeserver.User{r.Fay}
	return d
}

// Impacts on restricted rooms: a join that names who authorises it is rejected unless that user's
// account key has signed it. Fay's server, which is in the room, passes the joins on.
func TestRestrictedJoin_NeedsTheAuthorisersSignature(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		forgery fakeserver.Forgery
	}{
		{"no signature", fakeserver.Forgery{OmitCoSignature: true}},
		{"a signature by another key", fakeserver.Forgery{CoSignWith: fakeserver.StrangerKey}},
		{"a signature by the key that joins", fakeserver.Forgery{
			OmitCoSignature: true, ExtraSignatures: []fakeserver.Signature{{Entity: "{cosigner-key}", KeyID: "ed25519:1", JSON: `"{sig}"`}},
		}},
		{"a signature by another user", fakeserver.Forgery{CoSignAsOther: true}},
		{"a signature by a server", fakeserver.Forgery{CoSignWithServerKey: true}},
		{"the user ID as the entity", fakeserver.Forgery{CoSignatureEntity: "{cosigner}"}},
		{"the server as the entity", fakeserver.Forgery{CoSignatureEntity: "{domain}"}},
		{"another key ID", fakeserver.Forgery{CoSignatureKeyID: "ed25519:2"}},
		{"a signature that is none", fakeserver.Forgery{CoSignatureJSON: zeroSignature}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-RJ-02")
			r, mallory := thirdParties(t)
			forged := r.Forge(t, mallory, authorised(r, mallory), c.forgery)
			blueprints.MustDeliver(conform.Setup(t), r.Room, forged.PDU)
			r.Fence(t)
			if got := r.Observe(t, forged); got.Effective() {
				conform.Violation(t, "MSC4243-RJ-02", "a restricted join with "+c.name+" to have no effect", got.String())
			}
			mustBeAccepted(t, r, r.Forge(t, mallory, authorised(r, mallory), fakeserver.Forgery{})) // control
		})
	}
}

// mustBeAccepted delivers an event by fay's server, and leaves the test INCONCLUSIVE unless it has an
// effect.
func mustBeAccepted(t testing.TB, r *blueprints.Room, f fakeserver.Forged) {
	t.Helper()
	blueprints.MustDeliver(conform.Setup(t), r.Room, f.PDU)
	r.Fence(t)
	if got := r.Observe(t, f); !got.InState {
		conform.Inconclusive(t, "the control failed: the honest event is not in the state of the room; %s", got)
	}
}

// Server behaviour and Impacts on restricted rooms: the key is in the user ID, so nobody need be asked.
// The user who authorises the join is of a server that does not answer.
func TestRestrictedJoin_IsCheckedWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RJ-05")
	r, mallory := thirdParties(t)
	silent := r.Scene.Peer(t)
	ghost := silent.Member(t, "ghost")
	r.Room.Ignore(silent.Name())
	must.NoError(conform.Setup(t), "closing a fake server", silent.Close())
	join := r.Forge(t, ghost, authorised(r, ghost), fakeserver.Forgery{})
	mustBeAccepted(t, r, join)
	r.Keep(t, join)
	levels := r.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
	levels["users"], levels["invite"] = map[string]any{string(ghost.KeyID()): 50}, 50
	r.Keep(t, r.Forge(t, r.Fay, fakeserver.State("m.room.power_levels", "", levels), fakeserver.Forgery{}))

	d := fakeserver.Membership(mallory.KeyID(), "join").With("join_authorised_via_users_server", ghost.KeyID())
	d.CoSigners = []*fakeserver.User{ghost}
	byGhost := r.Forge(t, mallory, d, fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), r.Room, byGhost.PDU)
	r.Fence(t)
	if got := r.Observe(t, byGhost); !got.InState {
		conform.Violation(t, "MSC4243-RJ-05", "a join to be accepted whether or not the server of the user who authorises it answers", got.String())
	}
}

// Room version 11 and later, "Redactions": the user who authorises a join is kept, and both signatures
// are over what is kept.
func TestRestrictedJoin_RedactedCopy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		forgery fakeserver.Forgery
		valid   bool
	}{
		{"with both signatures", fakeserver.Forgery{Redacted: true}, true},
		{"without the second", fakeserver.Forgery{Redacted: true, OmitCoSignature: true}, false},
		{"with a wrong second", fakeserver.Forgery{Redacted: true, CoSignWith: fakeserver.StrangerKey}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-RJ-07")
			r, mallory := thirdParties(t)
			d := authorised(r, mallory).With("displayname", "Mallory") // which a redaction removes
			redacted := r.Forge(t, mallory, d, c.forgery)
			blueprints.MustDeliver(conform.Setup(t), r.Room, redacted.PDU)
			r.Fence(t)
			got := r.Observe(t, redacted)
			switch {
			case c.valid && !got.InState:
				conform.Violation(t, "MSC4243-RJ-07", "the redacted copy of a join that both have signed to be accepted", got.String())
			case !c.valid && got.Effective():
				conform.Violation(t, "MSC4243-RJ-07", "the redacted copy of a join "+c.name+" to have no effect", got.String())
			}
			if !c.valid {
				mustBeAccepted(t, r, r.Forge(t, mallory, authorised(r, mallory), fakeserver.Forgery{})) // control
			}
		})
	}
}
