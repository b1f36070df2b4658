package msc4345

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// hosted is a room that alice made; nobody else is in it.
func hosted(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.Hosted(t, conform.ServerKeyVersion(t), list...)
}

// joinRule has alice make her room with a join rule.
func joinRule(rule string) blueprints.Setting {
	return blueprints.Create("initial_state", []any{map[string]any{
		"type": "m.room.join_rules", "state_key": "", "content": map[string]any{"join_rule": rule},
	}})
}

// template asks for the template of a request and returns the answer, whatever it is.
func template(t testing.TB, r *blueprints.Room, user *fakeserver.User) blueprints.Reply {
	t.Helper()
	return r.Peer.Ask(t, r.At, http.MethodGet, templateURI(r, user), nil)
}

func templateURI(r *blueprints.Room, user *fakeserver.User) string {
	return fmt.Sprintf("/_matrix/federation/v1/make_participation/%s/%s?ver=%s",
		url.PathEscape(r.ID), url.PathEscape(string(r.UserID(user))), url.QueryEscape(r.Version.ID))
}

// forge builds the request of a petition with a deviation.
func forge(t testing.TB, petition *fakeserver.Petition, f fakeserver.Forgery, c fakeserver.Cast) fakeserver.Forged {
	t.Helper()
	forged, err := petition.Forge(f, c)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return forged
}

// GET make_participation: "This endpoint is identical to make_join", but for what it is a template of.
func TestResident_Template(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-04")
	r := hosted(t)
	petition := r.Peer.MustAsk(t, r.At, r.Version, r.ID, r.Fay)
	event := petition.Made.Get("event")
	t.Logf("the template: %s", event.Raw)
	want := conform.Judge(t, "MSC4345-FLOW-04")
	must.Field(want, event, "type", matrix.ParticipationType)
	must.Field(want, event, "state_key", petition.ServerKey.Key().String())
	must.Field(want, event, "sender", string(r.UserID(r.Fay)))
	must.Field(want, event, "room_id", r.ID)
	must.Field(want, event, "content.participation", string(matrix.Requested))
	must.Field(want, event, "content.request_authorised_via_server", string(r.ServerKey(t)))
	must.Equal(want, "room_version", petition.Made.Get("room_version").Str, r.Version.ID)
}

// GET make_participation: "identical to make_join", which has a server refused that does not know the room version.
func TestResident_TemplateNeedsTheVersion(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-04")
	r := hosted(t)
	must.Succeed(conform.Setup(t), template(t, r, r.Fay))
	uri := strings.ReplaceAll(templateURI(r, r.Fay), url.QueryEscape(r.Version.ID), "12")
	reply := r.Peer.Ask(t, r.At, http.MethodGet, uri, nil)
	judge := conform.Judge(t, "MSC4345-FLOW-04")
	must.Refuse(judge, reply, http.StatusBadRequest)
	must.Equal(judge, "errcode", reply.JSON().Get("errcode").Str, "M_INCOMPATIBLE_ROOM_VERSION")
}

// GET make_participation: "should respond with 403 if the user is banned".
func TestResident_RefusesTheBanned(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-05")
	r := hosted(t)
	must.Succeed(conform.Setup(t), template(t, r, r.Fay))
	r.Alice.MustBan(conform.Setup(t), r.ID, string(r.UserID(r.Fay)))
	must.Refuse(conform.Judge(t, "MSC4345-FLOW-05"), template(t, r, r.Fay), http.StatusForbidden)
	// It is the user who is banned, not the server.
	must.Succeed(conform.Judge(t, "MSC4345-FLOW-05"), template(t, r, r.Peer.Member(t, "fellow")))
}

// GET make_participation: "should respond with 403 if the user has not received an invitation when the join
// rule is invite".
func TestResident_RefusesTheUninvited(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-06")
	r := hosted(t, joinRule("invite"))
	must.Refuse(conform.Judge(t, "MSC4345-FLOW-06"), template(t, r, r.Fay), http.StatusForbidden)
	invite(t, r)
	must.Succeed(conform.Judge(t, "MSC4345-FLOW-06"), template(t, r, r.Fay))
	// It is the user who is invited, not the server.
	must.Refuse(conform.Judge(t, "MSC4345-FLOW-06"), template(t, r, r.Peer.Member(t, "fellow")), http.StatusForbidden)
}

// invite has alice invite fay, by the user ID of the room or, where the homeserver does not take that for
// users whom it does not know, by the other (D-39, D-45), and returns which it took.
func invite(t testing.TB, r *blueprints.Room) (form string) {
	t.Helper()
	setup := conform.Setup(t)
	for _, id := range []matrix.UserID{r.Fay.NameID(), r.UserID(r.Fay)} {
		if response := r.Alice.Invite(setup, r.ID, string(id)); response.OK() {
			return string(id)
		}
	}
	conform.Skip(t, "the homeserver invites nobody whose server's key it does not know, and how it would learn it is not said (D-39)")
	return ""
}

