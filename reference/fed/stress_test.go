package fed_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/room"
)

// TestManyTalkAtOnce has many users of three servers send messages and state, leave and come back, all
// at once, and restarts a server in the middle. In the end all servers have every event and one state.
func TestManyTalkAtOnce(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		servers := []*homeserver{n.start(t), n.start(t), n.start(t)}
		id := servers[0].create(v, "user0", joinRules("public"), stateDraft("m.room.power_levels", "", "events_default", 0, "state_default", 0))
		for i, hs := range servers {
			for u := range 4 {
				if i+u > 0 {
					hs.join(id, fmt.Sprint("user", u), servers[0])
				}
			}
			for _, there := range servers[:i+1] {
				there.waitFor("all the members", func() bool { return members(there, id) == 4*(i+1) })
			}
		}
		var mutex sync.Mutex
		var sent []string
		var group sync.WaitGroup
		for _, hs := range servers {
			for u := range 4 {
				group.Go(func() {
					name := hs.user(fmt.Sprint("user", u))
					for i := range 8 {
						d := message
						if i%3 == u%3 {
							d = stateDraft("test.state", fmt.Sprint(i), "by", name)
						}
						e, err := hs.engine.Send(background, id, name, d)
						if err != nil {
							t.Errorf("%s: %v", name, err)
							return
						}
						mutex.Lock()
						sent = append(sent, e.ID())
						mutex.Unlock()
						if i == 4 && u == 3 {
							if err := hs.engine.Leave(background, id, name, nil); err != nil {
								t.Errorf("%s leaves: %v", name, err)
							}
							if err := hs.engine.Join(background, id, name, nil, names(servers)); err != nil {
								t.Errorf("%s joins: %v", name, err)
							}
						}
					}
				})
			}
		}
		group.Wait()
		servers[1].restart()
		// One event on top of everything makes sure that each server hears of what it has missed.
		for _, hs := range servers {
			last := hs.say(id, "user0", "last")
			for _, other := range servers {
				other.waitForEvent(id, last.ID())
			}
		}
		for _, hs := range servers {
			hs.history(id, room.Place{Major: hs.engine.Now() + 1}, 10_000)
			for _, e := range sent {
				stored, ok := hs.engine.Event(id, e)
				require.True(t, ok, "%s lacks %s", hs.name, e)
				require.NotEqual(t, room.Rejected, stored.Outcome)
			}
			require.Equal(t, servers[0].state(id), hs.state(id), hs.name)
		}
	})
}
