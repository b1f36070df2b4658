package resolution_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"countersign/helpers/resolution"
)

// Hand-made forks in a room where ann has power level 100 and bob 50, unless told otherwise.
func TestResolve(t *testing.T) {
	users := func(ann, bob int) map[string]int { return map[string]int{"ann": ann, "bob": bob} }
	act := func(id string, time int64, sender string, kind resolution.Kind) resolution.Act {
		return resolution.Act{ID: id, Time: time, Sender: sender, Kind: kind}
	}
	against := func(a resolution.Act, target string) resolution.Act { a.Target = target; return a }
	levels := func(a resolution.Act, users map[string]int) resolution.Act { a.Users = users; return a }
	for _, c := range []struct {
		name   string
		room   map[string]int
		a, b   resolution.Act
		stands []string
	}{
		{"the later topic stands", users(100, 50), act("a", 1, "ann", resolution.Topic), act("b", 2, "bob", resolution.Topic), []string{"b"}},
		{"whoever sent it", users(100, 50), act("a", 2, "ann", resolution.Topic), act("b", 1, "bob", resolution.Topic), []string{"a"}},
		{"of two at once the greater event ID", users(100, 50), act("a", 1, "ann", resolution.Topic), act("b", 1, "bob", resolution.Topic), []string{"b"}},
		{"join rules of the less powerful stand", users(100, 50), act("a", 2, "ann", resolution.Rules), act("b", 1, "bob", resolution.Rules), []string{"b"}},
		{"of equals the later", users(75, 75), act("a", 2, "ann", resolution.Rules), act("b", 1, "bob", resolution.Rules), []string{"a"}},
		{"a ban comes before what the banned does", users(100, 50), against(act("a", 2, "ann", resolution.Ban), "bob"), act("b", 1, "bob", resolution.Rules), []string{"a"}},
		{"topics and join rules do not meet", users(100, 50), act("a", 2, "ann", resolution.Topic), act("b", 1, "bob", resolution.Rules), []string{"a", "b"}},
		{"who loses their power has none", users(100, 50), levels(act("a", 2, "ann", resolution.Levels), users(100, 0)), act("b", 1, "bob", resolution.Topic), []string{"a"}},
		{"nor to restore it", users(100, 50), levels(act("a", 2, "ann", resolution.Levels), users(100, 0)),
			levels(act("b", 1, "bob", resolution.Levels), map[string]int{"ann": 100, "bob": 50, "eve": 25}), []string{"a"}},
		{"power levels of the less powerful stand", users(100, 50), levels(act("a", 2, "ann", resolution.Levels), map[string]int{"ann": 100, "bob": 50, "eve": 25}),
			levels(act("b", 1, "bob", resolution.Levels), map[string]int{"ann": 100, "bob": 50, "eve": 10}), []string{"b"}},
		{"unless they take what is not theirs to take", users(100, 50), levels(act("a", 2, "ann", resolution.Levels), map[string]int{"ann": 100, "bob": 50, "eve": 75}),
			levels(act("b", 1, "bob", resolution.Levels), map[string]int{"ann": 100, "bob": 50, "eve": 10}), []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			room := resolution.Room{Users: c.room}
			for _, act := range []resolution.Act{c.a, c.b} {
				assert.Empty(t, room.Allows(act))
			}
			for _, v := range []resolution.Verdict{resolution.Resolve(room, c.a, c.b), resolution.Resolve(room, c.b, c.a)} {
				var stands []string
				for _, id := range []string{"a", "b"} {
					if v.Stands[id] {
						stands = append(stands, id)
					}
				}
				assert.Equal(t, c.stands, stands, "%s", v)
				assert.Len(t, v.Why, 2)
			}
		})
	}
}

func TestAllows(t *testing.T) {
	room := resolution.Room{Users: map[string]int{"ann": 100, "bob": 50}}
	for name, act := range map[string]resolution.Act{
		"somebody without power":  {Sender: "eve", Kind: resolution.Topic},
		"a ban of a superior":     {Sender: "bob", Kind: resolution.Ban, Target: "ann"},
		"a gift beyond one's own": {Sender: "bob", Kind: resolution.Levels, Users: map[string]int{"ann": 100, "bob": 50, "eve": 51}},
		"a superior's level":      {Sender: "bob", Kind: resolution.Levels, Users: map[string]int{"bob": 50}},
	} {
		assert.NotEmpty(t, room.Allows(act), name)
	}
}