// GET send_participation: what the resident server "MUST verify" and "SHOULD verify" before it signs.
func TestResident_ChecksRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		forgery           fakeserver.Forgery
	}{
		{"signed-by-another-server-key", "MSC4345-FLOW-07", fakeserver.Forgery{SignWithServer: fakeserver.UnknownServer}},
		{"not-signed", "MSC4345-FLOW-07", fakeserver.Forgery{OmitSenderSignature: true}},
		{"bad-signature", "MSC4345-FLOW-07", fakeserver.Forgery{FlipSignatureBits: []int{300}}},
		{"about-a-key-that-is-not-the-senders", "MSC4345-FLOW-07", fakeserver.Forgery{StateKey: "{unknown-server}"}},
		{"of-a-victims-domain", "MSC4345-FLOW-09", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.unverified_domain", JSON: `"{elsewhere}"`}}}},
		{"to-be-authorised-by-another-server", "MSC4345-FLOW-10", fakeserver.Forgery{
			Edits: []fakeserver.Edit{{Path: "content.request_authorised_via_server", JSON: `"{unknown-server}"`}}}},
		{"accepted-in-place-of-requested", "MSC4345-FORGE-22", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.participation", JSON: `"accepted"`}}}},
		{"revoked-in-place-of-requested", "MSC4345-FORGE-22", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.participation", JSON: `"revoked"`}}}},
		{"for-another-room", "MSC4345-FORGE-22", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "room_id", JSON: `"!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`}}}},
		{"of-another-type", "MSC4345-FORGE-22", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "type", JSON: `"org.countersign.other"`}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := hosted(t)
			elsewhere := r.Scene.Peer(t)
			control := r.FayRequests(conform.Setup(t), fakeserver.WithServerKey(r.Peer.MintServerKey()))
			r.MustSeeParticipation(conform.Setup(t), control.ServerKey.Key().Name(), matrix.Requested)

			petition := r.Peer.MustAsk(conform.Setup(t), r.At, r.Version, r.ID, r.Fay)
			forged := forge(t, petition, c.forgery, fakeserver.Cast{Elsewhere: string(elsewhere.Name())})
			judge := conform.Judge(t, c.requirement)
			reply := blueprints.HandInRequest(t, petition, forged)
			must.RefuseAny(judge, reply)
			must.Lack(judge, reply.JSON(), "event")
			must.Equal(judge, "the participation of the server", r.Participation(t, petition.ServerKey.Key().Name()), "")
		})
	}
}

// GET send_participation: "The resident server SHOULD verify that the requesting server is claiming
// ownership of the provided server key".
func TestResident_ChecksWhoAsks(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-08")
	r := hosted(t)
	thief := r.Scene.Peer(t)
	petition := r.Peer.MustAsk(t, r.At, r.Version, r.ID, r.Fay)
	honest := forge(t, petition, fakeserver.Forgery{}, fakeserver.Cast{})
	// The same request in the name of the domain of the server that hands it in, which does not say that the
	// key is its own.
	claimed := forge(t, petition, fakeserver.Forgery{Edits: []fakeserver.Edit{
		{Path: "content.unverified_domain", JSON: strconv.Quote(string(thief.Name()))}}}, fakeserver.Cast{})
	for _, event := range []fakeserver.Forged{honest, claimed} {
		path := fmt.Sprintf("/_matrix/federation/v1/send_participation/%s/%s", url.PathEscape(r.ID), url.PathEscape(event.EventID))
		must.RefuseAny(conform.Judge(t, "MSC4345-FLOW-08"), thief.Ask(t, r.At, http.MethodPut, path, event.PDU))
	}
	must.Succeed(conform.Setup(t), blueprints.HandInRequest(t, petition, honest)) // its owner may
}

