package msc4243

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// authoriser is where a restricted join names the user who authorises it.
const authoriser = "content.join_authorised_via_users_server"

// restrictedTo has alice make a room that members of another room may join.
func restrictedTo(t testing.TB, r *blueprints.Room, allowed string, more map[string]any) (roomID string) {
	t.Helper()
	body := map[string]any{
		"room_version": r.Version.ID, "preset": "private_chat",
		"initial_state": []any{map[string]any{"type": "m.room.join_rules", "state_key": "", "content": restrictedRule(allowed)}},
	}
	for name, value := range more {
		body[name] = value
	}
	return r.Alice.MustCreateRoom(conform.Setup(t), body)
}

func restrictedRule(allowed string) map[string]any {
	return map[string]any{"join_rule": "restricted", "allow": []any{map[string]any{"type": "m.room_membership", "room_id": allowed}}}
}

// Impacts on restricted rooms: the user who authorises a join is named by account key user ID, and that
// key signs. Here the homeserver's user authorises the join of a user of a fake server.
func TestRestrictedJoin_IsAuthorisedByAnAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RJ-01")
	r := hosting(t)
	restricted := restrictedTo(t, r, r.ID, nil)

	handshake := r.Peer.MustBegin(t, r.At, r.Version, "join", restricted, r.Fay)
	named, _, err := matrix.ParseAccountKeyUserID(gjson.GetBytes(handshake.Template, authoriser).Str)
	must.NoError(t, "reading who authorises the join in the template", err)
	must.Equal(t, "server of the user who authorises the join", named.Domain(), r.At)
	join, answer := blueprints.MustSubmit(t, handshake)
	signed := blueprints.MustParse(t, r.Version, []byte(must.Have(t, must.Succeed(t, answer), "event").Raw))
	must.Equal(t, "event ID of the signed join", signed.ID(), join.ID())
	must.NoError(t, "checking the signature of the user who authorises the join", signed.VerifyAccountKey(named))
	must.NoError(t, "checking the signature of the user who joins", signed.VerifyAccountKey(r.Fay.KeyID()))
	others := slices.DeleteFunc(signed.SignatureEntities(), func(name string) bool { return name == string(r.At) }) // see MSC4243-SIG-11
	must.SameSet(t, "names of signatures", others, []string{r.Fay.Key(), named.Localpart()})
	r.Alice.MustSeeMember(t, restricted, r.ClientID(r.Fay), "join")
}

// Server-server API, "Restricted rooms": the joining server uses the event that comes back, since it has
// not got the other signature otherwise. A copy without it is rejected by everybody.
func TestRestrictedJoin_ReturnedEventIsChecked(t *testing.T) {
	t.Parallel()
	type edits = []fakeserver.Edit
	for _, c := range []struct {
		name string
		edit func(fay *fakeserver.User) edits
	}{
		{"without the signature of the user who authorises it", func(fay *fakeserver.User) edits {
			return edits{{Path: "event.signatures." + fay.Key()}}
		}},
		{"with a wrong signature of that user", func(fay *fakeserver.User) edits {
			return edits{{Path: "event.signatures." + fay.Key() + ".ed25519:1", JSON: zeroSignature}}
		}},
		{"without the user who authorises it", func(*fakeserver.User) edits { return edits{{Path: "event." + authoriser}} }},
		{"with another membership", func(*fakeserver.User) edits { return edits{{Path: "event.content.membership", JSON: `"leave"`}} }},
		{"of another sender", func(fay *fakeserver.User) edits {
			return edits{{Path: "event.sender", JSON: `"` + string(fay.KeyID()) + `"`}}
		}},
		{"no more", func(*fakeserver.User) edits { return edits{{Path: "event"}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-RJ-03")
			r := restrictedVisit(t)
			restore := r.Peer.Override(fakeserver.OpSendJoin, fakeserver.EditJSON(c.edit(r.Fay)...))
			answer := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
			if answer.OK() {
				conform.Violation(t, "MSC4243-RJ-03", "a join that comes back "+c.name+" to fail", answer.String())
			}
			restore()
			honest := restrictedVisit(t)
			honest.Alice.MustJoin(conform.Setup(t), honest.ID, string(honest.Peer.Name()))
		})
	}
}

// zeroSignature has the form of a signature.
const zeroSignature = `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`

// restrictedVisit is a restricted room that fay made; her server vouches for everybody.
func restrictedVisit(t testing.TB) *blueprints.Room {
	t.Helper()
	return blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "restricted" }))
}

