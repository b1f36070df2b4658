package fed_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// TestWellSignedNonsense delivers events that are signed as they should be and make no sense otherwise:
// any type, content, state key, parents and auth events. The room must stay usable, and its state must
// be what another server makes of the same events in another order.
func TestWellSignedNonsense(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		hs1, hs2, id, _ := pair(t, v)
		hs3 := hs1.network.start(t)
		hs3.join(id, "carol", hs1)
		hs2.waitFor("carol", func() bool { return hs2.membership(id, hs3.inRoom(v, "carol")) == "join" })
		_, err := hs1.engine.Send(background, id, hs1.user("alice"), stateDraft("m.room.power_levels", "", "users", map[string]any{string(hs2.inRoom(v, "bob")): 60}))
		require.NoError(t, err)
		base := hs1.say(id, "alice", "base")
		for _, hs := range []*homeserver{hs2, hs3} {
			hs.waitForEvent(id, base.ID())
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 11))
		pick := func(list []string) string { return list[random.IntN(len(list))] }
		bob, alice := string(hs2.inRoom(v, "bob")), string(hs1.inRoom(v, "alice"))
		types := []string{
			"m.room.message", "m.room.name", "m.room.member", "m.room.power_levels", "m.room.redaction",
			"m.room.third_party_invite", "m.room.create", "m.room.tombstone", "x", "m.room.encryption",
		}
		contents := []string{
			`{}`, `{"membership":"join"}`, `{"membership":"leave"}`, `{"membership":"ban"}`, `{"membership":"invite"}`, `{"membership":7}`,
			`{"membership":"join","join_authorised_via_users_server":"` + alice + `"}`, `{"membership":"join","join_authorised_via_users_server":[]}`,
			`{"membership":"invite","third_party_invite":{"signed":{"mxid":"x","token":"y"}}}`, `{"join_rule":"public"}`, `{"join_rule":{}}`,
			`{"users":{"` + bob + `":60}}`, `{"users":[]}`, `{"users":{"` + bob + `":100}}`, `{"events":{"x":null}}`, `{"redacts":"$x"}`,
			`{"redacts":"` + base.ID() + `"}`, `{"allow":7,"deny":{}}`, `{"body":"text"}`, `{"name":["a"]}`,
		}
		keys := []string{"", bob, alice, "@nobody", "x", "@:"}
		// Forks begin at the create event or after Carol's join, and no join rules are changed on them:
		// resolution would rightly undo joins that such a change does not allow.
		parents := []string{base.ID(), "$" + id[1:]}
		auth := append([]string{"$unknown", "$" + id[1:]}, func() (ids []string) {
			for _, event := range hs2.state(id) {
				ids = append(ids, event)
			}
			return ids
		}()...)
		known := []string{}
		for i := range 150 {
			p := matrix.ProtoEvent{
				Type: pick(types), Sender: matrix.UserID(bob), RoomID: id, Content: []byte(pick(contents)),
				Depth: random.Int64N(1000), OriginServerTS: time.Now().UnixMilli() - random.Int64N(1000),
			}
			if random.IntN(3) > 0 {
				p.StateKey = matrix.StateKey(pick(keys))
			}
			for range random.IntN(3) {
				p.PrevEvents = append(p.PrevEvents, pick(append(known, parents...)))
			}
			if random.IntN(4) == 0 {
				for range random.IntN(4) {
					p.AuthEvents = append(p.AuthEvents, pick(auth))
				}
			} else {
				state := hs2.current(id)
				for _, place := range matrix.AuthEventTuples(p.Type, p.StateKey, p.Sender, p.Content) {
					if at := state.Get(place); at != "" {
						p.AuthEvents = append(p.AuthEvents, at)
					}
				}
			}
			e, err := p.Build(v, hs2.signer(v, "bob"))
			require.NoError(t, err)
			hs2.deliver(hs1, e)
			if _, ok := hs1.engine.Event(id, e.ID()); ok {
				known = append(known, e.ID())
			}
			_ = i
		}
		require.NotEmpty(t, known)
		last := hs1.say(id, "alice", "still here")
		hs3.waitForEvent(id, last.ID())
		hs1.restart()
		after := hs1.say(id, "alice", fmt.Sprint("and after a restart, with ", len(known), " events"))
		hs3.waitForEvent(id, after.ID())
		require.Equal(t, hs1.state(id), hs3.state(id))
	})
}