// GET send_participation: "The resident server MUST add its own signature ... before sending or persisting
// the event". A server that was in the room before receives it with both, and everybody sees it ("to make a
// server's request to participate visible to all participants").
func TestResident_CosignsAndTellsEverybody(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-10", "MSC4345-FLOW-11", "MSC4345-FLOW-12")
	r := hosting(t)
	late := r.Scene.Peer(t)
	petition := late.MustRequest(t, r.At, r.Version, r.ID, late.Member(t, "late"))
	conform.Info(t, "MSC4345-FLOW-11", "a request is handed in by "+petition.Submission.String())
	subject := petition.ServerKey.Key().Name()
	r.MustSeeParticipation(t, subject, matrix.Requested)
	sent := r.Peer.MustReceiveEvent(t, petition.Event.ID())
	must.NoError(t, "looking for the signature of the server that asks", sent.VerifyServerKey(subject))
	must.NoError(t, "looking for the signature of the server that authorises", sent.VerifyServerKey(r.ServerKey(t)))
	kept := r.Peer.Event(t, r.At, petition.Event.ID()).Only(t, r.Version)
	must.NoError(conform.Judge(t, "MSC4345-FLOW-10"), "looking for both signatures in what the homeserver has kept",
		errors.Join(kept.VerifyServerKey(subject), kept.VerifyServerKey(r.ServerKey(t))))
	for _, way := range fakeserver.Submissions() {
		again := late.MustAsk(t, r.At, r.Version, r.ID, late.Member(t, "later"), fakeserver.WithServerKey(late.MintServerKey()))
		answer, err := again.SubmitBy(t.Context(), forge(t, again, fakeserver.Forgery{}, fakeserver.Cast{}), way)
		must.NoError(t, "handing in a request", err)
		conform.Info(t, "MSC4345-FLOW-11", fmt.Sprintf("%s is answered with %d", way, answer.Status))
	}
}

// Room join flow: a server "MUST accept or revoke their own participation before emitting any events", by
// the rules and the diagram once an admin has accepted it. Until then nothing is to be had but the handshake.
func TestResident_ServersWait(t *testing.T) {
	t.Parallel()
	for _, p := range []matrix.Participation{"", matrix.Requested, matrix.Revoked} {
		t.Run("participation="+string(p), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4345-FLOW-03", "MSC4345-FLOW-14", "MSC4345-FLOW-17", "MSC4345-FLOW-18")
			r := hosting(t)
			key, late := r.AnotherServer(t, p), r.Peer.Member(t, "late")
			id := late.IDThrough(r.Version, key)
			join := blueprints.NewEvent(t, r.Room, late, fakeserver.Membership(id, "join").Through(key))
			waits := conform.Judge(t, "MSC4345-FLOW-14")
			if p == "" {
				waits = conform.Judge(t, "MSC4345-FLOW-03")
			}
			must.RefuseAny(waits, r.Peer.HandIn(t, r.At, "join", join))
			r.Fence(t)
			next := r.MustStayUnseen(t, join)
			must.NotContain(t, "the state over federation", r.StateBefore(t, next), join.ID())
			for _, membership := range []string{"join", "knock"} {
				must.Refuse(conform.Judge(t, "MSC4345-FLOW-18"), r.Peer.Make(t, r.At, membership, r.ID, string(id), r.Version.ID), http.StatusForbidden)
			}
		})
	}
}

// Accepted participation; Room join flow: once an admin has accepted the server, its users join.
func TestResident_AcceptedServersJoin(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-13", "MSC4345-AUTH-14")
	r := hosted(t)
	key := r.FayRequests(t).ServerKey.Key().Name()
	r.MustSeeParticipation(t, key, matrix.Requested)
	r.AliceAccepts(t, key)
	r.Room = r.Peer.MustJoin(t, r.At, r.Version, r.ID, r.Fay)
	r.MustSeeUser(t, r.Fay, "join")
	r.Fence(t)
}

// Room invitation flow: invitations need no participation; joining does. Rule 2 does not let a server that was not
// accepted reject invitations for its users (D-40).
func TestResident_Invitation(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-15", "MSC4345-FLOW-16")
	r := hosted(t, joinRule("invite"))
	t.Logf("fay is invited as %s", invite(t, r))
	reject := r.Peer.Make(t, r.At, "leave", r.ID, string(r.UserID(r.Fay)))
	conform.Info(t, "MSC4345-FLOW-16", fmt.Sprintf("a server that was not accepted asks for a template to reject an invitation: %d %s",
		reject.StatusCode(), reject.JSON().Get("errcode").Str))
	join := r.Peer.Make(t, r.At, "join", r.ID, string(r.UserID(r.Fay)), r.Version.ID)
	conform.Info(t, "MSC4345-FLOW-15", fmt.Sprintf("a server that was not accepted asks for a template to accept an invitation: %d", join.StatusCode()))
	if join.StatusCode() == http.StatusOK { // which is no acceptance yet (D-34)
		_, early := blueprints.MustSubmit(t, r.Peer.MustBegin(conform.Setup(t), r.At, r.Version, "join", r.ID, r.Fay))
		must.RefuseAny(conform.Judge(t, "MSC4345-FLOW-15"), early)
	}
	r.AliceAccepts(t, r.FayRequests(t).ServerKey.Key().Name())
	r.Room = r.Peer.MustJoin(t, r.At, r.Version, r.ID, r.Fay)
	r.MustSeeUser(t, r.Fay, "join")
}

