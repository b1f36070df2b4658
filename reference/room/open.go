package room

import (
	"sync"

	"countersign/matrix"
	"countersign/reference/internal/lru"
	"countersign/reference/participant"
	"countersign/reference/store"
)

// Sizes of the caches.
const (
	cachedEvents      = 16384
	cachedGroups      = 4096
	cachedResolutions = 1024
)

// Engine is the room engine. It is safe for concurrent use. Its methods must not be called inside a
// transaction of its store, unless they take one.
type Engine struct {
	Options
	stream      *stream
	parsed      *lru.Cache[parsedKey, *matrix.Event]
	groups      *lru.Cache[uint64, *node]
	resolutions *lru.Cache[string, State]
	// entering and fetching let one attempt at a time enter a room, or fetch an event.
	entering, fetching *keyedLock

	// mutex guards what follows.
	mutex     sync.Mutex
	rooms     map[string]*liveRoom
	listeners []func(roomID string, users []matrix.UserID)
	// touched are the positions of the latest changes of rooms; before is that of all others.
	touched map[string]Position
	before  Position
	// disclosed counts the handshakes in which servers are told that keys are this server's.
	disclosed map[participant.Claim]int

	// badCopies are the events of which a mutant takes no other copy.
	// firstDomains are the domains that were asked for accounts first, for a mutant that asks no other.
	firstDomains sync.Map
	badCopies    sync.Map
}

// New opens the engine on its store.
func New(options Options) (*Engine, error) {
	g := &Engine{
		Options: options, parsed: lru.New[parsedKey, *matrix.Event](cachedEvents),
		groups: lru.New[uint64, *node](cachedGroups), resolutions: lru.New[string, State](cachedResolutions),
		entering: newKeyedLock(), fetching: newKeyedLock(), rooms: map[string]*liveRoom{}, touched: map[string]Position{}, disclosed: map[participant.Claim]int{},
	}
	err := g.DB.View(func(tx *store.Tx) error {
		g.before = Position(tx.Table(tableStream).Last())
		g.stream = newStream(g.before)
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.Directory.OnChange(g.reveal)
	g.Domains.OnVerified(g.revealServer)
	return g, nil
}

// OnChange has f called, after the commit, for everything that clients are shown about a room: new
// events, another current state, a membership of a local user, an account key that became verified or
// erased. users are the account name user IDs of the local users whose membership changed. f must not
// block, and must not call the engine.
func (g *Engine) OnChange(f func(roomID string, users []matrix.UserID)) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.listeners = append(g.listeners, f)
}

// Touched is a position at or after the latest thing that OnChange has reported of a room; since the
// start of the server nothing has happened in the room after it.
func (g *Engine) Touched(roomID string) Position {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return max(g.touched[roomID], g.before)
}

// touch notes that something has happened in rooms at a position.
func (g *Engine) touch(at Position, rooms []string) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for _, roomID := range rooms {
		g.touched[roomID] = max(at, g.touched[roomID])
	}
}

func (g *Engine) notify(roomID string, users []matrix.UserID) {
	g.mutex.Lock()
	listeners := g.listeners
	g.mutex.Unlock()
	for _, f := range listeners {
		f(roomID, users)
	}
}

// localChanges are the account name user IDs of the local users whose membership differs between two
// states.
func (g *Engine) localChanges(v matrix.RoomVersion, old, new State) (users []matrix.UserID) {
	for place := range Diff(old, new) {
		if place.Type != "m.room.member" {
			continue
		}
		if local := g.localName(v, matrix.UserID(place.StateKey)); local != "" {
			users = append(users, local)
		}
	}
	return users
}
