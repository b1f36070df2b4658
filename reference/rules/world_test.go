package rules

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// world is a room in which servers participate by key, with signatures. Carol has created it on the
// server "one".
type world struct {
	t      testing.TB
	v      matrix.RoomVersion
	room   *Room
	events map[string]*matrix.Event
	clock  int64
}

// by is somebody at a server. In rooms of MSC4348 the same name is the same account at every server.
type by struct{ user, server string }

var (
	carolAtOne = by{"carol", "one"}
	aliceAtTwo = by{"alice", "two"}
)

func seedOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func serverPair(name string) matrix.ServerKeyPair {
	return matrix.ServerKeyPairFromSeed(seedOf("server " + name))
}

func accountOf(name string) matrix.Account {
	return matrix.AccountFromSeed(seedOf("account " + name))
}

func serverName(name string) matrix.ServerName { return serverPair(name).Key().Name() }

func (w *world) id(b by) matrix.UserID {
	if w.v.HasPortableAccounts() {
		return accountOf(b.user).Key().PortableUserID()
	}
	return serverPair(b.server).Key().UserID(b.user)
}

// signers are those who must sign an event that somebody sends through a server.
func (w *world) signers(b by) []matrix.Signer {
	if w.v.HasPortableAccounts() {
		return []matrix.Signer{accountOf(b.user).Signer(), serverPair(b.server).Signer()}
	}
	return []matrix.Signer{serverPair(b.server).Signer()}
}

// draft is an event of a world: content is JSON or something that encoding/json can write.
type draft struct {
	by
	eventType string
	stateKey  *string
	content   any
	prev      []*matrix.Event
	// signers replace those who must sign, when it is not nil.
	signers []matrix.Signer
	// also sign beside those who must.
	also []matrix.Signer
}

func (w *world) text(content any) string {
	if s, ok := content.(string); ok {
		return s
	}
	b, err := json.Marshal(content)
	require.NoError(w.t, err)
	return string(b)
}

// build makes an event that cites what the selection names of a state.
func (w *world) build(state StateMap, d draft) (*matrix.Event, []AuthEvent) {
	w.t.Helper()
	w.clock++
	sender, content := w.id(d.by), []byte(w.text(d.content))
	p := matrix.ProtoEvent{Type: d.eventType, StateKey: d.stateKey, Sender: sender, Content: content, OriginServerTS: w.clock}
	if w.room != nil {
		p.RoomID = w.room.ID()
	}
	for _, prev := range d.prev {
		p.PrevEvents = append(p.PrevEvents, prev.ID())
	}
	var auth []AuthEvent
	for _, place := range w.v.AuthEventTuples(d.eventType, d.stateKey, sender, content, serverName(d.server)) {
		if e := state[place]; e != nil {
			p.AuthEvents = append(p.AuthEvents, e.ID())
			auth = append(auth, AuthEvent{Event: e})
		}
	}
	signers := d.signers
	if signers == nil {
		signers = append(w.signers(d.by), d.also...)
	}
	e, err := p.Build(w.v, signers...)
	require.NoError(w.t, err)
	w.events[e.ID()] = e
	return e, auth
}

// dropped stands for the rule of events that a server drops because of their signatures.
const dropped = "dropped"

// judge returns the rule that rejects an event, by its auth events and by the state; empty when it is
// allowed.
func (w *world) judge(state StateMap, e *matrix.Event, auth []AuthEvent) (byAuth, byState string) {
	w.t.Helper()
	if e.VerifySender(w.find) != nil {
		return dropped, dropped
	}
	rule := func(err error) string {
		var rejection *Rejection
		if err == nil {
			return ""
		}
		if !errors.As(err, &rejection) {
			w.t.Fatalf("not a rejection: %v", err)
		}
		return rejection.Rule
	}
	return rule(w.room.AuthoriseByAuthEvents(e, auth)), rule(w.room.Authorise(e, state))
}

// check requires that both the auth events and the state reject an event by a rule, or allow it.
func (w *world) check(state StateMap, d draft, rule string) {
	w.t.Helper()
	e, auth := w.build(state, d)
	byAuth, byState := w.judge(state, e, auth)
	require.Equal(w.t, rule, byState, "by the state: %s", e.JSON())
	require.Equal(w.t, rule, byAuth, "by its auth events: %s", e.JSON())
}

// checkState is check where the auth events show less than the state, and allow the event.
func (w *world) checkState(state StateMap, d draft, rule string) {
	w.t.Helper()
	e, auth := w.build(state, d)
	byAuth, byState := w.judge(state, e, auth)
	require.Equal(w.t, rule, byState, "by the state: %s", e.JSON())
	require.Equal(w.t, "", byAuth, "by its auth events: %s", e.JSON())
}

