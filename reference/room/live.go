package room

import (
	"fmt"
	"slices"
	"sync"

	"countersign/matrix"
	"countersign/reference/rules"
	"countersign/reference/stateres"
	"countersign/reference/store"
)

// maxExtremities is how many open ends of the event graph are kept. A peer can make any number of
// them; the shallowest are forgotten, as nobody has to build on them.
const maxExtremities = 40

// liveRoom is a room that this server is or was in.
type liveRoom struct {
	id      string
	version matrix.RoomVersion
	create  *matrix.Event
	// rules check signatures, as rule 5.2 asks; settled are for events that have passed it before, or that
	// are templates and have no signatures yet. See judging.
	rules, settled *rules.Room

	// mutex is held while an event is judged by the current state and stored. It is never held
	// while another server is waited for. It guards what follows.
	mutex       sync.Mutex
	extremities []string
	current     State
	roster      roster
	// latest is the time of the latest event of ours, in milliseconds since the Unix epoch.
	latest int64
}

// live returns a room, or nil when this server has never been in it.
func (g *Engine) live(roomID string) (*liveRoom, error) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if r, ok := g.rooms[roomID]; ok {
		return r, nil
	}
	var r *liveRoom
	err := g.DB.View(func(tx *store.Tx) error {
		var stored roomRecord
		found, err := getJSON(tx.Table(tableRooms), store.Key(roomID), &stored)
		if err != nil || !found || g.Defects.Has("LoseRoomsAtRestart") {
			return err
		}
		create, err := g.event(tx, stored.Create)
		if err != nil || create == nil {
			return fmt.Errorf("the create event of room %s cannot be read: %w", roomID, orDamaged(err))
		}
		if r, err = g.newLiveRoom(create.Event); err != nil {
			return err
		}
		r.extremities = stored.Extremities
		if r.current, err = g.loadState(tx, stored.Current); err != nil {
			return err
		}
		return r.follow(source{g: g, tx: tx}, &r.roster, State{}, r.current)
	})
	if err != nil || r == nil {
		return nil, err
	}
	g.rooms[roomID] = r
	return r, nil
}

// newLiveRoom makes the live form of a room of which nothing but the create event exists.
func (g *Engine) newLiveRoom(create *matrix.Event) (*liveRoom, error) {
	judging, err := rules.NewRoom(create, g.authoriserVerifier(create.Version()))
	if err != nil {
		return nil, err
	}
	judging = judging.WithDefects(g.Defects)
	return &liveRoom{
		id: create.RoomID(), version: create.Version(), create: create, rules: judging, settled: judging.Settled(),
		roster: newRoster(create.Version()),
	}, nil
}

// authoriserVerifier answers rule 5.2 for rooms of a version: whose signature authorises a restricted join.
func (g *Engine) authoriserVerifier(v matrix.RoomVersion) rules.SignatureVerifier {
	switch v.Identity {
	case matrix.AccountKeyIdentity, matrix.PortableIdentity:
		return rules.VerifyAccountKey
	case matrix.ServerKeyIdentity:
		return rules.VerifyServerKey
	}
	return g.verifyServerOf
}

// judging are the room's rules with the events of a transaction: in rooms of MSC4348 those tell who has
// co-signed what.
func (r *liveRoom) judging(events source) *rules.Room {
	if !r.version.HasPortableAccounts() {
		return r.rules
	}
	return r.rules.WithEvents(events.Event)
}

// settledBy is judging for the rules that ask for no signatures.
func (r *liveRoom) settledBy(events source) *rules.Room {
	if !r.version.HasPortableAccounts() {
		return r.settled
	}
	return r.settled.WithEvents(events.Event)
}

// resolve is the state that follows from several (room version 12, "State resolution"). At least one
// state is given.
func (g *Engine) resolve(r *liveRoom, events source, states []State) (State, error) {
	distinct := states[:0:0]
	for _, s := range states {
		if !slices.ContainsFunc(distinct, func(t State) bool { return t.root == s.root }) {
			distinct = append(distinct, s)
		}
	}
	if len(distinct) == 1 {
		return distinct[0], nil
	}
	if g.Defects.Has("LetWhatCameFirstWin") {
		return oldest(distinct), nil
	}
	key, cacheable := resolutionKey(r.id, distinct)
	if cacheable {
		if s, ok := g.resolutions.Get(key); ok {
			return s, nil
		}
	}
	sets := make([]stateres.StateMap, len(distinct))
	for i, s := range distinct {
		sets[i] = s.toMap()
	}
	m, err := stateres.Resolve(r.settled, sets, events)
	if err != nil {
		return State{}, fmt.Errorf("resolving %d states of room %s: %w", len(sets), r.id, err)
	}
	g.favourVerified(events, distinct, m)
	s := distinct[0].become(m)
	if cacheable && len(events.pending) == 0 {
		g.resolutions.Put(key, s)
	}
	return s, nil
}

func resolutionKey(roomID string, states []State) (string, bool) {
	groups := make([]uint64, len(states))
	for i, s := range states {
		if s.group == 0 {
			return "", false
		}
		groups[i] = s.group
	}
	slices.Sort(groups)
	return fmt.Sprint(roomID, groups), true
}

// become is s changed to hold exactly what m holds; it shares with s what stays.
func (s State) become(m map[matrix.StateTuple]string) State {
	result := s
	for place := range s.All() {
		if _, ok := m[place]; !ok {
			result = result.with(place, "")
		}
	}
	for place, id := range m {
		result = result.with(place, id)
	}
	return result
}

// nextExtremities are the room's extremities once e has been accepted: e replaces its parents, and
// what is only reached from it through rejected or soft-failed events. An event that arrives after
// others have been built on it is none.
func (r *liveRoom) nextExtremities(events source, e *matrix.Event) []string {
	covered := map[string]bool{}
	queue := slices.Clone(e.PrevEvents())
	for len(queue) > 0 && len(covered) < 1000 {
		id := queue[0]
		queue = queue[1:]
		if covered[id] {
			continue
		}
		covered[id] = true
		if k := events.find(id); k != nil && k.outcome != Accepted {
			queue = append(queue, k.PrevEvents()...)
		}
	}
	next := slices.DeleteFunc(slices.Clone(r.extremities), func(id string) bool { return covered[id] })
	if len(next) == 0 || !events.builtUpon(e.ID()) {
		next = append(next, e.ID())
	}
	if len(next) > maxExtremities {
		depth := func(id string) int64 {
			if k := events.find(id); k != nil {
				return k.Depth()
			}
			return 0
		}
		slices.SortStableFunc(next, func(a, b string) int { return int(min(max(depth(a)-depth(b), -1), 1)) })
		next = next[len(next)-maxExtremities:]
	}
	return next
}

// builtUpon reports whether an accepted event has a given one as its parent.
func (s source) builtUpon(id string) (found bool) {
	prefix := store.Key(id)
	s.tx.Table(tableChildren).Scan(prefix, nil, func(key, _ []byte) bool {
		parts, _ := store.SplitKey(key, 2)
		k := s.find(parts[len(parts)-1])
		found = k != nil && k.outcome == Accepted && k.hasState()
		return !found
	})
	return found
}
