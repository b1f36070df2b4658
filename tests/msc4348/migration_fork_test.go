package msc4348

import (
	"fmt"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// account is what acts on a branch are about: an account that moves, and whoever decides about its servers.
type account struct {
	*blueprints.Migration
	blueprints.Mover
	// joined is the join through the old server, and third a third accepted server.
	joined *matrix.Event
	third  matrix.ServerKeyPair
	// bystander is another user of the host, in the room.
	bystander *fakeserver.User
}

// Acts of the account, and of fay, who has made the room.

func movesToNew(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.ID, "join").Through(a.To)}
}

func movesToThird(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.ID, "join").Through(a.third)}
}

func joinsOldAgain(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.ID, "join").With("displayname", "Mia").Through(a.From)}
}

func leavesOld(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.ID, "leave").Through(a.From)}
}

func saysThroughOld(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Message("through the old server").Through(a.From)}
}

func saysThroughNew(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Message("through the new server").Through(a.To)}
}

func setsThroughOld(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: blueprints.Probe().Through(a.From)}
}

func setsThroughNew(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: blueprints.Probe().Through(a.To)}
}

func kicksThroughNew(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.UserID(a.bystander), "leave").Through(a.To)}
}

func kicksThroughOld(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Membership(a.UserID(a.bystander), "leave").Through(a.From)}
}

func oldRevokesItself(a account) blueprints.Act {
	return blueprints.Act{By: a.User, Draft: fakeserver.Participates(a.From.Key().Name(), matrix.Revoked).Through(a.From)}
}

func fayRevokesOld(a account) blueprints.Act { return revoked(a, a.From) }
func fayRevokesNew(a account) blueprints.Act { return revoked(a, a.To) }

func revoked(a account, key matrix.ServerKeyPair) blueprints.Act {
	return blueprints.Act{By: a.Fay, Draft: fakeserver.Participates(key.Key().Name(), matrix.Revoked)}
}

func fayBans(a account) blueprints.Act {
	return blueprints.Act{By: a.Fay, Draft: fakeserver.Membership(a.ID, "ban")}
}

func fayKicks(a account) blueprints.Act {
	return blueprints.Act{By: a.Fay, Draft: fakeserver.Membership(a.ID, "leave")}
}

// ends says which of the state events of a fork are in the state where its branches meet.
type ends int

const (
	somehow   ends = iota // one way or the other, but alike everywhere
	withBoth              // all of them
	withLeft              // those of the left branch, and none of the right
	withRight             // those of the right branch, and none of the left
)

// forks are two branches of a room's history. What neither the proposals nor room version 12 settle ends
// somehow.
func forks() []struct {
	name, requirement string
	left, right       []func(account) blueprints.Act
	end               ends
	rule              string
} {
	type acts = []func(account) blueprints.Act
	return []struct {
		name, requirement string
		left, right       []func(account) blueprints.Act
		end               ends
		rule              string
	}{
		{"moves, and says something through the old server", "MSC4348-MIG-07", acts{movesToNew}, acts{saysThroughOld}, withLeft, "public"},
		{"moves, and sets state through the old server", "MSC4348-MIG-07", acts{movesToNew}, acts{setsThroughOld}, somehow, "public"},
		{"moves and acts, and acts through the old server", "MSC4348-MIG-07", acts{movesToNew, setsThroughNew}, acts{saysThroughOld, setsThroughOld}, somehow, "public"},
		{"moves, and leaves through the old server", "MSC4348-MIG-07", acts{movesToNew, saysThroughNew}, acts{leavesOld}, somehow, "public"},
		{"moves, and joins again through the old server", "MSC4348-MIG-06", acts{movesToNew}, acts{joinsOldAgain}, somehow, "public"},
		{"moves to two servers", "MSC4348-MIG-06", acts{movesToNew}, acts{movesToThird}, somehow, "public"},
		{"moves, and is banned", "MSC4348-MIG-02", acts{movesToNew, setsThroughNew}, acts{fayBans}, withRight, "public"},
		{"moves, and is kicked", "MSC4348-MIG-07", acts{movesToNew}, acts{fayKicks}, somehow, "public"},
		{"sets state, and its server is revoked", "MSC4348-MIG-08", acts{setsThroughOld}, acts{fayRevokesOld}, withRight, "public"},
		{"kicks somebody, and its server is revoked", "MSC4348-MIG-08", acts{kicksThroughOld}, acts{fayRevokesOld}, withRight, "public"},
		{"sets state, and its server revokes itself", "MSC4348-MIG-08", acts{setsThroughOld}, acts{oldRevokesItself}, withRight, "public"},
		{"moves to a server that is revoked", "MSC4348-MIG-08", acts{movesToNew, setsThroughNew}, acts{fayRevokesNew}, withRight, "public"},
		{"moves away from a server that is revoked", "MSC4348-MIG-09", acts{movesToNew}, acts{fayRevokesOld}, withBoth, "public"},
		{"moves away and kicks somebody, and the old server is revoked", "MSC4348-MIG-09", acts{movesToNew, kicksThroughNew}, acts{fayRevokesOld}, withBoth, "public"},
		{"moves away from a server that revokes itself", "MSC4348-MIG-09", acts{movesToNew, setsThroughNew}, acts{oldRevokesItself}, withBoth, "public"},
		{"moves away from a server that is revoked, by a membership alone", "MSC4348-MIG-09", acts{movesToNew}, acts{fayRevokesOld}, somehow, "invite"},
	}
}

