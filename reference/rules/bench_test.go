package rules

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

// receiveTarget is what taking in one event may cost, in verifications of a raw signature.
const receiveTarget = 1.4

// receive is what a server does to a message of a room with account keys: it parses the PDU, verifies
// the sender's signature, and authorises it by its auth events and by the state.
type receive struct {
	pdu       []byte
	room      *Room
	auth      []AuthEvent
	state     StateMap
	message   []byte
	key       ed25519.PublicKey
	signature []byte
}

func newReceive(t testing.TB) *receive {
	v := matrix.RoomVersionMSC4243()
	account := matrix.AccountFromSeed([]byte(strings.Repeat("s", 32)))
	sender := string(account.Key().UserID("one.example"))
	build := func(create *matrix.Event, e ev) *matrix.Event {
		e.Sender = sender
		return roomtest.Build(t, v, create, e, account.Signer())
	}
	create := build(nil, ev{Type: "m.room.create", StateKey: roomtest.Key(""), Content: `{"room_version":"org.matrix.12.4243"}`})
	room, err := NewRoom(create, VerifyAccountKey)
	require.NoError(t, err)

	users := map[string]int{}
	for i := range 20 {
		users[fmt.Sprintf("@user%d:two.example", i)] = i
	}
	join := build(create, ev{Type: "m.room.member", StateKey: &sender, Content: `{"membership":"join","displayname":"Alice"}`, Prev: []*matrix.Event{create}})
	pl := build(create, ev{Type: "m.room.power_levels", StateKey: roomtest.Key(""), Content: roomtest.JSON(map[string]any{"users": users}), Prev: []*matrix.Event{join}})
	e := build(create, ev{Type: "m.room.message", TS: 1700000000000, Prev: []*matrix.Event{pl}, Auth: []*matrix.Event{join, pl},
		Content: roomtest.JSON(map[string]string{"msgtype": "m.text", "body": strings.Repeat("a word ", 50)})})
	return &receive{
		pdu: e.JSON(), room: room, auth: []AuthEvent{{Event: join}, {Event: pl}},
		state:   StateMap{join.Tuple(): join, pl.Tuple(): pl},
		message: e.SigningBytes(), key: account.Key().PublicKey(), signature: ed25519.Sign(account.Signer().Key, e.SigningBytes()),
	}
}

func (r *receive) whole(t testing.TB) {
	e, err := matrix.ParseEvent(r.room.Version(), r.pdu)
	if err == nil {
		err = e.VerifyAccountKey(e.Sender())
	}
	if err == nil {
		err = r.room.AuthoriseByAuthEvents(e, r.auth)
	}
	if err == nil {
		err = r.room.Authorise(e, r.state)
	}
	if err != nil || !e.HashOK() {
		t.Fatal(err)
	}
}

func (r *receive) raw(t testing.TB) {
	if !ed25519.Verify(r.key, r.message, r.signature) {
		t.Fatal("the signature does not verify")
	}
}

// ratio runs both in turns and returns how much longer the whole takes than the raw verification.
func (r *receive) ratio(t testing.TB, turns int) float64 {
	var whole, raw time.Duration
	for range turns {
		start := time.Now()
		r.whole(t)
		middle := time.Now()
		r.raw(t)
		whole, raw = whole+middle.Sub(start), raw+time.Since(middle)
	}
	return float64(whole) / float64(raw)
}

func BenchmarkReceiveEvent(b *testing.B) {
	r := newReceive(b)
	b.ReportAllocs()
	b.ResetTimer()
	b.ReportMetric(r.ratio(b, b.N), "x-verify")
}

// TestReceiveEventIsFast fails when the target is missed by far; the benchmark tells by how much it is
// held.
func TestReceiveEventIsFast(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector slows Go code down, but not the assembly of crypto/ed25519")
	}
	r := newReceive(t)
	best := r.ratio(t, 100)
	for range 4 {
		best = min(best, r.ratio(t, 100))
	}
	if best > 2*receiveTarget {
		t.Fatalf("receiving an event takes %.2f × ed25519.Verify, target %.1f", best, receiveTarget)
	}
}
