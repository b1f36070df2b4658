package clientapi

import "sync"

// hub wakes requests that wait for something to happen. What can happen is named by topics: a user
// ID for what concerns one user, a room ID for what concerns everybody in a room.
type hub struct {
	mu      sync.Mutex
	waiters map[string]map[*waiter]struct{} // by topic
}

// waiter is one waiting request.
type waiter struct {
	// woken is closed at the first event.
	woken  chan struct{}
	once   sync.Once
	topics []string
}

func newHub() *hub { return &hub{waiters: map[string]map[*waiter]struct{}{}} }

// listen starts to wait. The caller listens first and looks for news afterwards, so that nothing
// slips between, and calls stop in the end.
func (h *hub) listen(topics ...string) *waiter {
	w := &waiter{woken: make(chan struct{}), topics: topics}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range topics {
		if h.waiters[topic] == nil {
			h.waiters[topic] = map[*waiter]struct{}{}
		}
		h.waiters[topic][w] = struct{}{}
	}
	return w
}

// stop ends the waiting.
func (h *hub) stop(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range w.topics {
		delete(h.waiters[topic], w)
		if len(h.waiters[topic]) == 0 {
			delete(h.waiters, topic)
		}
	}
}

// wake wakes everybody who listens to one of the topics.
func (h *hub) wake(topics ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, topic := range topics {
		for w := range h.waiters[topic] {
			w.once.Do(func() { close(w.woken) })
		}
	}
}
