package msc4243

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// maxKeys is how many keys a request should have at most (MSC4243, "Server behaviour").
const maxKeys = 2048

// patience is how long a homeserver may take to join a room some of whose domains do not answer, before
// the timeout scale. The proposal says "a reasonable amount of time"; the bound is the suite's own, and
// generous: several time-outs of a homeserver, one after the other.
const patience = 60 * time.Second

// questions are what a fake server was asked about account keys so far: the keys of each request that
// has any. A request without keys is about erased ones only.
func questions(peer *blueprints.Peer) (asked [][]string) {
	for _, e := range peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpQueryAccounts)) {
		if keys := e.AskedKeys(); len(keys) > 0 {
			asked = append(asked, keys)
		}
	}
	return asked
}

// mustBeQuestioned waits until a fake server has been asked for all of the keys, and returns the keys
// of each request. A homeserver that does not ask breaks the requirement.
func mustBeQuestioned(t testing.TB, requirement string, peer *blueprints.Peer, keys []string) (asked [][]string) {
	t.Helper()
	want := sorted(keys)
	err := wait.Until(t.Context(), wait.Limit(), "questions", func(context.Context) (bool, error) {
		asked = questions(peer)
		got := slices.Compact(sorted(slices.Concat(asked...)))
		missing := slices.DeleteFunc(slices.Clone(want), func(key string) bool {
			_, found := slices.BinarySearch(got, key)
			return found
		})
		if len(missing) > 0 {
			return false, fmt.Errorf("%d of %d keys were not asked for", len(missing), len(want))
		}
		return true, nil
	})
	if err != nil {
		conform.Violation(t, requirement, fmt.Sprintf("%s to be asked for the keys of its members", peer.Name()), err.Error())
	}
	return asked
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// populate places n users of a fake server in the room, who tells their names when it is asked, and
// returns their account keys.
func populate(t testing.TB, r *blueprints.Room, peer *blueprints.Peer, n int) (keys []string) {
	t.Helper()
	for range n {
		user := peer.Member(t, "member", fakeserver.WithAnyKey())
		r.Place(t, user)
		keys = append(keys, user.Key())
	}
	return keys
}

// Server behaviour: "The server SHOULD group each key according to its claimed domain and perform a
// single /accounts query to fetch the account name for each account key."
func TestJoin_AsksEveryDomainOnce(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-01")
	keys := map[*blueprints.Peer][]string{}
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		keys[r.Peer] = append(populate(t, r, r.Peer, 13), r.Fay.Key())
		for range 2 {
			peer := r.Scene.Peer(t)
			keys[peer] = populate(t, r, peer, 13)
		}
	}))
	r.Fence(t)
	for peer, want := range keys {
		asked := mustBeQuestioned(t, "MSC4243-QC-01", peer, want)
		if len(asked) != 1 || !slices.Equal(sorted(asked[0]), sorted(want)) {
			conform.Violation(t, "MSC4243-QC-01", fmt.Sprintf("one request of %s, for the keys %v", peer.Name(), want), fmt.Sprint(asked))
		}
	}
}

// Server behaviour: "keys for the same domain SHOULD be batched into groups of 2048 keys".
func TestJoin_AsksForSoManyKeysAtOnce(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-02")
	var elsewhere *blueprints.Peer
	var keys []string
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Before(func(r *blueprints.Room) {
		elsewhere = r.Scene.Peer(t)
		keys = populate(t, r, elsewhere, maxKeys+52)
	}))
	joined := joinPatiently(t, r)
	must.Succeed(conform.Setup(t), joined)
	asked := mustBeQuestioned(t, "MSC4243-QC-02", elsewhere, keys)
	for _, request := range asked {
		if len(request) > maxKeys {
			conform.Violation(t, "MSC4243-QC-02", fmt.Sprintf("at most %d keys in a request", maxKeys), fmt.Sprintf("%d keys", len(request)))
		}
	}
	if all := slices.Concat(asked...); len(all) > len(keys) {
		conform.Violation(t, "MSC4243-QC-02", fmt.Sprintf("each of %d keys once", len(keys)), fmt.Sprintf("%d keys in %d requests", len(all), len(asked)))
	}
	conform.Observed(t, "%d keys were asked for in %d requests; the join took %v", len(keys), len(asked), joined.Elapsed.Round(time.Millisecond))
}

// joinPatiently has alice join fay's room, for as long as it may take. The status is the caller's to
// judge; a homeserver that does not answer in time stops the test.
func joinPatiently(t testing.TB, r *blueprints.Room) *csapi.Response {
	t.Helper()
	response, err := tryJoin(t.Context(), r)
	if err != nil {
		conform.Inconclusive(t, "alice cannot join the room: %v", err)
	}
	return response
}

func tryJoin(ctx context.Context, r *blueprints.Room) (*csapi.Response, error) {
	via := string(r.Peer.Name())
	return r.Alice.Do(ctx, http.MethodPost, csapi.Path("v3", "join", r.ID), csapi.Query("server_name", via), csapi.Query("via", via),
		csapi.Body(struct{}{}), csapi.Timeout(wait.Scaled(patience)))
}

