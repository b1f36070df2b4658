package rules

import (
	"testing"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

// Rules 5.1, 5.2 and 5.8.
func TestMemberShape(t *testing.T) {
	given := []ev{joined(carol), joinRule("public")}
	runRows(t, "", []row{
		{"no state key", given, ev{Sender: alice, Type: "m.room.member", Content: `{"membership":"join"}`}, "5.1"},
		{"no membership", given, member(alice, alice, `{}`), "5.1"},
		{"unknown membership", given, membership(alice, alice, "lurk"), "5.8"},
		{"empty membership", given, membership(alice, alice, ""), "5.8"},
		{"upper case", given, membership(alice, alice, "JOIN"), "5.8"},
		{"membership is a number", given, member(alice, alice, `{"membership":1}`), "5.8"},
		{"membership is an array", given, member(alice, alice, `{"membership":["join"]}`), "5.8"},
		{"authoriser is not a string", given, member(alice, alice, `{"membership":"join","join_authorised_via_users_server":1}`), "5.2.1"},
		{"authoriser is not a user ID", given, member(alice, alice, `{"membership":"join","join_authorised_via_users_server":"bob"}`), "5.2.1"},
	})
}

// Rule 5.2 is asked of every membership event with the key, whatever its membership.
func TestAuthoriserSignature(t *testing.T) {
	r := newTestRoom(t, "")
	var asked matrix.UserID
	refusing, err := NewRoom(r.Create(), func(_ *matrix.Event, u matrix.UserID) error { asked = u; return errNotSigned })
	if err != nil {
		t.Fatal(err)
	}
	given := r.state([]ev{joined(carol), joined(alice), joinRule("public")})
	for _, m := range []string{"join", "leave", "invite", "ban", "knock", "unknown"} {
		e := r.build(member(alice, alice, `{"membership":"`+m+`","join_authorised_via_users_server":"@bob:two"}`))
		requireRule(t, "5.2.1", refusing.Authorise(e, given))
		if asked != bob {
			t.Fatalf("asked about %q", asked)
		}
	}
	requireRule(t, "", refusing.Authorise(r.build(joined(alice)), given))
}

// MSC4243: the account key of the authoriser must have signed, and nobody else's signature helps.
func TestAuthoriserSignatureByAccountKey(t *testing.T) {
	account := func(seed byte) matrix.Account {
		b := make([]byte, 32)
		b[0] = seed
		return matrix.AccountFromSeed(b)
	}
	creator, joiner, other := account(1), account(2), account(3)
	creatorID, joinerID := string(creator.Key().UserID("one")), string(joiner.Key().UserID("two"))
	v := matrix.RoomVersionMSC4243()
	create := roomtest.Build(t, v, nil, ev{Sender: creatorID, Type: "m.room.create", StateKey: roomtest.Key(""), Content: `{}`}, creator.Signer())
	room, err := NewRoom(create, VerifyAccountKey)
	if err != nil {
		t.Fatal(err)
	}
	given := StateMap{}
	for _, e := range []ev{joined(creatorID), state(creatorID, "m.room.join_rules", "", `{"join_rule":"restricted"}`)} {
		built := roomtest.Build(t, v, create, e)
		given[built.Tuple()] = built
	}
	join := member(joinerID, joinerID, roomtest.JSON(map[string]string{"membership": "join", "join_authorised_via_users_server": creatorID}))
	serverKey := matrix.Signer{Entity: "one", KeyID: "ed25519:1", Key: keyOf(creator)}
	for _, c := range []struct {
		name    string
		signers []matrix.Signer
		rule    string
	}{
		{"both", []matrix.Signer{joiner.Signer(), creator.Signer()}, ""},
		{"joiner only", []matrix.Signer{joiner.Signer()}, "5.2.1"},
		{"a third account", []matrix.Signer{joiner.Signer(), other.Signer()}, "5.2.1"},
		{"the authoriser's key under its server's name", []matrix.Signer{joiner.Signer(), serverKey}, "5.2.1"},
		{"another key under the authoriser's name", []matrix.Signer{joiner.Signer(), {Entity: creator.Key().String(), KeyID: matrix.AccountKeyID, Key: keyOf(other)}}, "5.2.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireRule(t, c.rule, room.Authorise(roomtest.Build(t, v, create, join, c.signers...), given))
		})
	}
}

