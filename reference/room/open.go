package room

import (
	"sync"

	"countersign/matrix"
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
	parsed      *cache[parsedKey, *matrix.Event]
	groups      *cache[uint64, *node]
	resolutions *cache[string, State]
	// entering and fetching let one attempt at a time enter a room, or fetch an event.
	entering, fetching *keyedLock

	// mutex guards what follows.
	mutex     sync.Mutex
	rooms     map[string]*liveRoom
	listeners []func(roomID string, users []matrix.UserID)
}

// New opens the engine on its store.
func New(options Options) (*Engine, error) {
	g := &Engine{
		Options: options, parsed: newCache[parsedKey, *matrix.Event](cachedEvents),
		groups: newCache[uint64, *node](cachedGroups), resolutions: newCache[string, State](cachedResolutions),
		entering: newKeyedLock(), fetching: newKeyedLock(), rooms: map[string]*liveRoom{},
	}
	err := g.DB.View(func(tx *store.Tx) error {
		g.stream = newStream(Position(tx.Table(tableStream).Last()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.Directory.OnChange(g.reveal)
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
func (g *Engine) localChanges(old, new State) (users []matrix.UserID) {
	for place := range Diff(old, new) {
		user := matrix.UserID(place.StateKey)
		if place.Type != "m.room.member" || user.Domain() != g.ServerName {
			continue
		}
		if name := g.localName(user); name != "" {
			users = append(users, name)
		}
	}
	return users
}

// localName is the account name user ID of a local user, given in either form, or empty.
func (g *Engine) localName(user matrix.UserID) matrix.UserID {
	if _, name, ok := g.Directory.LocalAccount(user); ok {
		return matrix.UserID("@" + name + ":" + string(g.ServerName))
	}
	if g.Users.Exists(user.Localpart()) {
		return user
	}
	return ""
}
