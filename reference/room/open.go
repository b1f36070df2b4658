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

	// mutex guards rooms.
	mutex sync.Mutex
	rooms map[string]*liveRoom
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
