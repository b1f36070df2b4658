package msc4243

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Server-server API, "Joining Rooms": the joining server must verify the type, room, sender, state key
// and membership of the template. A server that signs whatever it is handed signs for its enemies.
func TestForge_Template(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	for _, row := range fakeserver.Forgeries() {
		if row.On != fakeserver.TemplateEvent {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-FORGE-54")
			r := blueprints.Visited(t, v)
			r.Room.ForgeTemplates(row.Forgery)
			response := r.Alice.Join(t, r.ID, string(r.Peer.Name()))

			// A homeserver may refuse, or build the event without the template; it may not sign what
			// the template says beyond the join of its own user.
			for _, pdu := range r.Peer.PDUs() {
				if pdu.Event != nil && !aliceJoins(r, pdu.Event) {
					conform.Violation(t, "MSC4243-FORGE-54", "the homeserver signs nothing but the join of its own user", string(pdu.Raw))
				}
			}
			conform.Observed(t, "join answered with status %d: %s", response.Status, response.Body)

			// Control: the same homeserver joins when the template is honest.
			control := r.Another(t)
			setup := conform.Setup(t)
			control.Alice.MustJoin(setup, control.ID, string(r.Peer.Name()))
			control.Alice.MustSeeMember(setup, control.ID, control.Alice.UserID, "join")
		})
	}
}

// aliceJoins reports whether an event is the join that alice asked for and nothing else.
func aliceJoins(r *blueprints.Room, e *matrix.Event) bool {
	return e.RoomID() == r.ID && e.IsState("m.room.member", string(e.Sender())) && e.Membership() == "join" &&
		e.Sender().Domain() == r.At && !e.Get("join_authorised_via_users_server").Exists() && e.VerifyAccountKey(e.Sender()) == nil
}

// MSC4243, "Gradual compatibility": unsigned.sender_account is what the homeserver has verified. What
// a server writes there about its own user is covered by no signature.
func TestForge_SpoofedSenderAccount(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-55")
	r := blueprints.FayJoined(t, conform.AccountKeyVersion(t))
	r.Fence(t)
	spoofed := r.Forge(t, r.Fay, fakeserver.Message("I am the admin"), fakeserver.Forgery{
		Unsigned: `{"sender_account":{"key":"{stranger-key}","user_id":"@admin:{victim-domain}"}}`,
	})
	blueprints.MustDeliver(conform.Setup(t), r.Room, spoofed.PDU)
	shown := r.Alice.MustSee(conform.Setup(t), r.ID, spoofed.EventID)
	account := shown.Get("unsigned.sender_account")
	if account.Get("user_id").Str != r.ClientID(r.Fay) || account.Get("key").Str != r.Fay.Key() {
		conform.Violation(t, "MSC4243-FORGE-55",
			"sender_account says "+r.ClientID(r.Fay)+" and fay's account key, whatever the event came with", "sender_account is "+account.Raw)
	}
	if sender := shown.Get("sender").Str; sender != r.ClientID(r.Fay) {
		conform.Violation(t, "MSC4243-FORGE-55", "the sender shown is "+r.ClientID(r.Fay), "it is "+sender)
	}
}

// Room version 12, authorization rule 5.3.5.2: whoever authorises a restricted join is joined and has
// the power to invite. Here the signature is good and the power is missing.
func TestForge_AuthoriserWithoutPower(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-45")
	levels := map[string]any{"invite": 50, "users": map[string]any{}}
	r := blueprints.FayJoined(t, conform.AccountKeyVersion(t), blueprints.Create("power_level_content_override", levels))
	setup := conform.Setup(t)
	moderator := r.Join(t, "moderator")
	power := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
	power["users"] = map[string]any{r.ClientID(moderator): 50}
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", power))
	rules := map[string]any{"join_rule": "restricted", "allow": []any{}}
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.join_rules", "", rules))
	join := func(authoriser *fakeserver.User) fakeserver.Forged {
		mallory := r.Peer.Member(t, "mallory")
		d := fakeserver.Membership(mallory.KeyID(), "join").With("join_authorised_via_users_server", authoriser.KeyID())
		d.CoSigners = []*fakeserver.User{authoriser}
		forged := r.Forge(t, mallory, d, fakeserver.Forgery{})
		blueprints.MustDeliver(setup, r.Room, forged.PDU)
		return forged
	}

	control := join(moderator)
	r.Alice.MustSee(setup, r.ID, control.EventID)
	r.Keep(t, control)
	forged := join(r.Fay)
	r.Fence(t)
	if got := r.Observe(t, forged); got.Effective() {
		conform.Violation(t, "MSC4243-FORGE-45", "a restricted join that a member without the power to invite has authorised has no effect", got.String())
	}
}