// The copy with both signatures is the one that the homeserver keeps and hands out.
func TestRestrictedJoin_BothSignaturesAreKept(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RJ-03")
	r := restrictedVisit(t)
	r.Alice.MustJoin(conform.Setup(t), r.ID, string(r.Peer.Name()))
	sent := joinOf(conform.Setup(t), r)
	judge := conform.Judge(t, "MSC4243-RJ-03")
	kept := r.Peer.Event(judge, r.At, sent.ID())
	must.Succeed(judge, kept)
	join := kept.Only(judge, r.Version)
	must.NoError(judge, "checking the signature of the user who joined", join.VerifyAccountKey(sent.Sender()))
	must.NoError(judge, "checking the signature of the user who authorised the join", join.VerifyAccountKey(r.Fay.KeyID()))
}

// Server-server API, "Restricted rooms": a server in the room on which nobody may invite cannot let
// anybody in, and says so. The creator, whose power is without limit, has left.
func TestRestrictedJoin_NeedsAUserWhoMayInvite(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RJ-04")
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	r.Alice.MustSeeMember(setup, r.ID, bob.UserID, "join")
	restricted := restrictedTo(t, r, r.ID, map[string]any{"power_level_content_override": map[string]any{"invite": 50}})
	bob.MustJoin(setup, restricted)
	must.Succeed(setup, r.Peer.Make(setup, r.At, "join", restricted, string(r.Fay.KeyID()), r.Version.ID)) // control
	r.Alice.MustLeave(setup, restricted)

	answer := r.Peer.Make(t, r.At, "join", restricted, string(r.Fay.KeyID()), r.Version.ID)
	must.Refuse(t, answer, http.StatusBadRequest, "M_UNABLE_TO_GRANT_JOIN")
}

// Server-server API, "Restricted rooms", and Impacts on restricted rooms: the authorising signature is
// there also when the user who authorises the join is on the same server.
func TestRestrictedJoin_WithinOneServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RJ-06")
	r := hosting(t)
	restricted := restrictedTo(t, r, r.ID, nil)
	there := *r
	there.ID = restricted
	there.FayJoins(t)
	bob := local(t, r, "bob")

	bob.MustJoin(t, restricted)
	join := r.Peer.MustReceive(t, "bob's join", func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.RoomID() == restricted && membership("join", true)(pdu.Event)
	}).Event
	r.Peer.MustVerify(t, join)
	named, _, err := matrix.ParseAccountKeyUserID(join.Get("join_authorised_via_users_server").Str)
	must.NoError(t, "reading who authorises the join", err)
	must.Equal(t, "who authorises the join", named, there.Room.State("m.room.create", "").Sender())
	must.NoError(t, "checking the signature of the user who authorises the join", join.VerifyAccountKey(named))
}

// Server-server API, "Restricted rooms": the allowed room may be of another version. Whether somebody is in it
// is a question about a user, whom one of the rooms knows by account name and the other by account key. The text
// does not speak of that.
func TestRestrictedJoin_ByMembershipInARoomOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		allowed, entered func(r *blueprints.Room) matrix.RoomVersion
	}{
		{"without account keys", v12Of, versionOf},
		{"with account keys", versionOf, v12Of},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-RJ-08")
			r := hosting(t)
			conform.NeedRoomVersion(t, r.HS, v12.ID)
			setup := conform.Setup(t)
			club := r.Alice.MustCreateRoom(setup, map[string]any{"room_version": c.allowed(r).ID, "preset": "public_chat"})
			restricted := restrictedTo(t, r, club, map[string]any{"room_version": c.entered(r).ID})
			bob, carol := r.User(t, r.HS.Alias(), "bob"), r.User(t, r.HS.Alias(), "carol")
			bob.MustJoin(setup, club)
			must.Be(setup, !carol.Join(setup, restricted).OK(), "nobody to be let in who is not in the allowed room")
			if joined := bob.Join(t, restricted); !joined.OK() {
				conform.Violation(t, "MSC4243-RJ-08", "a member of an allowed room "+c.name+" to be let in", joined.String())
			}
		})
	}
}

func v12Of(*blueprints.Room) matrix.RoomVersion       { return v12 }
func versionOf(r *blueprints.Room) matrix.RoomVersion { return r.Version }
