package roomv12

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Server-server API, "Joining Rooms": the resident server's side.
func TestJoin_ResidentServerLetsRemoteUserJoin(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-JOIN-01")
	r := blueprints.Hosted(t, v12)
	fay := string(r.Fay.ID(v12))

	handshake := r.Peer.MustBegin(t, r.At, v12, "join", r.ID, r.Fay)
	template := gjson.ParseBytes(handshake.Template)
	must.Field(t, template, "type", "m.room.member")
	must.Field(t, template, "sender", fay)
	must.Field(t, template, "state_key", fay)
	must.Field(t, template, "room_id", r.ID)
	must.Field(t, template, "content.membership", "join")
	must.Be(t, len(template.Get("prev_events").Array()) > 0, "previous events in the template: %s", template.Raw)

	join, answer := blueprints.MustSubmit(t, handshake)
	body := must.Succeed(t, answer)
	hasCreate := false
	for _, list := range []string{"state", "auth_chain"} {
		for _, pdu := range body.Get(list).Array() {
			event := blueprints.MustParse(t, v12, []byte(pdu.Raw))
			r.Peer.MustVerify(t, event)
			hasCreate = hasCreate || list == "state" && event.IsCreate()
		}
	}
	must.Be(t, hasCreate, "the create event in the state of the answer to send_join")
	r.Alice.MustSee(t, r.ID, join.ID())
	must.Equal(t, "membership of the joined user", r.Member(t, fay), "join")
}

// Server-server API, "Joining Rooms": the joining server's side.
func TestJoin_LocalUserJoinsRemoteRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-JOIN-02")
	r := blueprints.Visited(t, v12, blueprints.Options(func(o *fakeserver.RoomOptions) {
		o.State = []fakeserver.Draft{fakeserver.State("m.room.name", "", map[string]any{"name": "far away"})}
	}))

	r.Alice.MustJoin(t, r.ID, string(r.Peer.Name()))

	asked := r.Peer.MustBeAsked(t, fakeserver.OpMakeJoin)
	uri, err := url.Parse(asked.URI)
	must.NoError(t, "reading the request of make_join", err)
	must.Contain(t, "ver of make_join", uri.Query()["ver"], v12.ID)

	submitted := r.Peer.MustBeAsked(t, fakeserver.OpSendJoin)
	join := blueprints.MustParse(t, v12, submitted.RequestBody)
	r.Peer.MustVerify(t, join)
	must.Equal(t, "sender of the join", string(join.Sender()), r.Alice.UserID)
	must.Be(t, join.IsState("m.room.member", r.Alice.UserID) && join.Membership() == "join",
		"a join of %s: %s", r.Alice.UserID, join.JSON())

	r.Alice.MustSeeMember(t, r.ID, r.Alice.UserID, "join")
	must.Field(t, r.Alice.MustState(t, r.ID, "m.room.name", ""), "name", "far away")
}

// rooms/v12, rule 5.3: who was not invited does not join a room whose join rule is invite.
func TestJoin_WithoutInviteIsRefused(t *testing.T) {
	t.Parallel()
	for _, path := range []struct {
		name    string
		deliver func(*testing.T, *blueprints.Room, *matrix.Event)
	}{
		{"send_join", func(t *testing.T, r *blueprints.Room, join *matrix.Event) {
			r.Peer.HandIn(t, r.At, "join", join)
		}},
		{"send", func(t *testing.T, r *blueprints.Room, join *matrix.Event) {
			blueprints.MustDeliver(t, r.Room, join.JSON())
		}},
	} {
		t.Run(path.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-JOIN-03")
			r := blueprints.Hosted(t, v12, blueprints.Create("preset", "private_chat"))
			mallory := r.Peer.Member(t, "mallory")

			// Control: an invited user of the same server joins.
			r.Alice.MustInvite(conform.Setup(t), r.ID, string(r.Fay.ID(v12)))
			r.FayJoins(t)

			must.Refuse(t, r.Peer.Make(t, r.At, "join", r.ID, string(mallory.ID(v12)), v12.ID), http.StatusForbidden, "M_FORBIDDEN")
			join := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Membership(mallory.ID(v12), "join"))
			path.deliver(t, r, join)

			r.Fence(t)
			next := r.MustStayUnseen(t, join)
			must.NotContain(t, "state over federation", r.StateBefore(t, next), join.ID())
			must.Be(t, r.Member(t, string(mallory.ID(v12))) != "join", "the user to stay outside")
		})
	}
}

