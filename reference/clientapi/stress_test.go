package clientapi

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// Whatever happens at the same time, a client that follows /sync is told every event once.
func TestSyncLosesNothing(t *testing.T) {
	t.Parallel()
	const writers, rooms, messages = 4, 3, 15
	w := newWorld(t)
	reader := w.register("reader")
	var ids []string
	for i := range rooms {
		ids = append(ids, w.register(fmt.Sprint("owner", i)).createRoom(map[string]any{"room_version": versions()[i%2], "preset": "public_chat"}))
	}
	since := reader.sync().Get("next_batch").Str
	var mu sync.Mutex
	sent := map[string]bool{}
	var wg sync.WaitGroup
	for i := range writers {
		writer := w.register(fmt.Sprint("writer", i))
		wg.Go(func() {
			for _, room := range ids {
				writer.ok(http.MethodPost, path("join", room), nil)
				for n := range messages {
					id := writer.say(room, fmt.Sprint(n))
					mu.Lock()
					sent[id] = true
					mu.Unlock()
				}
			}
		})
	}
	// The reader joins the rooms meanwhile, which brings part of their past.
	wg.Go(func() {
		for _, room := range ids {
			reader.ok(http.MethodPost, path("join", room), nil)
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()

	seen := map[string]int{}
	follow := func() (news bool) {
		answer := reader.sync("since", since, "timeout", "20", "filter", `{"room":{"timeline":{"limit":1000}}}`)
		since = answer.Get("next_batch").Str
		for _, room := range answer.Get("rooms.join").Map() {
			require.False(t, room.Get("timeline.limited").Bool())
			for _, event := range room.Get("timeline.events").Array() {
				seen[event.Get("event_id").Str]++
				news = true
			}
		}
		return news
	}
	for running := true; running || follow(); {
		select {
		case <-done:
			running = false
		default:
			follow()
		}
	}
	for id := range sent {
		require.Equal(t, 1, seen[id], "event %s", id)
	}
	require.Len(t, sent, writers*rooms*messages)
}

// Concurrent first uses of one user lead to one account key (KEY-05).
func TestFirstUsesAtOnceMintOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243})
			keys[i] = alice.ok(http.MethodGet, path("rooms", room, "messages")+"?dir=b&limit=1", nil).Get("chunk.0.unsigned.sender_account.key").Str
		})
	}
	wg.Wait()
	require.Len(t, slices.Compact(keys), 1)
}
