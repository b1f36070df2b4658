package msc4243

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// identityServer vouches for whoever has a token.
type identityServer struct {
	signer matrix.Signer
	token  string
}

func newIdentityServer(t testing.TB) identityServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must.NoError(conform.Setup(t), "making a key", err)
	return identityServer{matrix.Signer{Entity: "identity.invalid", KeyID: "ed25519:0", Key: key}, blueprints.Unique("token")}
}

// invited is the draft of the event by which somebody is invited who is known by a third-party ID.
func (i identityServer) invited() fakeserver.Draft {
	key := matrix.EncodeBase64(i.signer.Key.Public().(ed25519.PublicKey))
	return fakeserver.State("m.room.third_party_invite", i.token, map[string]any{
		"display_name": "b...@example.com", "key_validity_url": "https://identity.invalid/valid", "public_key": key,
		"public_keys": []any{map[string]any{"public_key": key}},
	})
}

// vouch is content.third_party_invite of the invite of the user who has the token.
func (i identityServer) vouch(t testing.TB, mxid matrix.UserID) map[string]any {
	t.Helper()
	object, err := json.Marshal(map[string]any{"mxid": mxid, "token": i.token})
	must.NoError(conform.Setup(t), "writing what an identity server signs", err)
	signed, err := matrix.SignJSON(object, i.signer)
	must.NoError(conform.Setup(t), "signing for an identity server", err)
	return map[string]any{"display_name": "b...@example.com", "signed": json.RawMessage(signed)}
}

// invite is the draft of the invite of a user for whom the identity server has vouched under some user
// ID.
func (i identityServer) invite(t testing.TB, user, mxid matrix.UserID) fakeserver.Draft {
	t.Helper()
	return fakeserver.Membership(user, "invite").With("third_party_invite", i.vouch(t, mxid))
}

// Server-server API, "Third-party invites": the invited user's server exchanges what the identity server
// has signed for an invite. That is an account name user ID, since identity servers know no others, and
// no member of the room. Any clean failure is right.
func TestThirdPartyInvite_ForAnAccountName(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]func(r *blueprints.Room, user *fakeserver.User) (sender, target matrix.UserID){
		"by account names": func(r *blueprints.Room, user *fakeserver.User) (sender, target matrix.UserID) {
			return matrix.UserID(r.Alice.UserID), user.NameID()
		},
		"by account keys": func(r *blueprints.Room, user *fakeserver.User) (sender, target matrix.UserID) {
			return r.Room.State("m.room.create", "").Sender(), user.KeyID()
		},
		"by the inviter's account key": func(r *blueprints.Room, user *fakeserver.User) (sender, target matrix.UserID) {
			return r.Room.State("m.room.create", "").Sender(), user.NameID()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-3PID-01")
			r := hosting(t)
			identity, bob := newIdentityServer(t), r.Peer.Member(t, "bob")
			d := identity.invited()
			r.Peer.MustReceiveEvent(conform.Setup(t), r.Alice.MustSendState(conform.Setup(t), r.ID, d.Type, *d.StateKey, d.Content))

			sender, target := form(r, bob)
			answer := r.Peer.Ask(t, r.At, http.MethodPut, "/_matrix/federation/v1/exchange_third_party_invite/"+url.PathEscape(r.ID), map[string]any{
				"type": "m.room.member", "room_id": r.ID, "sender": sender, "state_key": target,
				"content": map[string]any{"membership": "invite", "third_party_invite": identity.vouch(t, bob.NameID())},
			})
			conform.Info(t, "MSC4243-3PID-01", "a third-party invite "+name+" is answered with "+http.StatusText(answer.StatusCode()))
			if answer.StatusCode() >= http.StatusInternalServerError {
				conform.Violation(t, "MSC4243-3PID-01", "no server error", answer.String())
			}
			r.Next(t)
			for _, pdu := range r.Peer.PDUs() {
				if pdu.Via == fakeserver.OpSend && pdu.Get("state_key").Str == string(bob.NameID()) {
					conform.Violation(t, "MSC4243-3PID-01", "no membership of an account name user ID", string(pdu.Raw))
				}
			}
		})
	}
}