// Server-server API, "GET /make_join": a server that does not know the room version is told so.
func TestJoin_UnsupportedVersionIsNamed(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string][]string{"other version": {"1"}, "no version": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-JOIN-04")
			r := blueprints.Hosted(t, v12)
			reply := r.Peer.Make(t, r.At, "join", r.ID, string(r.Fay.ID(v12)), versions...)
			must.Refuse(t, reply, http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION")
			must.Field(t, reply.JSON(), "room_version", v12.ID)
		})
	}
}

// rooms/v12, rule 5.3.5, and server-server API, "Restricted rooms".
func TestJoin_Restricted(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-RESTRICTED-01")
	r := blueprints.FayJoined(t, v12)
	mallory := r.Peer.Member(t, "mallory")
	restricted := r.Alice.MustCreateRoom(conform.Setup(t), map[string]any{
		"room_version": v12.ID, "preset": "private_chat",
		"initial_state": []any{map[string]any{"type": "m.room.join_rules", "state_key": "", "content": map[string]any{
			"join_rule": "restricted",
			"allow":     []any{map[string]any{"type": "m.room_membership", "room_id": r.ID}},
		}}},
	})

	must.RefuseAny(t, r.Peer.Make(t, r.At, "join", restricted, string(mallory.ID(v12)), v12.ID))

	handshake := r.Peer.MustBegin(t, r.At, v12, "join", restricted, r.Fay)
	must.Field(t, gjson.ParseBytes(handshake.Template), "content.join_authorised_via_users_server", r.Alice.UserID)
	join, answer := blueprints.MustSubmit(t, handshake)
	signed := blueprints.MustParse(t, v12, []byte(must.Have(t, must.Succeed(t, answer), "event").Raw))
	must.Equal(t, "event ID of the signed join", signed.ID(), join.ID())
	if err := r.Peer.VerifyServerSignature(t, signed, r.At); err != nil {
		t.Fatalf("expected the join to be signed by the server of the user who authorises it: %v\n%s", err, signed.JSON())
	}
	r.Alice.MustSeeMember(t, restricted, string(r.Fay.ID(v12)), "join")
}

// rooms/v12, rule 5.7, and server-server API, "Knocking upon a room".
func TestKnock(t *testing.T) {
	t.Parallel()
	joinRule := func(rule string) blueprints.Setting {
		return blueprints.Create("initial_state", []any{map[string]any{
			"type": "m.room.join_rules", "state_key": "", "content": map[string]any{"join_rule": rule},
		}})
	}
	t.Run("then invite and join", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-KNOCK-01")
		r := blueprints.Hosted(t, v12, joinRule("knock"))
		fay := string(r.Fay.ID(v12))

		handshake := r.Peer.MustBegin(t, r.At, v12, "knock", r.ID, r.Fay)
		must.Field(t, gjson.ParseBytes(handshake.Template), "content.membership", "knock")
		_, answer := blueprints.MustSubmit(t, handshake)
		must.Have(t, must.Succeed(t, answer), "knock_room_state")
		r.Alice.MustSeeMember(t, r.ID, fay, "knock")

		r.Alice.MustInvite(t, r.ID, fay)
		r.Peer.MustJoin(t, r.At, v12, r.ID, r.Fay)
		r.Alice.MustSeeMember(t, r.ID, fay, "join")
	})
	t.Run("on an invite-only room", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-KNOCK-01")
		r := blueprints.Hosted(t, v12, joinRule("invite"))
		must.Refuse(t, r.Peer.Make(t, r.At, "knock", r.ID, string(r.Fay.ID(v12)), v12.ID), http.StatusForbidden, "M_FORBIDDEN")

		// Control: the room can be joined with an invite, and so a signed knock can be built.
		r.Alice.MustInvite(conform.Setup(t), r.ID, string(r.Fay.ID(v12)))
		r.FayJoins(t)
		mallory := r.Peer.Member(t, "mallory")
		knock := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Membership(mallory.ID(v12), "knock"))
		must.RefuseAny(t, r.Peer.HandIn(t, r.At, "knock", knock))
		r.Fence(t)
		r.MustStayUnseen(t, knock)
		must.Equal(t, "membership of the knocking user", r.Member(t, string(mallory.ID(v12))), "")
	})
}
