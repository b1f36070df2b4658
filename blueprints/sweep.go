package blueprints

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/matrix"
)

// sweeper looks, when a test ends, at everything that the homeservers under test have sent in it:
// the answers to the test's clients, and the events to its fake servers. What must never be seen is
// looked for everywhere, whatever the test was about.
type sweeper struct {
	mu        sync.Mutex
	responses []*csapi.Response
}

// watch is the option that has a client's answers swept.
func (s *sweeper) watch() csapi.Option {
	return csapi.OnResponse(func(r *csapi.Response) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.responses = append(s.responses, r)
	})
}

// departure is something that a sweeper found.
type departure struct {
	requirement, expected, observed string
}

// shownDepartures bounds what is reported of one requirement. A server that leaks an account key
// leaks it in every answer.
const shownDepartures = 3

// sweep judges what was sent in a test.
func (s *Scene) sweep(t testing.TB) {
	t.Helper()
	s.sweeper.mu.Lock()
	responses := slices.Clone(s.sweeper.responses)
	s.sweeper.mu.Unlock()
	if len(responses) == 0 && len(s.peers) == 0 {
		return
	}
	k := newKnowledge(conform.RoomVersions(t))
	for _, server := range s.deployment.Servers() {
		k.homeservers[Name(server)] = true
	}
	for _, r := range responses {
		k.learnResponse(r)
	}
	for _, peer := range s.peers {
		k.learnPeer(peer.Server)
	}
	k.learnClaims(s.peers)
	var found []departure
	for _, r := range responses {
		found = append(found, k.sweepResponse(r)...)
	}
	swept := map[string]bool{}
	for _, peer := range s.peers {
		for _, pdu := range peer.PDUs() {
			if !swept[string(pdu.Raw)] { // a room's state comes again and again
				swept[string(pdu.Raw)] = true
				found = append(found, k.sweepPDU(pdu)...)
			}
		}
	}
	report(t, found)
}

// report hands what was found to the report, each thing once.
func report(t testing.TB, found []departure) {
	t.Helper()
	seen, counts := map[departure]bool{}, map[string]int{}
	for _, d := range found {
		if seen[d] {
			continue
		}
		seen[d] = true
		counts[d.requirement]++
		if counts[d.requirement] <= shownDepartures {
			conform.Violation(t, d.requirement, d.expected, d.observed)
		}
	}
	for id, count := range counts {
		if count > shownDepartures {
			t.Logf("%s: %d more departures were found in what the servers sent during this test", id, count-shownDepartures)
		}
	}
}

// knowledge is what a sweeper must know about a test to judge what was sent in it.
type knowledge struct {
	// homeservers are the servers under test.
	homeservers map[matrix.ServerName]bool
	// versions are the versions of the rooms that the test had, by room ID.
	versions map[string]matrix.RoomVersion
	// senders are the senders of events as they are in the DAG, by event ID.
	senders map[string]matrix.UserID
	// names are the account name user IDs of the test's users.
	names map[matrix.UserID]bool
	// forgers are the account keys of the fake servers' users, with which a test may sign in
	// anybody's name.
	forgers map[string]bool

	// events are the events themselves, and claims what those about participation say of server keys.
	events map[string]*matrix.Event
	claims map[matrix.ServerName][]claim

	known map[string]matrix.RoomVersion // every room version of the suite, by its identifier
}

func newKnowledge(known []matrix.RoomVersion) *knowledge {
	k := &knowledge{
		homeservers: map[matrix.ServerName]bool{}, versions: map[string]matrix.RoomVersion{},
		senders: map[string]matrix.UserID{}, names: map[matrix.UserID]bool{}, forgers: map[string]bool{},
		events: map[string]*matrix.Event{}, claims: map[matrix.ServerName][]claim{}, known: map[string]matrix.RoomVersion{},
	}
	for _, v := range known {
		k.known[v.ID] = v
	}
	return k
}

// learnRoom remembers the version of a room, unless the suite does not know the version.
func (k *knowledge) learnRoom(roomID, version string) {
	if v, ok := k.known[version]; ok && roomID != "" {
		k.versions[roomID] = v
	}
}

// learnEvent remembers who sent an event.
func (k *knowledge) learnEvent(e *matrix.Event) {
	if e == nil {
		return
	}
	k.senders[e.ID()] = e.Sender()
	k.events[e.ID()] = e
	k.learnRoom(e.RoomID(), e.Version().ID)
}

// learnResponse remembers the user who asked, and the versions of the rooms that the answer tells.
func (k *knowledge) learnResponse(r *csapi.Response) {
	if r.User != "" {
		k.names[matrix.UserID(r.User)] = true
	}
	body := r.JSON()
	asked := gjson.ParseBytes(r.RequestBody)
	k.learnRoom(body.Get("room_id").Str, asked.Get("room_version").Str)
	k.learnRoom(body.Get("replacement_room").Str, asked.Get("new_version").Str)
	k.learnCreates(body, roomOfTarget(r.Target))
}

// learnCreates finds the create events in a JSON value that belongs to a room, or to none.
func (k *knowledge) learnCreates(v gjson.Result, roomID string) {
	if !v.IsObject() && !v.IsArray() || !mentions(v, "m.room.create") {
		return
	}
	if v.IsObject() {
		if id := v.Get("room_id"); id.Type == gjson.String {
			roomID = id.Str
		}
		if v.Get("type").Str == "m.room.create" && v.Get("sender").Exists() {
			k.learnRoom(roomID, v.Get("content.room_version").Str)
			return
		}
	}
	v.ForEach(func(key, value gjson.Result) bool {
		k.learnCreates(value, roomUnder(key, roomID))
		return true
	})
}

// mentions reports whether a text, of characters that JSON escapes by number or not at all, may be in a value.
func mentions(v gjson.Result, text string) bool {
	return strings.Contains(v.Raw, text) || strings.Contains(v.Raw, `\u`)
}

// String names a requirement, for messages of tests of the sweepers.
func (d departure) String() string {
	return fmt.Sprintf("%s: expected %s, observed %s", d.requirement, d.expected, d.observed)
}
