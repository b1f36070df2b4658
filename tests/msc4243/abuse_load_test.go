package msc4243

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// largestAnswer is more than a homeserver may take in of one answer, in bytes: the proposal reckons with
// about a megabyte. The rest is for what networks buffer.
const largestAnswer = 200 << 20

// Footnote poll: an answer without end "would breach HTTP response size limits and cause the malicious
// response to be dropped".
func TestOversizedAnswers_AreDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer fakeserver.AccountAnswer
	}{
		{"an answer without end", fakeserver.AccountAnswer{Manner: fakeserver.Endless}},
		{"a refusal without end", fakeserver.AccountAnswer{Manner: fakeserver.Endless, Status: http.StatusBadRequest}},
		{"half a gigabyte in a gzip", fakeserver.AccountAnswer{Manner: fakeserver.GzipBomb}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-DOS-05")
			r := visiting(t)
			huge := r.Scene.Peer(t)
			huge.AnswerAccounts(c.answer)
			join := r.Place(t, huge.Member(t, "gil"))
			r.Relay(conform.Setup(t), []*matrix.Event{join})
			e := mustHangUp(t, huge)
			if e.Sent > largestAnswer {
				conform.Violation(t, "MSC4243-DOS-05", fmt.Sprintf("the homeserver to hang up before it has taken in %d bytes", largestAnswer), fmt.Sprintf("it took %d bytes", e.Sent))
			}
			conform.Observed(t, "the homeserver took %d bytes of the body", e.Sent)
			r.Fence(t) // it is well
			must.Be(t, !everythingShown(t, r).has(join.ID()), "nothing to be shown of a member whose domain answers without end")
		})
	}
}

// mustHangUp waits until the homeserver has ended the first question about keys.
func mustHangUp(t testing.TB, peer *blueprints.Peer) fakeserver.Exchange {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Scaled(patience))
	defer cancel()
	conform.Expect(t, "the homeserver hangs up on an answer that is too large")
	e, err := peer.WaitRequest(ctx, func(e fakeserver.Exchange) bool { return fakeserver.Is(fakeserver.OpQueryAccounts)(e) && e.Answered() })
	if err != nil {
		conform.Violation(t, "MSC4243-DOS-05", "the homeserver to hang up on an answer that is too large", err.Error())
		t.FailNow()
	}
	return e
}

// Potential Issues: what a domain is, is anybody's to claim. An address that a homeserver is told to
// leave alone is its own business; here, on the loopback interface, listens something that is no
// homeserver, such as a service that trusts whoever reaches it. It must not be sent a plain HTTP request.
func TestOddDomains_AreNotSpokenToInTheClear(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-DOS-07")
	r := visiting(t)
	if host := r.PeerHost(); host != "localhost" {
		conform.Skip(t, "the homeservers reach this process as %s, of which the address is not known", host)
	}
	service := r.MuteAt(t, "127.0.0.1", true)
	crowd := r.Crowd(t, service.Name(), 1)
	r.Fence(t)
	r.Next(t)
	for _, words := range service.Heard() {
		const handshake = 0x16 // the first byte of TLS
		if len(words) > 0 && words[0] != handshake {
			conform.Violation(t, "MSC4243-DOS-07", "nothing but the beginning of TLS at an address that a user ID has named", fmt.Sprintf("%q", words))
		}
	}
	must.Be(t, !everythingShown(t, r).has(crowd[0].ID()), "nothing to be shown of a member whose domain is no homeserver")
	conform.Info(t, "MSC4243-DOS-07", fmt.Sprintf("%d connections to a loopback address that a user ID has named", service.Connections()))
}

// Proposal: whoever can sign a request can ask about account keys as often as they like. A homeserver
// serves a thousand questions, or limits their rate.
func TestManyQuestions_AreServedOrLimited(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-DOS-08")
	const total, atOnce = 1000, 8
	r := hosting(t)
	key := idOf(t, r, r.Alice).Localpart()
	stranger := r.Scene.Peer(t) // so that a limit does not reach fay's server
	var mu sync.Mutex
	statuses := map[int]int{}
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for range total / atOnce {
				status := 0 // no answer
				if answer, err := stranger.QueryAccounts(t.Context(), r.At, key); err == nil {
					status = answer.Status
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	for status, count := range statuses {
		if status != http.StatusOK && status != http.StatusTooManyRequests {
			conform.Violation(t, "MSC4243-DOS-08", fmt.Sprintf("%d questions to be answered with 200 or 429", total), fmt.Sprintf("%d were answered with %d", count, status))
		}
	}
	conform.Observed(t, "answers by status: %v", statuses)
	r.Fence(t) // it is well
}
