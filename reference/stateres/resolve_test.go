package stateres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func TestBanAgainstConcurrentTopic(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":50},"state_default":50,"users_default":50}`, alice, bob)
	old := d.topic(alice, "before", base)
	evil := d.topic(bob, "by the banned", old)
	ban := d.member(carol, bob, "ban", old)
	state := d.resolve(evil, ban)
	d.requireState(state, "m.room.member/"+bob, ban)
	d.requireState(state, "m.room.topic/", old)
}

func TestBanAgainstConcurrentRejoin(t *testing.T) {
	d, base := begin(t, `{}`, alice, bob)
	left := d.member(bob, bob, "leave", base)
	rejoin := d.join(bob, left)
	ban := d.member(carol, bob, "ban", left)
	for _, ends := range [][]*matrix.Event{{rejoin, ban}, {ban, rejoin}} {
		d.requireState(d.resolve(ends...), "m.room.member/"+bob, ban)
	}
}

// A moderator is demoted while using the power that is taken away.
func TestDemotionRace(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":100,"@bob:two":50}}`, alice, bob, dave)
	topic := d.topic(alice, "before", base)
	kick := d.member(bob, dave, "leave", topic)
	defaced := d.topic(bob, "defaced", kick)
	demotion := d.power(alice, `{"users":{"@alice:one":100}}`, topic)
	state := d.resolve(defaced, demotion)
	d.requireState(state, "m.room.power_levels/", demotion)
	d.requireState(state, "m.room.topic/", topic)
	d.requireState(state, "m.room.member/"+dave, d.at(base, "m.room.member", dave))
}

// Two power levels events of unequal senders: the mightier one's comes first, and the other must
// stand against it.
func TestPowerLevelsRace(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":100,"@bob:two":90}}`, alice, bob, dave)
	promote := d.power(bob, `{"users":{"@alice:one":100,"@bob:two":90,"@dave:two":90}}`, base)
	demote := d.power(alice, `{"users":{"@alice:one":100,"@bob:two":0}}`, base)
	d.requireState(d.resolve(promote, demote), "m.room.power_levels/", demote)

	harmless := d.power(alice, `{"users":{"@alice:one":100,"@bob:two":90},"ban":60}`, base)
	d.requireState(d.resolve(promote, harmless), "m.room.power_levels/", promote)
}

func TestJoinRulesRace(t *testing.T) {
	d, base := begin(t, `{}`, alice)
	locked := d.joinRule(carol, "invite", base)
	join := d.join(bob, base)
	state := d.resolve(locked, join)
	d.requireState(state, "m.room.join_rules/", locked)
	d.requireState(state, "m.room.member/"+bob, nil)
}

// Equal admins cannot ban each other, so it takes two forks on which one of them has become mightier.
func TestAdminsBanEachOther(t *testing.T) {
	d, base := begin(t, `{"users":{"@bob:two":100,"@dave:two":100}}`, alice, bob, dave)
	_, _, _, byState := d.build(step{sender: bob, eventType: "m.room.member", stateKey: dave, content: `{"membership":"ban"}`, prev: []*matrix.Event{base}})
	require.ErrorContains(t, byState, "rule 5.6.3")

	bobUp := d.power(carol, `{"users":{"@bob:two":101,"@dave:two":100}}`, base)
	daveUp := d.power(carol, `{"users":{"@bob:two":100,"@dave:two":101}}`, base)
	byBob := d.member(bob, dave, "ban", bobUp)
	byDave := d.member(dave, bob, "ban", daveUp)
	state := d.resolve(byBob, byDave)
	// Carol's later power levels stand. Under them only Dave's ban of Bob is allowed.
	d.requireState(state, "m.room.power_levels/", daveUp)
	d.requireState(state, "m.room.member/"+bob, byDave)
	d.requireState(state, "m.room.member/"+dave, d.at(base, "m.room.member", dave))
}

// Admins of the same level whose power differs by fork ban each other; timestamps decide the order.
func TestEqualSendersAreOrderedByTime(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":100,"@bob:two":100,"@dave:two":50}}`, alice, bob, dave)
	late := d.sendStep(step{sender: alice, eventType: "m.room.power_levels", content: `{"users":{"@alice:one":100,"@bob:two":100,"@dave:two":1}}`, prev: []*matrix.Event{base}, ts: 900})
	early := d.sendStep(step{sender: bob, eventType: "m.room.power_levels", content: `{"users":{"@alice:one":100,"@bob:two":100,"@dave:two":2}}`, prev: []*matrix.Event{base}, ts: 800})
	d.requireState(d.resolve(late, early), "m.room.power_levels/", late) // the later one is applied last
}

