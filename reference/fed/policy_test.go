package fed_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// TestPolicyServer has one server of a room recommend events: all but spam. The others send and show nothing else
// (server-server API, "Policy Servers").
func TestPolicyServer(t *testing.T) {
	for _, v := range []matrix.RoomVersion{matrix.RoomVersion12(), matrix.RoomVersionMSC4243()} {
		t.Run(v.ID, func(t *testing.T) {
			n := newNetwork(t)
			hs1, hs2, policy := n.start(t), n.start(t), n.start(t)
			public, private, err := ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
			policy.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/_matrix/policy/v1/sign" {
					return false
				}
				body, err := io.ReadAll(r.Body)
				if err != nil || bytes.Contains(body, []byte("spam")) {
					w.WriteHeader(http.StatusBadRequest)
					_, _ = w.Write([]byte(`{"errcode":"M_FORBIDDEN","error":"we have had enough of that"}`))
					return true
				}
				message, err := matrix.EventSigningBytes(body)
				if err != nil {
					return false
				}
				_ = json.NewEncoder(w).Encode(map[matrix.ServerName]any{policy.name: map[string]string{
					"ed25519:policy_server": matrix.EncodeBase64(ed25519.Sign(private, message)),
				}})
				return true
			})
			recommended := func(e *matrix.Event) bool {
				return e.VerifySignature(string(policy.name), "ed25519:policy_server", public) == nil
			}
			id := hs1.create(v, "alice", joinRules("public"))
			hs2.join(id, "bob", hs1)
			set, err := hs1.engine.Send(background, id, hs1.user("alice"), room.Draft{
				Type: "m.room.policy", StateKey: matrix.StateKey(""),
				Content: []byte(`{"via":"` + string(policy.name) + `","public_keys":{"ed25519":"` + matrix.EncodeBase64(public) + `"}}`),
			})
			require.NoError(t, err)
			hs2.waitForEvent(id, set.ID())
			require.False(t, recommended(hs1.say(id, "alice", "spam, before the policy server is in the room")))

			policy.join(id, "carol", hs1)
			hs2.waitFor("the policy server", func() bool { return hs2.membership(id, policy.inRoom(v, "carol")) == "join" })
			said := hs1.say(id, "alice", "hello")
			require.True(t, recommended(said))
			require.True(t, recommended(hs2.waitForEvent(id, said.ID()).Event))
			_, err = hs1.engine.Send(background, id, hs1.user("alice"), room.Draft{Type: "m.room.message", Content: object("body", "spam")})
			requireRefused(t, err, http.StatusBadRequest)
			require.ErrorContains(t, err, "we have had enough of that")

			// A server that asks for no signatures: one is asked for when the event arrives.
			tip := hs2.waitForEvent(id, said.ID()).Event
			fine := hs2.build(id, "bob", room.Draft{Type: "m.room.message", Content: object("body", "fine")}, hs2.current(id), tip)
			hs2.deliver(hs1, fine)
			require.True(t, recommended(hs1.waitForEvent(id, fine.ID()).Event))
			spam := hs2.build(id, "bob", room.Draft{Type: "m.room.message", Content: object("body", "spam")}, hs2.current(id), fine)
			hs2.deliver(hs1, spam)
			stored, ok := hs1.engine.Event(id, spam.ID())
			require.True(t, ok)
			require.Equal(t, room.SoftFailed, stored.Outcome)

			unset, err := hs1.engine.Send(background, id, hs1.user("alice"), room.Draft{Type: "m.room.policy", StateKey: matrix.StateKey(""), Content: []byte(`{}`)})
			require.NoError(t, err)
			require.False(t, recommended(unset))
			require.False(t, gjson.GetBytes(hs1.say(id, "alice", "spam, when nobody minds").JSON(), "signatures."+gjson.Escape(string(policy.name))).Exists())
		})
	}
}