// The request participation handshake "supersedes" make_knock: an accepted server's users knock directly.
func TestResident_AcceptedServersKnock(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-17")
	r := hosted(t, joinRule("knock"))
	r.AliceAccepts(t, r.FayRequests(t).ServerKey.Key().Name()) // TestResident_ServersWait has what comes before
	_, reply := blueprints.MustSubmit(t, r.Peer.MustBegin(t, r.At, r.Version, "knock", r.ID, r.Fay))
	must.Succeed(t, reply)
	r.MustSeeUser(t, r.Fay, "knock")
}

// Revoked participation: "if a Matrix homeserver is to participate again it must rejoin the room with a new
// keypair".
func TestResident_RevokedServersNeedANewKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-19")
	r := hosting(t)
	old := r.Room.Key()
	r.AliceRevokes(t, old.Key().Name())
	r.MustSeeParticipation(t, old.Key().Name(), matrix.Revoked)
	// A template is nothing yet: what is made of it must be refused.
	if reply := template(t, r, r.Fay); reply.StatusCode() == http.StatusOK {
		again := r.Peer.MustAsk(t, r.At, r.Version, r.ID, r.Fay)
		must.RefuseAny(conform.Judge(t, "MSC4345-FLOW-19"), blueprints.HandInRequest(t, again, forge(t, again, fakeserver.Forgery{}, fakeserver.Cast{})))
	}

	r.Peer.UseRoomKey(r.ID, r.Peer.MintServerKey())
	r.AliceAccepts(t, r.FayRequests(t).ServerKey.Key().Name())
	r.Room = r.Peer.MustJoin(t, r.At, r.Version, r.ID, r.Fay)
	r.MustSeeUser(t, r.Fay, "join")
	r.Fence(t)
}

// Situations where m.server.participation is sent on behalf of the server: "the event can be sent by any
// localpart, regardless of room membership".
func TestResident_AnyLocalpartSpeaksForItsServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-20")
	r := hosting(t)
	key, account := r.Peer.MintServerKey(), r.Peer.Member(t, "account").Account()
	nobody, other := r.Peer.Relay("nobody.in=particular", account), r.Peer.Relay("somebody/else", account)
	blueprints.MustSend(t, r.Room, nobody, r.Room.Asks(key))
	r.MustSeeParticipation(t, key.Key().Name(), matrix.Requested)
	blueprints.MustSend(t, r.Room, other, r.Room.Revokes(key.Key().Name()).Through(key))
	r.MustSeeParticipation(t, key.Key().Name(), matrix.Revoked)
}

// The new endpoints are federation endpoints: requests to them are signed, and server ACLs, which name
// domains, hold for them.
func TestResident_ACLsAndSignatures(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-22")
	r := hosted(t)
	judge := conform.Judge(t, "MSC4345-FLOW-22")
	petition := r.Peer.MustAsk(conform.Setup(t), r.At, r.Version, r.ID, r.Fay)
	unsigned, err := r.Peer.DoRequest(t.Context(), fakeserver.Request{Destination: r.At, Method: http.MethodGet, URI: templateURI(r, r.Fay), Unsigned: true})
	must.NoError(t, "asking without a signature", err)
	must.Equal(judge, "the status of an unsigned request", unsigned.Status, http.StatusUnauthorized)

	host, _, _ := strings.Cut(string(r.Peer.Name()), ":")
	r.Alice.MustSendState(conform.Setup(t), r.ID, "m.room.server_acl", "", map[string]any{
		"allow": []string{"*"}, "deny": []string{host, string(r.Peer.Name())},
	})
	must.Refuse(judge, template(t, r, r.Fay), http.StatusForbidden)
	must.Refuse(judge, blueprints.HandInRequest(t, petition, forge(t, petition, fakeserver.Forgery{}, fakeserver.Cast{})), http.StatusForbidden)
}

// Room version 12, restricted joins: the authoriser's server is the one whose key is in the authoriser's user ID.
func TestResident_RestrictedJoin(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-21")
	r := visiting(t)
	blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "restricted", "allow": []any{}}))
	key := r.AnotherServer(t, matrix.Accepted)
	for _, signed := range []bool{true, false} {
		late := r.Peer.Member(t, "late")
		d := fakeserver.Membership(late.IDThrough(r.Version, key), "join").
			With("join_authorised_via_users_server", r.UserID(r.Fay)).Through(key)
		if signed {
			d.Authorising = r.Room.Key()
		}
		join := r.Forge(t, late, d, fakeserver.Forgery{})
		blueprints.MustDeliver(t, r.Room, join.PDU)
		r.Fence(t)
		got := r.Observe(t, join)
		if got.Effective() != signed {
			conform.Violation(t, "MSC4345-FLOW-21", fmt.Sprintf("a restricted join counts when the authoriser's server key has signed it (%t)", signed), got.String())
		}
		if signed {
			r.Keep(t, join)
		}
	}
}
