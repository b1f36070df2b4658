package roomv12

import (
	"crypto/ed25519"
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/sjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// power gives users power levels; what the room's power levels do not name keeps its default.
func power(t *testing.T, r *blueprints.Room, users map[*fakeserver.User]int) {
	t.Helper()
	levels := map[string]any{}
	for user, level := range users {
		levels[string(user.ID(v12))] = level
	}
	id := r.Alice.MustSendState(conform.Setup(t), r.ID, "m.room.power_levels", "", map[string]any{"users": levels})
	r.Peer.MustReceiveEvent(conform.Setup(t), id)
}

func topic(text string) fakeserver.Draft {
	return fakeserver.State("m.room.topic", "", map[string]any{"topic": text})
}

// Server-server API, "Rejection": an event without the authority that it needs.
func TestReject_EventWithoutAuthority(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-REJECT-01")
	r := blueprints.FayJoined(t, v12)
	mallory := r.Join(t, "mallory")
	power(t, r, map[*fakeserver.User]int{r.Fay: 50})

	// Control: with power, the topic is set.
	honest := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, topic("honest"))
	r.Alice.MustSeeState(conform.Setup(t), r.ID, "m.room.topic", "", blueprints.ContentIs("topic", "honest"))

	forged := blueprints.NewEvent(t, r.Room, mallory, topic("forged"))
	blueprints.MustDeliver(t, r.Room, forged.JSON())
	r.Fence(t)
	next := r.MustStayUnseen(t, forged)
	state := r.StateBefore(t, next)
	must.Contain(t, "state over federation", state, honest.ID())
	must.NotContain(t, "state over federation", state, forged.ID())
	must.Field(t, r.Alice.MustState(t, r.ID, "m.room.topic", ""), "topic", "honest")
}

// Server-server API, "Checks performed on receipt of a PDU", step 2: an event that is signed by another
// key than that of the sender's server, or by nobody.
func TestReject_EventWithoutValidSignature(t *testing.T) {
	t.Parallel()
	_, otherKey, err := ed25519.GenerateKey(nil)
	must.NoError(t, "making a key", err)
	for name, forge := range map[string]func(*blueprints.Room, *matrix.Event) []byte{
		"by another key": func(r *blueprints.Room, e *matrix.Event) []byte {
			return e.WithSignature(matrix.Signer{Entity: r.Peer.Signer().Entity, KeyID: r.Peer.Signer().KeyID, Key: otherKey}).JSON()
		},
		"by nobody": func(_ *blueprints.Room, e *matrix.Event) []byte {
			unsigned, err := sjson.SetRawBytes(slices.Clone(e.JSON()), "signatures", []byte("{}"))
			must.NoError(t, "taking the signature off", err)
			return unsigned
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-REJECT-02")
			r := blueprints.FayJoined(t, v12)

			// Control: a message that is built in the same way, and signed.
			r.Fence(t)

			forged := blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.Message("forged"))
			blueprints.MustDeliver(t, r.Room, forge(r, forged))
			r.Fence(t)
			r.MustStayUnseen(t, forged)
			fetched := r.Peer.Event(t, r.At, forged.ID())
			must.Be(t, fetched.StatusCode() != http.StatusOK, "the event not to be kept: %s", fetched)
		})
	}
}

// Server-server API, "Soft failure": allowed where it says that it stands, forbidden by now.
func TestSoftFailure_EventFromBeforeBan(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-SOFT-01")
	r := blueprints.FayJoined(t, v12)
	mallory := r.Join(t, "mallory")
	blueprints.MustSend(conform.Setup(t), r.Room, mallory, fakeserver.Message("control"))
	before := r.Room.Extremities()
	evasive := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Message("sent as if before the ban"))
	must.SameSet(t, "previous events of the evasive event", evasive.PrevEvents(), before)

	r.Alice.MustBan(conform.Setup(t), r.ID, string(mallory.ID(v12)))
	r.MustReceiveMember(conform.Setup(t), string(mallory.ID(v12)), "ban")
	blueprints.MustDeliver(t, r.Room, evasive.JSON())
	r.Fence(t)
	r.MustStayUnseen(t, evasive)
}
