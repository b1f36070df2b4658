package rules

import (
	"testing"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

func authEvents(events ...*matrix.Event) (auth []AuthEvent) {
	for _, e := range events {
		auth = append(auth, AuthEvent{Event: e})
	}
	return auth
}

// Rules 2 and 3.
func TestAuthEvents(t *testing.T) {
	r := newTestRoom(t, "")
	carolJoin := r.build(joined(carol))
	aliceJoin := r.build(joined(alice))
	otherJoin := r.build(ev{Sender: alice, Type: "m.room.member", StateKey: roomtest.Key(alice), Content: `{"membership":"join"}`, TS: 1})
	bobJoin := r.build(joined(bob))
	pl := r.build(levels(`{}`))
	rules := r.build(joinRule("public"))
	third := r.build(state(alice, "m.room.third_party_invite", "token", `{}`))
	topic := r.build(state(alice, "m.room.topic", "", `{}`))
	notState := r.build(ev{Sender: alice, Type: "m.room.power_levels", Content: `{}`})

	elsewhere := newTestRoom(t, `{"name":"elsewhere"}`)
	elsewhereJoin := elsewhere.build(joined(alice))

	for _, c := range []struct {
		name  string
		event ev
		auth  []AuthEvent
		rule  string
	}{
		{"message", message(alice), authEvents(pl, aliceJoin), ""},
		{"in another order", message(alice), authEvents(aliceJoin, pl), ""},
		{"message without power levels", message(alice), authEvents(aliceJoin), ""},
		{"join cites join rules", joined(alice), authEvents(pl, rules), ""},
		{"invite cites both members", membership(alice, bob, "invite"), authEvents(pl, rules, aliceJoin), ""},
		{"nothing", message(alice), nil, "6"},
		{"duplicate place", message(alice), authEvents(aliceJoin, otherJoin), "3.1"},
		{"duplicate event", message(alice), authEvents(aliceJoin, aliceJoin), "3.1"},
		{"create event", message(alice), authEvents(r.Create(), pl, aliceJoin), "3.2"},
		{"someone else's membership", message(alice), authEvents(aliceJoin, bobJoin), "3.2"},
		{"join rules for a message", message(alice), authEvents(aliceJoin, rules), "3.2"},
		{"join rules for a ban", membership(carol, bob, "ban"), authEvents(carolJoin, bobJoin, rules), "3.2"},
		{"a topic", message(alice), authEvents(aliceJoin, topic), "3.2"},
		{"an event that is not state", message(alice), authEvents(aliceJoin, notState), "3.2"},
		{"third party invite for an ordinary invite", membership(alice, bob, "invite"), authEvents(aliceJoin, third), "3.2"},
		{"rejected", message(alice), []AuthEvent{{Event: aliceJoin}, {Event: pl, Rejected: true}}, "3.3"},
		{"of another room", message(alice), authEvents(elsewhereJoin), "3.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireRule(t, c.rule, r.AuthoriseByAuthEvents(r.build(c.event), c.auth))
		})
	}
	t.Run("event of another room", func(t *testing.T) {
		requireRule(t, "2", r.AuthoriseByAuthEvents(elsewhere.build(message(alice)), authEvents(aliceJoin)))
	})
	t.Run("the order of checks is the order of rules", func(t *testing.T) {
		auth := []AuthEvent{{Event: elsewhereJoin, Rejected: true}, {Event: aliceJoin}, {Event: topic}}
		requireRule(t, "3.1", r.AuthoriseByAuthEvents(r.build(message(alice)), auth))
		requireRule(t, "3.2", r.AuthoriseByAuthEvents(r.build(message(alice)), auth[1:]))
		requireRule(t, "3.3", r.AuthoriseByAuthEvents(r.build(message(alice)), auth[:1]))
	})
}