// Rule 5.3.
func TestJoin(t *testing.T) {
	r := newTestRoom(t, "")
	afterCreate := joined(carol)
	afterCreate.Prev = []*matrix.Event{r.Create()}
	strangerAfterCreate := joined(alice)
	strangerAfterCreate.Prev = []*matrix.Event{r.Create()}
	byAnother := membership(mallory, carol, "join")
	byAnother.Prev = []*matrix.Event{r.Create()}
	afterTwo := joined(carol)
	afterTwo.Prev = []*matrix.Event{r.Create(), r.build(joined(alice))}

	restricted := func(authoriser string) ev {
		return member(alice, alice, `{"membership":"join","join_authorised_via_users_server":"`+authoriser+`"}`)
	}
	inviteAt50 := levels(`{"invite":50,"users":{"@bob:two":50,"@dave:two":49}}`)
	for _, rules := range []string{"restricted", "knock_restricted"} {
		given := []ev{joined(carol), joined(bob), joined(dave), inviteAt50, joinRule(rules)}
		runRows(t, "", []row{
			{rules + " joined already", append([]ev{joined(alice)}, given...), joined(alice), ""},
			{rules + " invited", append([]ev{invited(alice)}, given...), joined(alice), ""},
			{rules + " authorised", given, restricted(bob), ""},
			{rules + " authorised by a creator", given, restricted(carol), ""},
			{rules + " not authorised", given, joined(alice), "5.3.5.2"},
			{rules + " authoriser may not invite", given, restricted(dave), "5.3.5.2"},
			{rules + " authoriser is not in the room", given, restricted(mallory), "5.3.5.2"},
			{rules + " authoriser has left", append([]ev{left(bob)}, given[0], inviteAt50, joinRule(rules)), restricted(bob), "5.3.5.2"},
			{rules + " authorises oneself", given, restricted(alice), "5.3.5.2"},
			{rules + " banned", append([]ev{banned(alice)}, given...), restricted(bob), "5.3.3"},
			{rules + " knocked is not invited", append([]ev{knocked(alice)}, given...), joined(alice), "5.3.5.2"},
		})
	}
	runRows(t, "", []row{
		{"the creator's first", nil, afterCreate, ""},
		{"the creator's first, sent by another (literal reading)", nil, byAnother, ""},
		{"the creator's second", nil, joined(carol), "5.3.7"},
		{"the creator after two events", nil, afterTwo, "5.3.7"},
		{"a stranger after the create event", nil, strangerAfterCreate, "5.3.7"},
		{"someone else", []ev{joinRule("public")}, membership(alice, bob, "join"), "5.3.2"},
		{"public", []ev{joinRule("public")}, joined(alice), ""},
		{"public, after leaving", []ev{joinRule("public"), left(alice)}, joined(alice), ""},
		{"public, banned", []ev{joinRule("public"), banned(alice)}, joined(alice), "5.3.3"},
		{"public, banned creator cannot be (but is checked)", []ev{joinRule("public"), banned(carol)}, joined(carol), "5.3.3"},
		{"no join rules, not invited", nil, joined(alice), "5.3.7"},
		{"no join rules, invited", []ev{invited(alice)}, joined(alice), ""},
		{"no join rule in the event, invited", []ev{invited(alice), state(carol, "m.room.join_rules", "", `{}`)}, joined(alice), ""},
		{"invite, not invited", []ev{joinRule("invite")}, joined(alice), "5.3.7"},
		{"invite, invited", []ev{joinRule("invite"), invited(alice)}, joined(alice), ""},
		{"invite, joined", []ev{joinRule("invite"), joined(alice)}, joined(alice), ""},
		{"invite, left", []ev{joinRule("invite"), left(alice)}, joined(alice), "5.3.7"},
		{"invite, knocked", []ev{joinRule("invite"), knocked(alice)}, joined(alice), "5.3.7"},
		{"knock, knocked", []ev{joinRule("knock"), knocked(alice)}, joined(alice), "5.3.7"},
		{"knock, invited", []ev{joinRule("knock"), invited(alice)}, joined(alice), ""},
		{"private", []ev{joinRule("private"), invited(alice)}, joined(alice), "5.3.7"},
		{"unknown rule", []ev{joinRule("password"), joined(alice)}, joined(alice), "5.3.7"},
		{"join rule is a number", []ev{state(carol, "m.room.join_rules", "", `{"join_rule":1}`), invited(alice)}, joined(alice), "5.3.7"},
	})
}

// Rule 5.4, without third party invites.
func TestInvite(t *testing.T) {
	given := []ev{joined(carol), joined(alice), levels(`{"invite":10,"users":{"@alice:one":10,"@dave:two":9}}`)}
	with := func(more ...ev) []ev { return append(append([]ev{}, given...), more...) }
	runRows(t, "", []row{
		{"a newcomer", given, membership(alice, bob, "invite"), ""},
		{"by a creator", given, membership(carol, bob, "invite"), ""},
		{"who has left", with(left(bob)), membership(alice, bob, "invite"), ""},
		{"who is invited already", with(invited(bob)), membership(alice, bob, "invite"), ""},
		{"who knocks", with(knocked(bob)), membership(alice, bob, "invite"), ""},
		{"by someone outside", given, membership(mallory, bob, "invite"), "5.4.2"},
		{"by someone who is invited", with(invited(mallory)), membership(mallory, bob, "invite"), "5.4.2"},
		{"of a member", with(joined(bob)), membership(alice, bob, "invite"), "5.4.3"},
		{"of oneself", given, membership(alice, alice, "invite"), "5.4.3"},
		{"of a banned user", with(banned(bob)), membership(alice, bob, "invite"), "5.4.3"},
		{"below the invite level", with(joined(dave)), membership(dave, bob, "invite"), "5.4.5"},
		{"without power levels anyone may", []ev{joined(alice)}, membership(alice, bob, "invite"), ""},
	})
}

