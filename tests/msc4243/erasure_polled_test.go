package msc4243

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// cursorOf is the erasure ID in a question; absent when the question is not about erasures.
func cursorOf(e fakeserver.Exchange) gjson.Result {
	return gjson.GetBytes(e.RequestBody, "erasure.id")
}

// askedAbout has somebody new join and returns the homeserver's question about them, which has been dealt
// with.
func askedAbout(t testing.TB, r *blueprints.Room) fakeserver.Exchange {
	t.Helper()
	setup := conform.Setup(t)
	newcomer := r.Join(t, "newcomer")
	return r.Peer.MustBeAsked(setup, fakeserver.OpQueryAccounts, fakeserver.AsksFor(newcomer.Key()))
}

// Handling GDPR erasure: "Requesting servers SHOULD persist the erasure ID per-server and include it in
// their /accounts requests".
func TestErasureID_IsRemembered(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-15")
	r := hostingAlone(t)
	other := r.Scene.Peer(t)
	for range 3 {
		r.Peer.Member(t, "gone").Erase()
	}
	expect := func(when string, asked fakeserver.Exchange, want int64) {
		t.Helper()
		limit := gjson.GetBytes(asked.RequestBody, "erasure.limit")
		if id := cursorOf(asked); id.Type != gjson.Number || id.Int() != want || !isInteger(limit) || limit.Int() < 1 {
			conform.Violation(t, "MSC4243-ERASE-15", fmt.Sprintf("the erasure ID %d, and a limit, in a question %s", want, when), string(asked.RequestBody))
		}
	}
	askedAbout(t, r) // is told of three
	expect("after an answer with this ID", askedAbout(t, r), 3)
	r.Restart(t, r.HS)
	expect("after a restart", askedAbout(t, r), 3)

	there := *r
	there.Peer, there.Fay = other, other.Member(t, "gil")
	there.Room = other.MustJoin(conform.Setup(t), r.At, r.Version, r.ID, there.Fay)
	asked := askedAbout(t, &there)
	if id := cursorOf(asked); id.Int() != 0 {
		conform.Violation(t, "MSC4243-ERASE-15", "another server's own erasure ID, of which nothing is known", string(asked.RequestBody))
	}
}

// inPages has the fake server tell of at most so many erased keys at once, whatever limit it is given.
func inPages(peer *blueprints.Peer, limit int) {
	peer.Override(fakeserver.OpQueryAccounts, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		if !gjson.GetBytes(q.Body, "erasure").IsObject() {
			return honest(q)
		}
		body, err := sjson.SetBytes(q.Body, "erasure.limit", limit)
		if err != nil {
			return fakeserver.Errorf(500, "M_UNKNOWN", "%v", err)
		}
		edited := *q
		edited.Body = body
		return honest(&edited)
	})
}

// Handling GDPR erasure, the example of two pages: "has_more" says that there is more to ask for.
func TestErasures_AreReadPageByPage(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-16")
	r := hosting(t)
	var gone []*fakeserver.User
	for i := range 5 {
		gone = append(gone, r.Join(t, fmt.Sprintf("gone-%d", i)))
	}
	inPages(r.Peer, 2)
	for _, user := range gone {
		user.Erase()
	}
	if asked := askedAbout(t, r); !asked.AsksForErasures() {
		conform.Skip(t, "the homeserver does not ask for erasures: %s", asked.RequestBody)
	}
	for _, id := range []int64{2, 4} {
		err := wait.Until(t.Context(), wait.Limit(), "a question for what is next", func(context.Context) (bool, error) {
			return len(r.Peer.Transcript().Exchanges(func(e fakeserver.Exchange) bool {
				return fakeserver.Is(fakeserver.OpQueryAccounts)(e) && e.Answered() && cursorOf(e).Exists() && cursorOf(e).Int() == id
			})) > 0, nil
		})
		if err != nil {
			conform.Violation(t, "MSC4243-ERASE-16", fmt.Sprintf("a question with the erasure ID %d, after an answer with it and has_more", id), err.Error())
			return
		}
	}
	askedAbout(t, r) // so that the last page has been dealt with
	for i, user := range gone {
		s := &subject{user, r, r.Fay, verified}
		if s.isSeen(t) {
			conform.Violation(t, "MSC4243-ERASE-16", "nothing of users who are on a later page of erased keys", fmt.Sprintf("what number %d of %d says is shown", i+1, len(gone)))
		}
	}
}

// mostQuestions is how often a homeserver may ask a domain that leads it on, until it has shown two users
// of that domain about whom it had to ask. It is the suite's own bound.
const mostQuestions = 12

