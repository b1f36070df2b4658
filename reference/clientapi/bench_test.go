package clientapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"countersign/matrix"
)

// BenchmarkSync is one incremental /sync of one message in a room with account keys.
func BenchmarkSync(b *testing.B) {
	w := newWorld(b)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	since := alice.sync().Get("next_batch").Str
	alice.say(room, "hello")
	b.ResetTimer()
	for b.Loop() {
		alice.sync("since", since)
	}
}

// BenchmarkQuietSync is an incremental /sync that has nothing to tell.
func BenchmarkQuietSync(b *testing.B) {
	w := newWorld(b)
	alice := w.register("alice")
	for range 5 {
		publicKeyRoom(alice)
	}
	since := alice.sync().Get("next_batch").Str
	b.ResetTimer()
	for b.Loop() {
		alice.sync("since", since)
	}
}

// BenchmarkRegister is one registration.
func BenchmarkRegister(b *testing.B) {
	w := newWorld(b)
	n := 0
	for b.Loop() {
		n++
		w.register(fmt.Sprint("user", n))
	}
}

// BenchmarkCreateRoom is one room with account keys, made by one user.
func BenchmarkCreateRoom(b *testing.B) {
	w := newWorld(b)
	alice := w.register("alice")
	for b.Loop() {
		publicKeyRoom(alice)
	}
}

// BenchmarkVersions is the cost of routing and answering.
func BenchmarkVersions(b *testing.B) {
	w := newWorld(b)
	req := httptest.NewRequest(http.MethodGet, "/_matrix/client/versions", nil)
	for b.Loop() {
		w.handler.ServeHTTP(httptest.NewRecorder(), req)
	}
}

// BenchmarkMembers is /members of a room with 200 users of other servers.
func BenchmarkMembers(b *testing.B) {
	w := newWorld(b)
	alice := w.register("alice")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "preset": "public_chat"})
	users := map[string]*remoteUser{}
	for i := range 200 {
		users[fmt.Sprint("u", i)] = w.remoteUser()
	}
	w.named(users)
	for _, u := range users {
		u.join(room)
	}
	b.ResetTimer()
	for b.Loop() {
		alice.ok(http.MethodGet, path("rooms", room, "members"), nil)
	}
}