// tokenHeld is a room that fay made and alice joined, in which an identity server's token is to be
// redeemed. Everybody may invite.
func tokenHeld(t testing.TB) (r *blueprints.Room, identity identityServer, gil *fakeserver.User) {
	t.Helper()
	r, identity = visiting(t), newIdentityServer(t)
	blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, identity.invited())
	return r, identity, r.Peer.Member(t, "gil")
}

// redeem delivers an invite that redeems a token and says what came of it.
func redeem(t testing.TB, r *blueprints.Room, sender *fakeserver.User, invite fakeserver.Draft) blueprints.Outcome {
	t.Helper()
	forged := r.Forge(t, sender, invite, fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), r.Room, forged.PDU)
	r.Fence(t)
	return r.Observe(t, forged)
}

// Room version 12, rule 5.4.1: signed.mxid is the state key of the invite. An account key user ID is
// what it can be.
func TestThirdPartyInvite_ForAnAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-3PID-02")
	r, identity, gil := tokenHeld(t)
	if got := redeem(t, r, r.Fay, identity.invite(t, gil.KeyID(), gil.KeyID())); !got.InState {
		conform.Violation(t, "MSC4243-3PID-02", "an invite of the account key for which the identity server has vouched to be accepted", got.String())
	}
}

// Room version 12, rule 5.4.1, of everything that can be wrong.
func TestThirdPartyInvite_IsChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(t testing.TB, i *identityServer)
		mxid   func(r *blueprints.Room, gil *fakeserver.User) matrix.UserID
		edit   func(third map[string]any)
		sender string
	}{
		{name: "signed by another key", change: func(t testing.TB, i *identityServer) { i.signer.Key = newIdentityServer(t).signer.Key }},
		{name: "for an unknown token", change: func(t testing.TB, i *identityServer) { i.token = newIdentityServer(t).token }},
		{name: "for another user", mxid: func(r *blueprints.Room, _ *fakeserver.User) matrix.UserID { return r.Fay.KeyID() }},
		{name: "for the account name", mxid: func(_ *blueprints.Room, gil *fakeserver.User) matrix.UserID { return gil.NameID() }},
		{name: "for the key at another domain", mxid: func(_ *blueprints.Room, gil *fakeserver.User) matrix.UserID {
			return matrix.UserID("@" + gil.Key() + ":elsewhere.invalid")
		}},
		{name: "without signed", edit: func(third map[string]any) { delete(third, "signed") }},
		{name: "with nothing signed", edit: func(third map[string]any) { third["signed"] = map[string]any{} }},
		{name: "by another than the sender of the token", sender: "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-3PID-03")
			r, identity, gil := tokenHeld(t)
			wrong, sender, mxid := identity, r.Fay, gil.KeyID()
			if c.change != nil {
				c.change(t, &wrong)
			}
			if c.mxid != nil {
				mxid = c.mxid(r, gil)
			}
			if c.sender != "" {
				sender = r.Peer.Member(t, c.sender)
				blueprints.MustSend(conform.Setup(t), r.Room, sender, fakeserver.Membership(sender.KeyID(), "join"))
			}
			third := wrong.vouch(t, mxid)
			if c.edit != nil {
				c.edit(third)
			}
			invite := fakeserver.Membership(gil.KeyID(), "invite").With("third_party_invite", third)
			if got := redeem(t, r, sender, invite); got.Effective() {
				conform.Violation(t, "MSC4243-3PID-03", "a third-party invite "+c.name+" to have no effect", got.String())
			}
			if got := redeem(t, r, r.Fay, identity.invite(t, gil.KeyID(), gil.KeyID())); !got.InState {
				conform.Skip(t, "the homeserver accepts no third-party invites in this room version: %s", got)
			}
		})
	}
}
