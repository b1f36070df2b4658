// Package resolution says what becomes of two acts that meet from two sides of a fork: the suite's own,
// small reading of the state resolution of room version 12 (version 2.1 of the algorithm), against
// which homeservers are compared. It knows acts, not events, and one act on each side; that is enough
// for every rule by which the algorithm orders events and authorises them.
//
// It has nothing in common with any homeserver's code.
package resolution

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is what an act does to the state of a room.
type Kind int

// The kinds of acts.
const (
	// Topic sets a piece of state that no rule looks at.
	Topic Kind = iota
	// Rules sets the join rules.
	Rules
	// Levels sets the power levels.
	Levels
	// Ban and Kick end the membership of another user.
	Ban
	Kick
)

// String is the kind in a word.
func (k Kind) String() string {
	return [...]string{"topic", "join rules", "power levels", "ban", "kick"}[k]
}

// Act is a state event.
type Act struct {
	// ID is the event ID, and Time its origin_server_ts.
	ID   string
	Time int64
	// Sender is the user ID of who acts.
	Sender string
	Kind   Kind
	// Target is the user ID of who is banned or kicked.
	Target string
	// Users are the power levels of all users who have any, when they are set.
	Users map[string]int
}

// Room is the state that both sides of the fork have in common. Everybody named is joined. It takes
// power level 50 to do anything; the room's creator does not act.
//
// The joins of those who act cite these power levels. The algorithm may have to order the joins as well,
// when they are in the auth chain of one side only or lie between two events in conflict, and no act
// comes before its sender's join: this way the joins are ordered as the acts are, and change nothing.
type Room struct {
	// Users are the power levels of all users who have any.
	Users map[string]int
}

// Verdict is what becomes of the acts.
type Verdict struct {
	// Stands are the acts, by event ID, that are in the resolved state.
	Stands map[string]bool
	// Why are the steps that lead there, one sentence each.
	Why []string
}

// String is the steps in one line.
func (v Verdict) String() string { return strings.Join(v.Why, "; ") }

// enough is the power level that it takes to set state, to kick and to ban.
const enough = 50

// Allows reports why the rules of the room do not allow an act before the fork; empty when they do.
func (r Room) Allows(a Act) string { return newState(r).refuse(a) }

// Resolve is the state after two acts, each of which is allowed by itself.
//
// The algorithm puts the acts that have to do with power first (bans, kicks, join rules and power
// levels), those of the more powerful before those of the less powerful, then the earlier before the
// later, then the lesser event ID first; all others follow by the power levels that authorised them,
// which here are the same, then the earlier before the later, then the lesser event ID first. In that
// order each is applied if the state that has come about so far allows it. So the last one stands.
func Resolve(r Room, a, b Act) Verdict {
	v := Verdict{Stands: map[string]bool{}}
	s := newState(r)
	for _, act := range ordered(r, a, b) {
		what := fmt.Sprintf("the %s by %s (power %d, time %d)", act.Kind, act.Sender, r.Users[act.Sender], act.Time)
		if reason := s.refuse(act); reason != "" {
			v.Why = append(v.Why, what+" does not count: "+reason)
			continue
		}
		if before := s.apply(act); before != "" {
			delete(v.Stands, before)
			what += " replaces the other"
		} else {
			what += " counts"
		}
		v.Stands[act.ID] = true
		v.Why = append(v.Why, what)
	}
	return v
}

// ordered is the order in which acts are tried.
func ordered(r Room, acts ...Act) []Act {
	slices.SortFunc(acts, func(x, y Act) int {
		px, py := x.Kind != Topic, y.Kind != Topic
		switch {
		case px != py && px:
			return -1
		case px != py:
			return 1
		case px:
			if c := cmp.Compare(r.Users[y.Sender], r.Users[x.Sender]); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(x.Time, y.Time), strings.Compare(x.ID, y.ID))
	})
	return acts
}

// state is the state of the room as far as it has been resolved.
type state struct {
	users map[string]int
	gone  map[string]Kind
	holds map[string]string // the act in each place
}

func newState(r Room) *state {
	return &state{users: maps.Clone(r.Users), gone: map[string]Kind{}, holds: map[string]string{}}
}

// refuse is the reason why an act is not authorised (room version 12, "Authorization rules", 5.5, 5.6, 6
// to 10); empty when it is.
func (s *state) refuse(a Act) string {
	own := s.users[a.Sender]
	switch _, gone := s.gone[a.Sender]; {
	case gone:
		return "its sender is not in the room"
	case own < enough:
		return fmt.Sprintf("its sender has power level %d", own)
	case (a.Kind == Ban || a.Kind == Kick) && s.users[a.Target] >= own:
		return "its target is as powerful as its sender"
	case a.Kind == Kick && s.gone[a.Target] == Ban:
		return "its target is banned"
	case a.Kind == Levels:
		return s.refuseLevels(a, own)
	}
	return ""
}

// refuseLevels is rule 10 for the users in the power levels.
func (s *state) refuseLevels(a Act, own int) string {
	names := maps.Clone(s.users)
	maps.Copy(names, a.Users)
	for name := range names {
		now, had := s.users[name]
		then, has := a.Users[name]
		switch {
		case had == has && now == then:
		case had && name != a.Sender && now >= own:
			return "it changes the level of a user who is as powerful as its sender"
		case has && then > own:
			return "it gives more power than its sender has"
		}
	}
	return ""
}

// apply puts an act in its place and returns the one that was there.
func (s *state) apply(a Act) (before string) {
	place := a.Kind.String()
	switch a.Kind {
	case Levels:
		s.users = maps.Clone(a.Users)
	case Ban, Kick:
		place = "membership of " + a.Target
		s.gone[a.Target] = a.Kind
	}
	before, s.holds[place] = s.holds[place], a.ID
	return before
}
