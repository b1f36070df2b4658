package msc4243

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// The bounds are the suite's own (the proposal has none), and are stretched by the timeout scale.
const (
	// floodTries is how often a victim's domain may be tried during a flood of made-up members of it and
	// the floodMessages messages that follow, besides once for each second that it lasts. A homeserver
	// that tries with every event, or with every message that it sends, does so several hundred times;
	// one that doubles its pauses from a tenth of a second on tries ten times, on each of a few
	// connections.
	floodTries = 100
	// floodMessages is how many messages follow a flood, each of which the homeserver has to send to
	// every domain in the room.
	floodMessages = 200
	// shortly is how often a domain may be tried that has failed a moment ago, while 50 more members of
	// it join another room and 20 messages are sent there.
	shortly = 10
	// floodPatience is how long a homeserver may take to deal with a flood of a thousand members.
	floodPatience = 2 * time.Minute
)

// scaled stretches a bound on numbers of requests: a slow machine has more time for them.
func scaled(tries int) int { return int(wait.Scaled(time.Duration(tries))) }

// victim is a domain that made-up members claim to be of.
type victim struct {
	name        string
	requirement string
	domain      matrix.ServerName
	// tried is how often the domain was tried so far, and for what.
	tried func() (count int, detail string)
}

// attempts counts the requests of a homeserver to a fake server, but for those about keys of servers,
// which the fake server's own questions can cause.
func attempts(peer *blueprints.Peer, ops ...fakeserver.Operation) func() (int, string) {
	return func() (int, string) {
		count, kinds := 0, map[fakeserver.Operation]int{}
		for _, e := range peer.Transcript().Exchanges(nil) {
			if e.Direction == fakeserver.Inbound && e.Operation != fakeserver.OpServerKeys {
				kinds[e.Operation]++
			}
		}
		for op, n := range kinds {
			if len(ops) == 0 || op == ops[0] {
				count += n
			}
		}
		return count, fmt.Sprint(kinds)
	}
}

// connections counts the connections to a listener.
func connections(mute *fakeserver.Mute) func() (int, string) {
	return func() (int, string) {
		count := mute.Connections()
		return count, fmt.Sprintf("%d connections", count)
	}
}

// failEverything answers every request with 500.
func failEverything(peer *blueprints.Peer) {
	for _, op := range []fakeserver.Operation{
		fakeserver.OpQueryAccounts, fakeserver.OpSend, fakeserver.OpServerKeys, fakeserver.OpEvent, fakeserver.OpState,
		fakeserver.OpStateIDs, fakeserver.OpBackfill, fakeserver.OpMissingEvents, fakeserver.OpProfile, fakeserver.OpUserDevices,
		fakeserver.OpKeysQuery,
	} {
		peer.Override(op, fakeserver.With(fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "out of order")))
	}
}

// victims are domains that fail in every way, and one that is well and knows of nothing. That one is
// sent the room's events with good reason; only what it is asked about keys counts.
func victims(t testing.TB, r *blueprints.Room) []victim {
	t.Helper()
	hangsUp, silent, failing, ignorant := r.Mute(t, true), r.Mute(t, false), r.Scene.Peer(t), r.Scene.Peer(t)
	failEverything(failing)
	ignorant.AnswerAccounts(blueprints.Unknown())
	return []victim{
		{"hangs up", "MSC4243-DOS-01", hangsUp.Name(), connections(hangsUp)},
		{"never answers", "MSC4243-DOS-01", silent.Name(), connections(silent)},
		{"answers 500", "MSC4243-DOS-01", failing.Name(), attempts(failing)},
		{"answers M_UNKNOWN", "MSC4243-DOS-03", ignorant.Name(), attempts(ignorant, fakeserver.OpQueryAccounts)},
	}
}

// Potential Issues: "Servers MUST have a global backoff timer per-domain to ensure that attackers cannot
// repeatedly join users with fake domains to popular rooms to cause amplification attacks." A server
// floods two rooms with members of four domains that have nothing to do with it, and then there is talk
// in the rooms. COUNTERSIGN_FLOOD says how many members.
func TestFlood_IsNotPassedOn(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-DOS-01", "MSC4243-DOS-03", "MSC4243-DOS-06")
	rooms := []*blueprints.Room{hosting(t)}
	rooms = append(rooms, anotherHosted(t, rooms[0]))
	domains := victims(t, rooms[0])

	const wave = 25 // members of a domain, one after the other
	started := time.Now()
	crowd := map[matrix.ServerName]string{}
	for sent := 0; sent < conform.Flood(t); sent += wave * len(domains) {
		for i, v := range domains {
			r := rooms[(sent/wave+i)%len(rooms)]
			joins := r.Crowd(t, v.domain, wave)
			crowd[v.domain] = joins[len(joins)-1].ID()
		}
	}
	for i := range floodMessages {
		r := rooms[i%len(rooms)]
		r.Alice.MustSay(conform.Setup(t), r.ID, "what a crowd")
	}
	for _, r := range rooms {
		fenceAfterFlood(t, r)
	}
	lasted := time.Since(started)
	bound := scaled(floodTries) + int(lasted.Seconds())

	tried := map[string]string{}
	for _, v := range domains {
		count, detail := v.tried()
		tried[v.name] = detail
		if count > bound {
			conform.Violation(t, v.requirement, fmt.Sprintf("a domain that %s to be tried at most %d times while %d made-up members of it join, and %d messages are sent",
				v.name, bound, conform.Flood(t)/len(domains), floodMessages), detail)
		}
	}
	conform.Observed(t, "the flood lasted %v; %v", lasted.Round(100*time.Millisecond), tried)
	judgeSyncAfterFlood(t, rooms[0], domains, crowd)
}

