package rules

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Rules 6 to 9.
func TestOtherEvents(t *testing.T) {
	given := []ev{joined(carol), joined(alice), joined(bob),
		levels(`{"events":{"m.special":70,"org.open":0},"events_default":5,"state_default":20,"users":{"@alice:one":20,"@bob:two":5},"users_default":1,"invite":15}`)}
	runRows(t, "", []row{
		{"message", given, message(bob), ""},
		{"message from outside", given, message(mallory), "6"},
		{"message from someone banned", append([]ev{banned(bob)}, given[0], given[1], given[3]), message(bob), "6"},
		{"message below events_default", append([]ev{joined(dave)}, given...), message(dave), "8"},
		{"state", given, state(alice, "m.room.topic", "", `{}`), ""},
		{"state below state_default", given, state(bob, "m.room.topic", "", `{}`), "8"},
		{"state type with its own lower level", given, state(bob, "org.open", "", `{}`), ""},
		{"type with its own higher level", given, ev{Sender: alice, Type: "m.special", Content: `{}`}, "8"},
		{"creators may everything", given, ev{Sender: carol, Type: "m.special", Content: `{}`}, ""},
		{"own state key", given, state(alice, "org.about", alice, `{}`), ""},
		{"state key of another user", given, state(alice, "org.about", bob, `{}`), "9"},
		{"state key of another user, by a creator", given, state(carol, "org.about", bob, `{}`), "9"},
		{"state key that only looks like one", given, state(alice, "org.about", "@", `{}`), "9"},
		{"state key with @ inside", given, state(alice, "org.about", "a@b", `{}`), ""},
		{"third party invite", given, state(alice, "m.room.third_party_invite", "token", `{}`), ""},
		{"third party invite below the invite level", given, state(bob, "m.room.third_party_invite", "token", `{}`), "7.1"},
		{"third party invite from outside", given, state(mallory, "m.room.third_party_invite", "token", `{}`), "6"},
		{"third party invite does not ask for rule 9", given, state(alice, "m.room.third_party_invite", "@token", `{}`), ""},
		{"redaction is a message like any other", given, ev{Sender: bob, Type: "m.room.redaction", Content: `{"redacts":"$x"}`}, ""},
	})
	nobody := []ev{joined(carol), joined(alice)}
	runRows(t, "", []row{
		{"without power levels: message", nobody, message(alice), ""},
		{"without power levels: state", nobody, state(alice, "m.room.topic", "", `{}`), "8"},
		{"without power levels: creator", nobody, state(carol, "m.room.topic", "", `{}`), ""},
	})
}

// Rules 10.1 to 10.5.
func TestPowerLevelsShape(t *testing.T) {
	given := []ev{joined(carol), joined(alice)}
	var rows []row
	add := func(name, content, rule string) {
		rows = append(rows, row{name + " " + content, given, power(carol, content), rule})
	}
	for _, property := range []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"} {
		for _, bad := range []string{`"50"`, `null`, `true`, `[]`, `{}`, `[50]`} {
			add("10.1", `{"`+property+`":`+bad+`}`, "10.1")
		}
		add("10.1", `{"`+property+`":-9007199254740991}`, "")
	}
	for _, property := range []string{"events", "notifications"} {
		for _, bad := range []string{`"x"`, `null`, `[]`, `1`, `{"a":"1"}`, `{"a":null}`, `{"a":1,"b":{}}`} {
			add("10.2", `{"`+property+`":`+bad+`}`, "10.2")
		}
		add("10.2", `{"`+property+`":{"with \" quote":1,"a.b":2,"":3,"@x":4}}`, "")
	}
	for _, bad := range []string{`"x"`, `null`, `[]`, `1`, `{"@bob:two":"1"}`, `{"@bob:two":null}`, `{"bob":1}`, `{"@bob":1}`, `{"":1}`, `{"@bob:two":1,"#room:two":1}`} {
		add("10.3", `{"users":`+bad+`}`, "10.3")
	}
	add("10.3", `{"users":{}}`, "")
	add("10.3", `{"users":{"@Odd one!:two":1}}`, "")
	add("10.4", `{"users":{"@carol:one":100}}`, "10.4")
	add("10.4", `{"users":{"@alice:one":100,"@carol:one":0}}`, "10.4")
	add("10.5 no levels yet", `{"users":{"@alice:one":9007199254740991}}`, "")
	add("unknown properties", `{"users_defaults":"x","accept":"y"}`, "")
	runRows(t, "", rows)
	runRows(t, `{"additional_creators":["@alice:one"]}`, []row{
		{"additional creator", given, power(carol, `{"users":{"@alice:one":100}}`), "10.4"},
	})
}

