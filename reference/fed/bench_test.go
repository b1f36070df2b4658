package fed_test

import (
	"fmt"
	"testing"

	"countersign/matrix"
)

// BenchmarkSend is a message of a local user, stored and visible.
func BenchmarkSend(b *testing.B) {
	for _, v := range matrix.RoomVersions() {
		b.Run(v.ID, func(b *testing.B) {
			hs := newNetwork(b).start(b)
			id := hs.create(v, "alice", joinRules("public"))
			for i := range 200 {
				hs.join(id, fmt.Sprint("user", i))
			}
			for b.Loop() {
				hs.say(id, "alice", "hello")
			}
		})
	}
}

// BenchmarkReceive is a message from another server, in a transaction of its own: parsed, verified,
// authorised three times, stored.
func BenchmarkReceive(b *testing.B) {
	for _, v := range matrix.RoomVersions() {
		b.Run(v.ID, func(b *testing.B) {
			hs1, hs2, id, tip := pair(b, v)
			state := hs2.current(id)
			for b.Loop() {
				b.StopTimer()
				tip = hs2.build(id, "bob", message, state, tip)
				b.StartTimer()
				if _, err := hs1.engine.Receive(background, hs2.name, tip.JSON()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFederatedJoin is a join to a room of 100 members on another server.
func BenchmarkFederatedJoin(b *testing.B) {
	for _, v := range matrix.RoomVersions() {
		b.Run(v.ID, func(b *testing.B) {
			n := newNetwork(b)
			hs1, hs2 := n.start(b), n.start(b)
			for b.Loop() {
				b.StopTimer()
				id := hs1.create(v, "alice", joinRules("public"))
				for i := range 100 {
					hs1.join(id, fmt.Sprint("user", i))
				}
				b.StartTimer()
				hs2.join(id, "bob", hs1)
			}
		})
	}
}