// Handling GDPR erasure, footnote poll: "Malicious servers could ignore the limit and send back millions
// of erased keys, but this would breach HTTP response size limits and cause the malicious response to be
// dropped."
func TestErasures_HostileLists(t *testing.T) {
	t.Parallel()
	edits := func(id, more string) fakeserver.AccountAnswer {
		return fakeserver.AccountAnswer{AnswerEdits: []fakeserver.Edit{{Path: "erasure.id", JSON: id}, {Path: "erasure.has_more", JSON: more}}}
	}
	for _, c := range []struct {
		name   string
		answer func(t testing.TB, r *blueprints.Room) fakeserver.AccountAnswer
	}{
		{"more, without progress", hostile(edits("{asked-id}", "true"))},
		{"an ID that goes back", hostile(edits("-1", "true"))},
		{"an ID that goes back to the start", hostile(edits("0", "true"))},
		{"an ID that is a text", hostile(edits(`"9"`, "true"))},
		{"an ID that is a fraction", hostile(edits("0.5", "true"))},
		{"an ID beyond all integers", hostile(edits("1e300", "true"))},
		{"the greatest ID", hostile(edits("9007199254740991", "true"))},
		{"no ID but more", hostile(fakeserver.AccountAnswer{AnswerEdits: []fakeserver.Edit{{Path: "erasure.id", JSON: ""}, {Path: "erasure.has_more", JSON: "true"}}})},
		{"a section that is a list", hostile(fakeserver.AccountAnswer{AnswerEdits: []fakeserver.Edit{{Path: "erasure", JSON: "[]"}}})},
		{"many more keys than the limit", func(t testing.TB, r *blueprints.Room) (answer fakeserver.AccountAnswer) {
			for range 700 {
				gone := r.Peer.Member(t, "gone", fakeserver.WithAnyKey())
				answer.Unsolicited = append(answer.Unsolicited, fakeserver.Unsolicited{Name: gone.Name(), Answer: fakeserver.AccountAnswer{Erased: true}})
			}
			return answer
		}},
		{"50 MB", func(testing.TB, *blueprints.Room) fakeserver.AccountAnswer {
			return fakeserver.AccountAnswer{Body: `{"account_keys":{"` + strings.Repeat("A", 50<<20) + `":{}},"erasure":{"id":1,"has_more":true}}`}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ERASE-17")
			r := hosting(t)
			bob := r.Join(t, "bob")
			r.Peer.AnswerAccounts(c.answer(t, r))
			mallory := &subject{r.Peer.Member(t, "mallory"), r, r.Fay, unverified}
			blueprints.MustSend(conform.Setup(t), r.Room, mallory.User, fakeserver.Membership(mallory.KeyID(), "join"))
			r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(mallory.Key()))

			r.Peer.AnswerAccounts(fakeserver.AccountAnswer{})
			mustTrustInTheEnd(t, r)
			asked := len(r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpQueryAccounts)))
			if asked > mostQuestions {
				conform.Violation(t, "MSC4243-ERASE-17", fmt.Sprintf("at most %d questions, whatever the answers say", mostQuestions), fmt.Sprintf("%d questions", asked))
			}
			conform.Observed(t, "%d questions", asked)
			(&subject{bob, r, r.Fay, verified}).mustBeSeen(t, string(bob.NameID()))
		})
	}
}

// mustTrustInTheEnd has somebody new join, whom the homeserver may leave unverified for a while because
// their domain has failed, and waits until alice can find them.
func mustTrustInTheEnd(t testing.TB, r *blueprints.Room) {
	t.Helper()
	setup := conform.Setup(t)
	newcomer := r.Peer.Member(t, "newcomer")
	blueprints.MustSend(setup, r.Room, newcomer, fakeserver.Membership(newcomer.KeyID(), "join"))
	err := wait.Until(t.Context(), wait.Limit(), "a user of a domain that has led the homeserver on", func(context.Context) (bool, error) {
		return r.Member(setup, r.ClientID(newcomer)) == "join", nil
	})
	if err != nil && len(r.Peer.Transcript().Exchanges(fakeserver.AsksFor(newcomer.Key()))) == 0 {
		conform.Skip(t, "the homeserver has not asked the domain again, and when it does is its own affair: %v", err)
	}
	must.NoError(setup, "waiting for the newcomer", err)
}

func hostile(answer fakeserver.AccountAnswer) func(testing.TB, *blueprints.Room) fakeserver.AccountAnswer {
	return func(testing.TB, *blueprints.Room) fakeserver.AccountAnswer { return answer }
}

// Handling GDPR erasure: "Upon receiving an erased account key with a valid signature", each key of a
// list by itself.
func TestErasures_OfAListOnlyValidOnesCount(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-18")
	r := hosting(t)
	after := map[string]standing{
		"erased": erased, "erased-unsigned": verified, "erased-bad-signature": verified, "erased-signed-by-server-key": verified,
		"erased-at-other-domain": verified, "erased-without-domain": verified, "unknown": verified,
	}
	users := map[string]*subject{}
	var list []fakeserver.Unsolicited
	for name := range after {
		users[name] = &subject{r.Join(t, name), r, r.Fay, verified}
		answer := accountAnswer(t, name)
		users[name].AnswerWith(answer)
		list = append(list, fakeserver.Unsolicited{Name: users[name].Name(), Answer: answer})
	}
	m := r.Meet(t, fakeserver.AccountAnswer{Unsolicited: list})
	m.MustTrustNewcomer(t)
	if limit := gjson.GetBytes(m.Asked.RequestBody, "erasure.limit").Int(); limit < int64(len(list)) {
		conform.Skip(t, "the homeserver asks for %d erasures at once, and this list has %d: %s", limit, len(list), m.Asked.RequestBody)
	}
	for name, s := range users {
		must.Equal(t, fmt.Sprintf("whether a user is shown who was told of as %q", name), s.isSeen(t), after[name] == verified)
	}
}