// Server behaviour: asking "SHOULD be done prior to sending the room information to clients".
func TestJoin_ShowsTheRoomWhenTheNamesAreKnown(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-03")
	const delay = time.Second // far below any reasonable time-out, and far above what a homeserver needs to show a room
	r := blueprints.Visited(t, conform.AccountKeyVersion(t))
	r.Peer.Override(fakeserver.OpQueryAccounts, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		select {
		case <-time.After(delay):
		case <-q.Context.Done():
		}
		return honest(q)
	})
	joined := make(chan error, 1)
	go func() {
		_, err := tryJoin(t.Context(), r)
		joined <- err
	}()
	r.Alice.MustSyncUntil(conform.Setup(t), "the room", func(v *csapi.View) bool { return v.Room(r.ID).Section == "join" })
	// The first answer of /sync that has the room.
	room := r.Alice.View().Room(r.ID)
	if member := room.State("m.room.member", r.ClientID(r.Fay)); !member.Exists() {
		conform.Violation(t, "MSC4243-QC-03", "fay, whose server takes a second to confirm her, in the first /sync with the room", "she is not in it")
	}
	if create := room.State("m.room.create", ""); create.Get("sender").Str != r.ClientID(r.Fay) {
		conform.Violation(t, "MSC4243-QC-03", "the create event in the first /sync with the room, by "+r.ClientID(r.Fay), "it is "+create.Raw)
	}
	must.NoError(conform.Setup(t), "joining the room", <-joined)
}

// Server behaviour: "Servers should time out requests after a reasonable amount of time in order to
// ensure they do not delay new rooms appearing on clients." Here with three domains at once that do not
// answer, in three ways, so that asking one after the other takes its time.
func TestJoin_IsNotHeldUpByDomainsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-04")
	silent := map[string]*matrix.Event{}
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Before(func(r *blueprints.Room) {
		for name, manner := range map[string]fakeserver.Manner{"hangs": fakeserver.Hang, "trickles": fakeserver.Trickle} {
			peer := r.Scene.Peer(t)
			peer.AnswerAccounts(fakeserver.AccountAnswer{Manner: manner})
			silent[name] = r.Place(t, peer.Member(t, "gil"))
		}
		mute := r.Scene.Mute(t, false)
		joins, err := r.Room.Crowd(mute.Name(), 1)
		must.NoError(conform.Setup(t), "making a member of a silent domain", err)
		r.Room.Ignore(mute.Name())
		silent["never speaks TLS"] = joins[0]
	}))
	joined, err := tryJoin(t.Context(), r)
	if err != nil {
		conform.Violation(t, "MSC4243-QC-04", fmt.Sprintf("the room within %v", wait.Scaled(patience)), err.Error())
		return
	}
	must.Succeed(conform.Setup(t), joined)
	conform.Info(t, "MSC4243-QC-04", fmt.Sprintf("joining took %v with three domains that do not answer", joined.Elapsed.Round(100*time.Millisecond)))

	r.Fence(t)
	if membership := r.Member(t, r.ClientID(r.Fay)); membership != "join" {
		conform.Violation(t, "MSC4243-QC-04", "fay, whose server answers, to be shown as a member", fmt.Sprintf("her membership is %q", membership))
	}
	shown := everythingShown(t, r)
	for name, join := range silent {
		must.Be(t, !shown.has(join.ID()), "no member of a domain that %s to be shown", name)
	}
}

// Handling GDPR erasure: "Requesting servers SHOULD persist the erasure ID per-server and include it in
// their /accounts requests, along with a limit".
func TestQuestions_GoOnFromTheErasureID(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-20")
	var latest int
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		for range 3 {
			latest = r.Peer.Member(t, "erased").Erase()
		}
	}))
	setup := conform.Setup(t)
	first := r.Peer.MustBeAsked(setup, fakeserver.OpQueryAccounts, fakeserver.AsksFor(r.Fay.Key()))
	newcomer := r.Join(t, "newcomer")
	second := r.Peer.MustBeAsked(setup, fakeserver.OpQueryAccounts, fakeserver.AsksFor(newcomer.Key()))

	id := erasureOf(t, first)
	if id > int64(latest) {
		conform.Violation(t, "MSC4243-QC-20", "a first request whose erasure ID is before the first erasure", fmt.Sprint(id))
	}
	if id := erasureOf(t, second); id != int64(latest) {
		conform.Violation(t, "MSC4243-QC-20", fmt.Sprintf("a second request with the erasure ID %d, which the first was answered with", latest), fmt.Sprint(id))
	}
}

// erasureOf is the erasure ID of a request; -1 when it has none that can be read.
func erasureOf(t testing.TB, e fakeserver.Exchange) int64 {
	t.Helper()
	erasure := gjson.GetBytes(e.RequestBody, "erasure")
	id, limit := erasure.Get("id"), erasure.Get("limit")
	if !isInteger(id) || !isInteger(limit) || limit.Int() < 1 {
		conform.Violation(t, "MSC4243-QC-20", "erasure with an integer id and a positive integer limit", string(e.RequestBody))
		return -1
	}
	return id.Int()
}

// Server-server API, "Resolving server names". Names with a port are what every test of the suite has;
// delegated names would need a port below 1024.
func TestDomains_AreFoundAsUsual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, host string }{
		{"a host name and a port", ""},
		{"an IP address and a port", "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QC-24")
			var gil *fakeserver.User
			r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
				host := r.PeerHost()
				if c.host != "" && host != "localhost" {
					conform.Skip(t, "the homeservers reach this process as %s, of which the address is not known", host)
				} else if c.host != "" {
					host = c.host
				}
				gil = r.Scene.PeerAt(t, host).Member(t, "gil")
				r.Place(t, gil)
			}))
			conform.Expect(t, "a member of %s is confirmed by the server there, and shown", gil.NameID().Domain())
			r.Alice.MustSeeMember(t, r.ID, r.ClientID(gil), "join")
		})
	}
}