// Rule 5.5.
func TestLeave(t *testing.T) {
	given := []ev{joined(carol), joined(alice), joined(bob), joined(dave),
		levels(`{"kick":40,"ban":60,"users":{"@alice:one":50,"@bob:two":49,"@dave:two":60}}`)}
	with := func(more ...ev) []ev { return append(append([]ev{}, given...), more...) }
	runRows(t, "", []row{
		{"oneself", given, left(bob), ""},
		{"refusing an invite", with(invited(mallory)), left(mallory), ""},
		{"retracting a knock", with(knocked(mallory)), left(mallory), ""},
		{"twice", with(left(mallory)), left(mallory), "5.5.1"},
		{"never there", given, left(mallory), "5.5.1"},
		{"unbanning oneself", with(banned(mallory)), left(mallory), "5.5.1"},
		{"kick", given, membership(alice, bob, "leave"), ""},
		{"kick by a creator", given, membership(carol, dave, "leave"), ""},
		{"kick a creator", given, membership(dave, carol, "leave"), "5.5.5"},
		{"withdraw an invite", with(invited(mallory)), membership(alice, mallory, "leave"), ""},
		{"kick someone who is not there", given, membership(alice, mallory, "leave"), ""},
		{"kick an equal", with(levels(`{"users":{"@alice:one":50,"@bob:two":50}}`)), membership(alice, bob, "leave"), "5.5.5"},
		{"kick below the kick level", with(levels(`{"kick":51,"users":{"@alice:one":50}}`)), membership(alice, bob, "leave"), "5.5.5"},
		{"kick from outside", with(left(alice)), membership(alice, bob, "leave"), "5.5.2"},
		{"unban", with(banned(mallory)), membership(dave, mallory, "leave"), ""},
		{"unban below the ban level", with(banned(mallory)), membership(alice, mallory, "leave"), "5.5.3"},
		{"unban with the ban level but not the kick level", with(banned(mallory), levels(`{"kick":70,"ban":60,"users":{"@dave:two":60}}`)), membership(dave, mallory, "leave"), "5.5.5"},
		{"default kick level", []ev{joined(alice), joined(bob), levels(`{"users":{"@alice:one":49}}`)}, membership(alice, bob, "leave"), "5.5.5"},
	})
}

// Rule 5.6.
func TestBan(t *testing.T) {
	given := []ev{joined(carol), joined(alice), joined(bob), joined(dave),
		levels(`{"ban":50,"users":{"@alice:one":50,"@bob:two":49,"@dave:two":50}}`)}
	runRows(t, "", []row{
		{"a member", given, membership(alice, bob, "ban"), ""},
		{"someone who was never there", given, membership(alice, mallory, "ban"), ""},
		{"someone banned", append([]ev{banned(mallory)}, given...), membership(alice, mallory, "ban"), ""},
		{"by a creator", given, membership(carol, alice, "ban"), ""},
		{"from outside", given, membership(mallory, bob, "ban"), "5.6.1"},
		{"below the ban level", given, membership(bob, mallory, "ban"), "5.6.3"},
		{"an equal", given, membership(alice, dave, "ban"), "5.6.3"},
		{"oneself", given, membership(alice, alice, "ban"), "5.6.3"},
		{"a creator", given, membership(alice, carol, "ban"), "5.6.3"},
	})
	runRows(t, `{"additional_creators":["@bob:two"]}`, []row{
		{"a creator by a creator", given[:4], membership(carol, bob, "ban"), "5.6.3"},
	})
}

// Rule 5.7.
func TestKnock(t *testing.T) {
	for _, rules := range []string{"knock", "knock_restricted"} {
		open := joinRule(rules)
		runRows(t, "", []row{
			{rules + " stranger", []ev{open}, knocked(alice), ""},
			{rules + " has left", []ev{open, left(alice)}, knocked(alice), ""},
			{rules + " again", []ev{open, knocked(alice)}, knocked(alice), ""},
			{rules + " for someone else", []ev{open}, membership(alice, bob, "knock"), "5.7.2"},
			{rules + " banned", []ev{open, banned(alice)}, knocked(alice), "5.7.4"},
			{rules + " invited", []ev{open, invited(alice)}, knocked(alice), "5.7.4"},
			{rules + " joined", []ev{open, joined(alice)}, knocked(alice), "5.7.4"},
		})
	}
	for _, rules := range []string{"invite", "public", "restricted", "private"} {
		runRows(t, "", []row{{rules, []ev{joinRule(rules)}, knocked(alice), "5.7.1"}})
	}
	runRows(t, "", []row{{"no join rules", nil, knocked(alice), "5.7.1"}})
}