func TestCreatorsOutrankEveryone(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":9007199254740991}}`, alice, bob)
	byAlice := d.power(alice, `{"users":{"@alice:one":9007199254740991,"@bob:two":100}}`, base)
	byCarol := d.sendStep(step{sender: carol, eventType: "m.room.power_levels", content: `{"users":{}}`, prev: []*matrix.Event{base}, ts: 9999})
	d.requireState(d.resolve(byAlice, byCarol), "m.room.power_levels/", byCarol)
}

// Version 2 loses a change of power levels when the event between two conflicting ones is part of every
// auth chain; the conflicted state subgraph brings it back (MSC4297, "Problem B").
func TestConflictedSubgraph(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":0}}`, alice, bob)
	first := d.at(base, "m.room.power_levels", "")
	promotion := d.power(carol, `{"users":{"@alice:one":100}}`, base)
	rejoin := d.send(bob, "m.room.member", bob, `{"membership":"join","displayname":"b"}`, promotion) // cites promotion
	byAlice := d.power(alice, `{"users":{"@alice:one":100},"ban":60}`, rejoin)

	now := d.after[byAlice.ID()]
	stale := StateMap{}
	for place, id := range now {
		stale[place] = id
	}
	stale[matrix.StateTuple{Type: "m.room.power_levels"}] = first.ID() // as a faulty server would have it

	old := naiveResolve(d, []StateMap{stale, now}, version20)
	d.requireState(old, "m.room.power_levels/", first)
	d.requireState(d.resolveSets(stale, now), "m.room.power_levels/", byAlice)
}

// Version 2 checks conflicting events against unconflicted ones that are newer, and loses them all
// (MSC4297, "Problem A").
func TestStartsFromEmptyState(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":50}}`, alice)
	one := d.topic(alice, "one", base)
	two := d.topic(alice, "two", base)
	place := matrix.StateTuple{Type: "m.room.member", StateKey: alice}
	leave := d.member(alice, alice, "leave", one)
	left, right := d.after[leave.ID()], StateMap{}
	for p, id := range d.after[two.ID()] {
		right[p] = id
	}
	right[place] = leave.ID() // both forks know that Alice has left

	old := naiveResolve(d, []StateMap{left, right}, version20)
	d.requireState(old, "m.room.topic/", nil)
	d.requireState(d.resolveSets(left, right), "m.room.topic/", two)
}

// A rejected event may be part of a state, but does not authorise others.
func TestRejectedAuthEventsDoNotAuthorise(t *testing.T) {
	d, base := begin(t, `{"users":{"@alice:one":50}}`, alice, bob)
	topic := d.topic(alice, "by alice", base)
	other := d.topic(alice, "also by alice", base)
	state := d.resolve(topic, other)
	d.requireState(state, "m.room.topic/", other)

	d.rejected[d.at(base, "m.room.member", alice).ID()] = true
	state, err := Resolve(d.room, []StateMap{d.after[topic.ID()], d.after[other.ID()]}, d)
	require.NoError(t, err)
	d.requireState(state, "m.room.topic/", nil)
}

func TestTrivialResolutions(t *testing.T) {
	d, base := begin(t, `{}`, alice)
	state := d.after[base.ID()]
	for name, sets := range map[string][]StateMap{
		"one": {state}, "two equal": {state, state}, "three equal": {state, state, state},
	} {
		got, err := Resolve(d.room, sets, d)
		require.NoError(t, err, name)
		require.Equal(t, state, got, name)
		got[matrix.StateTuple{Type: "m.mine"}] = "$mine" // the result is the caller's own
		require.NotContains(t, state, matrix.StateTuple{Type: "m.mine"})
	}
	got, err := Resolve(d.room, nil, d)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestMissingEvent(t *testing.T) {
	d, base := begin(t, `{}`, alice)
	one, two := d.topic(carol, "one", base), d.topic(carol, "two", base)
	pl := d.at(base, "m.room.power_levels", "").ID()
	delete(d.events, pl)
	_, err := Resolve(d.room, []StateMap{d.after[one.ID()], d.after[two.ID()]}, d)
	require.ErrorIs(t, err, ErrMissingEvent)
	require.ErrorContains(t, err, pl)
}