// anotherHosted is a second room of alice's with fay in it.
func anotherHosted(t testing.TB, r *blueprints.Room) *blueprints.Room {
	t.Helper()
	twin := *r
	twin.ID = r.Alice.MustCreateRoom(conform.Setup(t), publicRoom(r))
	twin.FayJoins(t)
	return &twin
}

// fenceAfterFlood is Room.Fence with more patience.
func fenceAfterFlood(t testing.TB, r *blueprints.Room) {
	t.Helper()
	sentinel := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("sentinel"))
	err := wait.Until(t.Context(), wait.Scaled(floodPatience), "the flood to be dealt with", func(ctx context.Context) (bool, error) {
		if err := r.Alice.SyncUntil(ctx, "the sentinel", func(v *csapi.View) bool { return v.Room(r.ID).Has(sentinel.ID()) }); err != nil {
			return false, err
		}
		return true, nil
	})
	if err != nil {
		conform.Inconclusive(t, "%v", err)
	}
}

// judgeSyncAfterFlood looks at what a client is shown of a room full of made-up members, and records how
// long it takes.
func judgeSyncAfterFlood(t testing.TB, r *blueprints.Room, domains []victim, crowd map[matrix.ServerName]string) {
	t.Helper()
	first := r.Alice.Sync(t, csapi.SyncRequest{Filter: shortTimeline})
	since := first.MustString(t, "next_batch")
	later := r.Alice.Sync(t, csapi.SyncRequest{Since: since})
	must.Be(t, later.OK(), "an answer of /sync, got %s", later)
	for _, v := range domains {
		must.Be(t, !display(first.Body).has(string(v.domain)), "nothing of the made-up members of %s in /sync", v.domain)
		must.Be(t, !r.Alice.View().Room(r.ID).Has(crowd[v.domain]), "no join of a made-up member of %s in /sync", v.domain)
	}
	conform.Info(t, "MSC4243-DOS-06", fmt.Sprintf("after %d made-up members, a first /sync took %v and a later one %v",
		conform.Flood(t), first.Elapsed.Round(time.Millisecond), later.Elapsed.Round(time.Millisecond)))
}

// The back-off is "global": what was found out about a domain by asking it for keys counts in every room,
// and for events that are to be sent to it.
func TestBackoff_IsSharedByRoomsAndKindsOfRequests(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-DOS-02")
	r := hosting(t)
	second := anotherHosted(t, r)
	failing := r.Scene.Peer(t)
	failEverything(failing)
	r.Crowd(t, failing.Name(), 1)
	failing.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts)
	tried := attempts(failing)
	before, _ := tried()

	second.Crowd(t, failing.Name(), 50)
	for range 20 {
		second.Alice.MustSay(conform.Setup(t), second.ID, "is anybody there?")
	}
	second.Fence(t)
	after, detail := tried()
	if after-before > scaled(shortly) {
		conform.Violation(t, "MSC4243-DOS-02", fmt.Sprintf("a domain that has just failed to be tried at most %d times more when 50 made-up members of it join another room, and 20 messages are sent", scaled(shortly)),
			fmt.Sprintf("%d times more; %s", after-before, detail))
	}
	conform.Observed(t, "%d more attempts; %s", after-before, detail)
}

// Potential Issues, and reason: a back-off that never ends would cut off a server for good. When the
// homeserver tries again is its own affair; once that has succeeded, everything flows.
func TestBackoff_EndsWithASuccess(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-DOS-04")
	r := hosting(t)
	recovering := r.Scene.Peer(t)
	hal := recovering.Member(t, "hal")
	failing := fakeserver.With(fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "out of order"))
	restore := recovering.Override(fakeserver.OpQueryAccounts, failing)
	room := recovering.MustJoin(conform.Setup(t), r.At, r.Version, r.ID, hal)
	recovering.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts)
	restore()

	// A server that is back says so; many homeservers take it as a reason to try again.
	setup := conform.Setup(t)
	blueprints.MustSend(setup, room, hal, fakeserver.Message("I am back"))
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit())
	defer cancel()
	first := r.Alice.MustSay(setup, r.ID, "welcome back")
	if _, err := recovering.WaitPDU(ctx, func(p fakeserver.PDU) bool { return p.Event != nil && p.Event.ID() == first }); err != nil {
		conform.Skip(t, "the homeserver has not tried the domain again, and when it does is its own affair: %v", err)
	}
	for range 3 {
		eventID := r.Alice.MustSay(setup, r.ID, "how are you?")
		conform.Expect(t, "a server that has answered again is sent events as they come")
		recovering.MustReceiveEvent(t, eventID)
	}
}