// MSC4348, "User accounts can move servers"; room version 12, "State resolution": an account moves while
// something else happens. Whatever comes first to whom, and whatever clocks say, the room ends in one state.
func TestMigration_Forks(t *testing.T) {
	v := conform.PortableVersion(t)
	for _, c := range forks() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			conform.Scenario(t, "An account "+c.name)
			f := forking(t, v, c.rule)
			convergence := c.requirement
			if f.Alike(t) {
				convergence = "MSC4348-MIG-07" // whatever the reading, it is one
			}
			build := func(acts []func(account) blueprints.Act, a account, at time.Time) (branch []blueprints.Act) {
				for i, act := range acts {
					made := act(a)
					made.Draft.Time = at.Add(time.Duration(i) * time.Millisecond)
					branch = append(branch, made)
				}
				return branch
			}
			for _, clocks := range []struct {
				name        string
				left, right time.Duration
			}{{"the first is earlier", 0, time.Second}, {"the second is earlier", time.Second, 0}} {
				for i, orders := 0, 1; i < orders; i++ {
					a := f.newAccount(t)
					now := time.Now()
					branches := f.Fork(t, build(c.left, a, now.Add(clocks.left)), build(c.right, a, now.Add(clocks.right)))
					ways := blueprints.ArrivalOrders(branches)
					orders = len(ways)
					f.TellOne(t, f.Sites[0], ways[i]...)
					f.TellOne(t, f.Sites[1], ways[orders-1-i]...)
					states := f.Meet(t, convergence, branches, winners(c.end, branches)...)
					for _, site := range f.Sites {
						if !f.Before(t, site, branches[0].Events()[0]).Has(a.joined) {
							conform.Inconclusive(t, "%s has not accepted that the account has joined before the fork", site.HS.Alias())
						}
					}
					judgeEnd(t, c.requirement, fmt.Sprintf("%s; arrival %d and %d", clocks.name, i, orders-1-i), c.end, branches, states)
				}
			}
		})
	}
}

// forkedRoom is a room in which one account after the other moves.
type forkedRoom struct {
	*blueprints.Migration
	joinRule string
}

func forking(t testing.TB, v matrix.RoomVersion, joinRule string) forkedRoom {
	t.Helper()
	f := forkedRoom{blueprints.NewMigration(t, v), joinRule}
	if joinRule != "public" {
		f.Say(t, f.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": joinRule}))
	}
	return f
}

// newAccount brings an account with power level 50, and somebody without power, into the room.
func (f forkedRoom) newAccount(t testing.TB) account {
	t.Helper()
	a := account{Migration: f.Migration, third: f.New.MintServerKey(), bystander: f.Peer.Member(t, "bystander")}
	f.Together(t, func() {
		a.Mover = f.Stranger(t, "mia")
		f.Ask(t, f.New, a.third, a.User)
		f.Accept(t, a.third)
		f.Say(t, f.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{"users": map[string]any{string(a.ID): 50}, "state_default": 50, "kick": 50}))
		if f.joinRule != "public" {
			f.Invite(t, a.User)
			f.Invite(t, a.bystander)
		}
		f.Say(t, a.bystander, fakeserver.Membership(f.UserID(a.bystander), "join"))
		a.joined = f.Join(t, a.Mover, a.From)
	})
	return a
}

// winners are the state events of a fork that stand.
func winners(end ends, branches []*fakeserver.Branch) (stand []*matrix.Event) {
	for side, branch := range branches {
		for _, e := range branch.Events() {
			if _, isState := e.StateKey(); isState && end.stands(side) {
				stand = append(stand, e)
			}
		}
	}
	return stand
}

// stands reports whether the state events of a side (0 for the left) are expected in the state.
func (e ends) stands(side int) bool {
	return e == withBoth || e == withLeft && side == 0 || e == withRight && side == 1
}

func judgeEnd(t testing.TB, requirement, round string, end ends, branches []*fakeserver.Branch, states []blueprints.RoomState) {
	t.Helper()
	for i, state := range states {
		for side, branch := range branches {
			for _, e := range branch.Events() {
				if _, isState := e.StateKey(); !isState || end == somehow {
					continue
				}
				if got, want := state.Has(e), end.stands(side); got != want {
					conform.Violation(t, requirement, fmt.Sprintf("%s: that %s is in the state of hs%d where the branches meet: %t", round, e.Type(), i+1, want),
						fmt.Sprintf("%t\n%s", got, e.JSON()))
				}
			}
		}
	}
}