// do sends an event that is allowed, and returns the state after it.
func (w *world) do(state StateMap, d draft) StateMap {
	w.t.Helper()
	e, auth := w.build(state, d)
	byAuth, byState := w.judge(state, e, auth)
	require.Empty(w.t, byAuth+byState, "%s", e.JSON())
	after := maps.Clone(state)
	after[e.Tuple()] = e
	return after
}

func (w *world) find(id string) *matrix.Event { return w.events[id] }

func key(text string) *string { return &text }

// about is a participation event.
func about(b by, server, participation string) draft {
	return aboutWith(b, server, map[string]any{"participation": participation})
}

func aboutWith(b by, server string, content map[string]any) draft {
	return draft{by: b, eventType: matrix.ParticipationType, stateKey: key(string(serverName(server))), content: content}
}

// requestVia is a request that the other server has signed too.
func requestVia(b by, other string) draft {
	d := aboutWith(b, b.server, map[string]any{
		"participation": "requested", "request_authorised_via_server": serverName(other), "unverified_domain": b.server + ".example",
	})
	d.also = []matrix.Signer{serverPair(other).Signer()}
	return d
}

// acceptance accepts a server with the domain of its request.
func acceptance(b by, server string) draft {
	return aboutWith(b, server, map[string]any{"participation": "accepted", "unverified_domain": server + ".example"})
}

func (w *world) member(b by, target by, membership string) draft {
	return draft{by: b, eventType: "m.room.member", stateKey: key(string(w.id(target))), content: map[string]any{"membership": membership}}
}

func (w *world) join(b by) draft { return w.member(b, b, "join") }

func says(b by) draft { return draft{by: b, eventType: "m.room.message", content: `{"body":"hello"}`} }

func stateBy(b by, eventType string, content any) draft {
	return draft{by: b, eventType: eventType, stateKey: key(""), content: content}
}

func (w *world) powerLevels(users map[by]int, more map[string]any) draft {
	content := map[string]any{}
	list := map[string]int{}
	for b, level := range users {
		list[string(w.id(b))] = level
	}
	content["users"] = list
	maps.Copy(content, more)
	return stateBy(carolAtOne, "m.room.power_levels", content)
}

// admit has a server request through "one", and Carol accept it.
func (w *world) admit(state StateMap, servers ...string) StateMap {
	w.t.Helper()
	for _, s := range servers {
		state = w.do(state, requestVia(by{"anybody", s}, "one"))
		state = w.do(state, acceptance(carolAtOne, s))
	}
	return state
}

// newWorld is a room with nothing but its create event.
func newWorld(t testing.TB, v matrix.RoomVersion, createContent map[string]any) *world {
	t.Helper()
	w := &world{t: t, v: v, events: map[string]*matrix.Event{}}
	create, _ := w.build(nil, draft{by: carolAtOne, eventType: "m.room.create", stateKey: key(""), content: createContent})
	require.NoError(t, create.VerifySender(w.find))
	verify := SignatureVerifier(VerifyServerKey)
	if v.HasPortableAccounts() {
		verify = VerifyAccountKey
	}
	room, err := NewRoom(create, verify)
	require.NoError(t, err)
	w.room = room.WithEvents(w.find)
	return w
}

// founded is a world whose creator's server has accepted itself, and whose creator has joined.
func founded(t testing.TB, v matrix.RoomVersion, createContent map[string]any) (*world, StateMap) {
	t.Helper()
	w := newWorld(t, v, createContent)
	first := about(carolAtOne, "one", "accepted")
	first.prev = []*matrix.Event{w.room.Create()}
	state := w.do(StateMap{}, first)
	join := w.join(carolAtOne)
	join.prev = []*matrix.Event{state[matrix.ParticipationPlace(serverName("one"))]}
	return w, w.do(state, join)
}

// settled is a founded world that is public, with Alice on the accepted server "two". She has power
// level 100.
func settled(t testing.TB, v matrix.RoomVersion) (*world, StateMap) {
	t.Helper()
	w, state := founded(t, v, map[string]any{})
	state = w.do(state, stateBy(carolAtOne, "m.room.join_rules", `{"join_rule":"public"}`))
	state = w.do(state, w.powerLevels(map[by]int{aliceAtTwo: 100}, nil))
	state = w.admit(state, "two")
	return w, w.do(state, w.join(aliceAtTwo))
}

// eachVersion runs a test in both versions with participation.
func eachVersion(t *testing.T, test func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) { test(t, v) })
	}
}