// Rules 10.6 to 10.11: Alice has 50 and may send power levels.
func TestPowerLevelsChange(t *testing.T) {
	const before = `"events":{"high":60,"mid":50,"low":10},"kick":50,"notifications":{"room":60,"low":1},"redact":60,"state_default":50,` +
		`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":49,"@high:two":60},"users_default":0`
	given := []ev{joined(carol), joined(alice), joined(bob), levels("{" + before + "}")}
	change := func(name, after, rule string) row { return row{name, given, power(alice, "{"+after+"}"), rule} }
	// Each after repeats what it keeps, because absence is removal.
	const (
		events = `"events":{"high":60,"mid":50,"low":10},`
		notify = `"notifications":{"room":60,"low":1},`
		users  = `"users":{"@alice:one":50,"@bob:two":50,"@dave:two":49,"@high:two":60},"users_default":0`
		named  = `"kick":50,"redact":60,"state_default":50,`
	)
	runRows(t, "", []row{
		change("nothing", before, ""),
		change("add a level", `"ban":50,`+before, ""),
		change("add a level above one's own", `"ban":51,`+before, "10.6.2"),
		change("raise a level to one's own", events+notify+users+`,"kick":50,"redact":60,"state_default":50,"invite":50`, ""),
		change("raise a level above one's own", events+notify+users+`,"kick":51,"redact":60,"state_default":50`, "10.6.2"),
		change("lower a level", events+notify+users+`,"kick":0,"redact":60,"state_default":50`, ""),
		change("lower a level above one's own", events+notify+users+`,"kick":50,"redact":10,"state_default":50`, "10.6.1"),
		change("remove a level above one's own", events+notify+users+`,"kick":50,"state_default":50`, "10.6.1"),
		change("remove a level", events+notify+users+`,"redact":60,"state_default":50`, ""),

		change("add an event", `"events":{"high":60,"mid":50,"low":10,"new":50},`+notify+named+users, ""),
		change("add an event above", `"events":{"high":60,"mid":50,"low":10,"new":51},`+notify+named+users, "10.8.1"),
		change("change an event to above", `"events":{"high":60,"mid":51,"low":10},`+notify+named+users, "10.8.1"),
		change("change an event", `"events":{"high":60,"mid":0,"low":50},`+notify+named+users, ""),
		change("remove an event", `"events":{"high":60,"mid":50},`+notify+named+users, ""),
		change("change an event from above", `"events":{"high":10,"mid":50,"low":10},`+notify+named+users, "10.7.1"),
		change("remove an event from above", `"events":{"mid":50,"low":10},`+notify+named+users, "10.7.1"),
		change("remove all events", notify+named+users, "10.7.1"),
		change("change a notification from above", events+`"notifications":{"room":50,"low":1},`+named+users, "10.7.1"),
		change("remove a notification from above", events+`"notifications":{"low":1},`+named+users, "10.7.1"),
		change("change a notification to above", events+`"notifications":{"room":60,"low":51},`+named+users, "10.8.1"),
		change("change a notification", events+`"notifications":{"room":60,"low":50},`+named+users, ""),

		change("add a user", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":49,"@high:two":60,"@new:two":50},"users_default":0`, ""),
		change("add a user above", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":49,"@high:two":60,"@new:two":51},"users_default":0`, "10.10.1"),
		change("raise an inferior", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":50,"@high:two":60},"users_default":0`, ""),
		change("raise an inferior above", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":51,"@high:two":60},"users_default":0`, "10.10.1"),
		change("remove an inferior", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@high:two":60},"users_default":0`, ""),
		change("lower an equal", events+notify+named+`"users":{"@alice:one":50,"@bob:two":0,"@dave:two":49,"@high:two":60},"users_default":0`, "10.9.1"),
		change("remove an equal", events+notify+named+`"users":{"@alice:one":50,"@dave:two":49,"@high:two":60},"users_default":0`, "10.9.1"),
		change("lower a superior", events+notify+named+`"users":{"@alice:one":50,"@bob:two":50,"@dave:two":49,"@high:two":0},"users_default":0`, "10.9.1"),
		change("lower oneself", events+notify+named+`"users":{"@alice:one":0,"@bob:two":50,"@dave:two":49,"@high:two":60},"users_default":0`, ""),
		change("remove oneself", events+notify+named+`"users":{"@bob:two":50,"@dave:two":49,"@high:two":60},"users_default":0`, ""),
		change("raise oneself", events+notify+named+`"users":{"@alice:one":51,"@bob:two":50,"@dave:two":49,"@high:two":60},"users_default":0`, "10.10.1"),
	})
	runRows(t, "", []row{
		{"a creator changes everything", given, power(carol, `{"users":{"@bob:two":9007199254740991}}`), ""},
		{"someone outside", given, power(mallory, `{}`), "6"},
		{"below state_default", []ev{joined(dave), given[3]}, power(dave, `{}`), "8"},
	})
}

// What a hostile power levels event in the state says wrongly counts as absent.
func TestMalformedCurrentLevels(t *testing.T) {
	r := newTestRoom(t, "")
	p := r.PowerLevels(r.state([]ev{levels(`{"ban":"x","events":{"a":1,"b":"y"},"users":{"@alice:one":7,"@bob:two":[],"x":3},"kick":null,"redact":3}`)}))
	require.Equal(t, Level(50), p.Ban())
	require.Equal(t, Level(50), p.Kick())
	require.Equal(t, Level(3), p.Redact())
	require.Equal(t, Level(0), p.Invite())
	require.Equal(t, Level(1), p.Required("a", false))
	require.Equal(t, Level(0), p.Required("b", false))
	require.Equal(t, Level(50), p.Required("b", true))
	require.Equal(t, Level(7), p.User(alice))
	require.Equal(t, Level(0), p.User(bob))
	require.Equal(t, Infinite, p.User(carol))
	require.Equal(t, Level(50), p.Notification("room"))
	require.Equal(t, "infinite", p.User(carol).String())
	require.Equal(t, "7", p.User(alice).String())
}

func TestMayRedact(t *testing.T) {
	r := newTestRoom(t, "")
	given := r.state([]ev{levels(`{"redact":30,"users":{"@bob:two":30,"@mallory:three":29}}`)})
	redaction := func(sender string) ev {
		return ev{Sender: sender, Type: "m.room.redaction", Content: `{"redacts":"$x"}`}
	}
	for _, c := range []struct {
		name, by, of string
		want         bool
	}{
		{"own event", alice, alice, true},
		{"same domain", alice, carol, true},
		{"redact level", bob, alice, true},
		{"below the redact level", mallory, alice, false},
		{"creator", carol, bob, true},
		{"same domain without the level", "@other:three", mallory, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, r.MayRedact(r.build(redaction(c.by)), r.build(message(c.of)), given))
		})
	}
	require.False(t, r.MayRedact(r.build(redaction(bob)), r.build(message(alice)), StateMap{}), "the redact level defaults to 50")
}
