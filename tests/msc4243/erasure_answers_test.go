package msc4243

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// departed is the account key of a user of the homeserver who was in the room and has been erased. The
// text does not name what erases a user (D-27); it is assumed to be the deactivation of the account
// with its erasure. The homeserver says so to others when the function returns.
func departed(t testing.TB, r *blueprints.Room, name string) string {
	t.Helper()
	t = conform.Setup(t)
	user := local(t, r, name)
	key := keyOf(t, r, user)
	user.MustDeactivate(t, true)
	mustBecomeErased(t, r, key)
	return key
}

// mustBecomeErased waits until the homeserver says of one of its keys that it is erased, and returns
// what it says.
func mustBecomeErased(t testing.TB, r *blueprints.Room, key string) (entry gjson.Result) {
	t.Helper()
	wait.For(t, "the erasure of the account key "+key, func(context.Context) (bool, error) {
		if entry = entryOf(t, r, key); entry.Get("errcode").Str == "M_ERASED" {
			return true, nil
		}
		return false, fmt.Errorf("the answer is %s", entry.Raw)
	})
	return entry
}

// departures are the account keys of several erased users.
func departures(t testing.TB, r *blueprints.Room, count int) (keys []string) {
	t.Helper()
	for i := range count {
		keys = append(keys, departed(t, r, fmt.Sprintf("gone-%d", i)))
	}
	return keys
}

// page is one answer about erasures.
type page struct {
	// keys are the entries, which are all erased.
	keys []string
	// id and more are the erasure section.
	id   int64
	more bool
}

// erasures asks for up to limit keys that were erased after an ID, and for some keys besides.
func erasures(t testing.TB, r *blueprints.Room, id int64, limit int, keys ...string) page {
	t.Helper()
	body := map[string]any{"erasure": map[string]any{"id": id, "limit": limit}}
	if len(keys) > 0 {
		body["account_keys"] = keys
	}
	return readPage(t, question(t, r, body))
}

func readPage(t testing.TB, answer blueprints.Reply) (p page) {
	t.Helper()
	for key, entry := range entries(t, answer) {
		must.Field(t, entry, "errcode", "M_ERASED")
		p.keys = append(p.keys, key)
	}
	section := answer.JSON().Get("erasure")
	must.Be(t, isInteger(section.Get("id")), "erasure.id to be an integer, got:\n%s", answer)
	must.Be(t, section.Get("has_more").IsBool(), "erasure.has_more to be a boolean, got:\n%s", answer)
	p.id, p.more = section.Get("id").Int(), section.Get("has_more").Bool()
	return p
}

func isInteger(v gjson.Result) bool {
	return v.Type == gjson.Number && v.Raw == fmt.Sprint(v.Int())
}

// follow reads a list of erasures to its end, page by page. Others may add to it meanwhile: homeservers
// are shared by tests.
func follow(t testing.TB, r *blueprints.Room, id int64, limit int) []page {
	t.Helper()
	return followed(t, id, func(id int64) page { return erasures(t, r, id, limit) })
}

// followed is follow for one who asks in another way.
func followed(t testing.TB, id int64, ask func(id int64) page) (pages []page) {
	t.Helper()
	const endless = 2000
	for len(pages) < endless {
		p := ask(id)
		pages, id = append(pages, p), p.id
		if !p.more {
			return pages
		}
	}
	t.Fatalf("a list of erasures to end: it still says has_more after %d pages", endless)
	return nil
}

// latest is the newest erasure ID.
func latest(t testing.TB, r *blueprints.Room) int64 {
	t.Helper()
	pages := follow(t, r, 0, 1000)
	return pages[len(pages)-1].id
}

// keysOf are the keys on all pages.
func keysOf(pages []page) (keys []string) {
	for _, p := range pages {
		keys = append(keys, p.keys...)
	}
	return keys
}

// Handling GDPR erasure: "The account keys for erased users MUST return an errcode of M_ERASED [...] In
// addition, the JSON object MUST include the domain and signatures keys".
func TestErasedKey_IsAnsweredWithASignedError(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-01")
	r := hosting(t)
	setup := conform.Setup(t)
	erin := local(t, r, "erin")
	key := keyOf(t, r, erin)
	must.Field(setup, entryOf(setup, r, key), "account_name", nameOf(erin))

	erin.MustDeactivate(setup, true)
	conform.Expect(t, "the account key of an erased user is answered with M_ERASED")
	entry := mustBecomeErased(t, r, key)
	must.Field(t, entry, "domain", string(r.At))
	blueprints.MustHaveSigned(t, "MSC4243-ERASE-01", key, entry)
}

// Handling GDPR erasure, footnote eraselist: "the signed JSON object has no other information".
func TestErasedKey_TellsNothingPersonal(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-02")
	r := hosting(t)
	entry := entryOf(t, r, departed(t, r, "erin"))
	entry.ForEach(func(field, _ gjson.Result) bool {
		must.Contain(t, "fields of the object of an erased key", []string{"errcode", "error", "domain", "signatures"}, field.Str)
		return true
	})
	must.Be(t, !gjson.Valid(entry.Get("error").Str), "error to be a text, got:\n%s", entry.Raw)
}

// Handling GDPR erasure: servers "MUST [...] send all erased users between the two IDs even if those keys
// were not requested"; they "MAY make /accounts requests only for erased users".
func TestErasures_AreToldUnasked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ requirement, name, body string }{
		{"MSC4243-ERASE-03", "beside a key", `{"account_keys":["KEY"],"erasure":{"id":ID,"limit":1000}}`},
		{"MSC4243-ERASE-19", "without any key", `{"erasure":{"id":ID,"limit":1000}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := hostingAlone(t)
			gone := departures(t, r, 3)
			key := keyOf(t, r, r.Alice)
			told := map[string]gjson.Result{}
			var answers []string
			followed(t, 0, func(id int64) page {
				answer := question(t, r, keyed(strings.ReplaceAll(c.body, "ID", fmt.Sprint(id)), key))
				maps.Copy(told, answer.JSON().Get("account_keys").Map())
				answers = append(answers, answer.String())
				section := answer.JSON().Get("erasure")
				return page{id: section.Get("id").Int(), more: section.Get("has_more").Bool() && section.Get("id").Int() > id}
			})
			for _, key := range gone {
				if told[key].Get("errcode").Str != "M_ERASED" {
					conform.Violation(t, c.requirement, "M_ERASED for "+key+", which was erased after the ID", strings.Join(answers, "\n"))
				}
			}
		})
	}
}

// Handling GDPR erasure: servers MUST send "the latest erasure ID and whether there are more results",
// as "id" and "has_more" in the example.
func TestErasures_SectionOfTheAnswer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-04")
	r := hosting(t)
	departed(t, r, "erin")
	for _, body := range []string{`{"erasure":{"id":0,"limit":1}}`, `{"account_keys":["KEY"],"erasure":{"id":0,"limit":1000}}`} {
		answer := question(t, r, keyed(body, keyOf(t, r, r.Alice)))
		section := must.Succeed(t, answer).Get("erasure")
		must.Be(t, isInteger(section.Get("id")), "erasure.id to be an integer, got:\n%s", answer)
		must.Be(t, section.Get("has_more").IsBool(), "erasure.has_more to be a boolean, got:\n%s", answer)
	}
}

// Handling GDPR erasure, the example of two pages. D-11: whether the ID is the newest one or that of the
// last key on the page is open; whoever goes on from it must get every key.
func TestErasures_ComeInPages(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-05")
	r := hosting(t)
	before := latest(conform.Setup(t), r)
	gone := departures(t, r, 7)

	pages := follow(t, r, before, 3)
	told := keysOf(pages)
	for _, key := range gone {
		must.Contain(t, "the erased keys on all pages", told, key)
	}
	for _, p := range pages {
		must.Be(t, len(p.keys) <= 3, "at most 3 keys on a page, got %v", p.keys)
	}
	must.Be(t, len(pages) >= 3, "has_more while keys are missing: 7 keys came in %d pages of at most 3", len(pages))
}

// Handling GDPR erasure: "the maximum number of keys in the account_keys response MUST NOT be larger than
// the request's len(account_keys) + erasure.limit".
func TestErasures_AreBoundedByTheLimit(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-06")
	r := hosting(t)
	gone := departures(t, r, 7)
	known := keyOf(t, r, r.Alice)
	for _, c := range []struct {
		limit int
		keys  []string
	}{
		{3, []string{known, nobodys(t, 1)[0]}},
		{3, []string{known, gone[6]}}, // one of them erased
		{1, []string{gone[0], gone[6]}},
	} {
		answer := question(t, r, map[string]any{"account_keys": c.keys, "erasure": map[string]any{"id": 0, "limit": c.limit}})
		told := entries(t, answer)
		must.Be(t, len(told) <= len(c.keys)+c.limit, "at most %d entries, got %d", len(c.keys)+c.limit, len(told))
		for _, key := range c.keys {
			must.Be(t, told[key].Exists(), "an entry for %s, which was asked for, got:\n%s", key, answer)
		}
	}
}

// Handling GDPR erasure: between an ID and the same ID there is nobody.
func TestErasures_NothingAfterTheLatest(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-07")
	r := hostingAlone(t)
	departed(t, r, "erin")
	last := latest(conform.Setup(t), r)
	if again := erasures(t, r, last, 10); len(again.keys) > 0 || again.id != last || again.more {
		conform.Violation(t, "MSC4243-ERASE-07", fmt.Sprintf("no keys, the same ID %d, and no more", last), fmt.Sprintf("%+v", again))
	}
}

// Handling GDPR erasure does not say what these mean (D-11). A server has a default for them, or refuses
// them with 400.
func TestErasures_OddQuestions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement, section string
		good                       func(p page, gone []string) bool
		expected                   string
	}{
		{"an ID of the future", "MSC4243-ERASE-08", `{"id":1000000000,"limit":10}`, func(p page, _ []string) bool { return !p.more }, "nothing more"},
		{"no ID", "MSC4243-ERASE-09", `{"limit":1000}`, all, "every erased key"},
		{"no limit", "MSC4243-ERASE-09", `{"id":0}`, some, "erased keys, or has_more"},
		{"neither", "MSC4243-ERASE-09", `{}`, some, "erased keys, or has_more"},
		{"a limit of 0", "MSC4243-ERASE-09", `{"id":0,"limit":0}`, func(p page, _ []string) bool { return len(p.keys) == 0 && p.more }, "no keys, and more"},
		{"a huge limit", "MSC4243-ERASE-09", `{"id":0,"limit":1000000000}`, some, "erased keys, or has_more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := hostingAlone(t)
			gone := departures(t, r, 2)
			answer := question(t, r, `{"erasure":`+c.section+`}`)
			if answer.StatusCode() == http.StatusBadRequest {
				return
			}
			section := answer.JSON().Get("erasure")
			if answer.StatusCode() != http.StatusOK || !isInteger(section.Get("id")) || !section.Get("has_more").IsBool() {
				conform.Violation(t, c.requirement, "an answer with an erasure section, or 400", answer.String())
				return
			}
			if p := readPage(t, answer); !c.good(p, gone) {
				conform.Violation(t, c.requirement, c.expected, fmt.Sprintf("%+v", p))
			}
		})
	}
}

func all(p page, gone []string) bool {
	return !slices.ContainsFunc(gone, func(key string) bool { return !slices.Contains(p.keys, key) })
}

func some(p page, _ []string) bool { return len(p.keys) > 0 || p.more }

// Handling GDPR erasure: "a server-scoped erasure ID"; deltas can be had by it only when it never goes
// back.
func TestErasures_IDsGrowAndLast(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-10")
	r := hostingAlone(t)
	setup := conform.Setup(t)
	var gone []string
	last := int64(-1)
	grows := func(what string) {
		t.Helper()
		now := latest(t, r)
		must.Be(t, now > last, "a greater erasure ID than %d %s, got %d", last, what, now)
		last = now
	}
	for i := range 3 {
		gone = append(gone, departed(t, r, fmt.Sprintf("gone-%d", i)))
		grows("after an erasure")
	}
	witness := r.Scene.Peer(t)
	others := followed(t, 0, func(id int64) page {
		body := map[string]any{"erasure": map[string]int64{"id": id, "limit": 1000}}
		return readPage(t, witness.Ask(setup, r.At, http.MethodPost, fakeserver.AccountsPath, body))
	})
	must.Equal(t, "erasure ID that another server is told", others[len(others)-1].id, last)

	r.Restart(t, r.HS)
	must.Equal(t, "erasure ID after a restart", latest(t, r), last)
	must.SameSet(t, "erased keys after a restart", keysOf(follow(t, r, 0, 1000)), gone)
	gone = append(gone, departed(t, r, "gone-later"))
	must.SameSet(t, "keys that were erased since", keysOf(follow(t, r, last, 1000)), gone[3:])
	grows("after a restart and another erasure")
}

// Handling GDPR erasure: if the erasure section is "omitted, no erasure handling is performed".
func TestErasures_AreNotToldToWhoDoesNotAsk(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-18")
	r := hosting(t)
	departures(t, r, 3)
	known := keyOf(t, r, r.Alice)
	answer := question(t, r, asking(known))
	told := entries(t, answer)
	if _, asked := told[known]; !asked || len(told) != 1 || answer.JSON().Get("erasure").Exists() {
		conform.Violation(t, "MSC4243-QA-18", "an entry for the key that was asked for, and nothing about erasures", answer.String())
	}
}

// Handling GDPR erasure: an erased key "cannot become verified again", whoever has the name later.
func TestErasedUser_NameIsNotTheKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-20")
	r := hosting(t)
	setup := conform.Setup(t)
	erin := local(t, r, "erin")
	name, key := nameOf(erin), keyOf(t, r, erin)
	erin.MustDeactivate(setup, true)
	heir := csapi.New(t, r.HS)
	if err := heir.RegisterAccount(t.Context(), name, "another password"); err != nil {
		conform.Info(t, "MSC4243-ERASE-20", "the name of an erased user is not given out again")
		return
	}
	heir.MustJoin(setup, r.ID)
	if again := keyOf(t, r, heir); again == key {
		conform.Violation(t, "MSC4243-ERASE-20", "a new account key for the next owner of the name", "the erased key "+key)
	}
	if entry := entryOf(t, r, key); entry.Get("errcode").Str != "M_ERASED" {
		conform.Violation(t, "MSC4243-ERASE-20", "M_ERASED for the old key", entry.Raw)
	}
}

// Proposal: "The private key for the sender's account key signs the event JSON", also of the leaves by
// which a user who is being erased goes.
func TestErasedUser_LeavesAreSigned(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-21")
	r := hosting(t)
	setup := conform.Setup(t)
	erin := local(t, r, "erin")
	id := idOf(t, r, erin)
	erin.MustDeactivate(setup, true)
	conform.Expect(t, "%s leaves, with a valid signature of the account key", erin.UserID)
	leave := r.MustReceiveMember(t, string(id), "leave")
	must.Equal(t, "sender of the leave", leave.Sender(), id)
}

// Handling GDPR erasure, footnote eraselist: "servers with users who have never communicated with an erased key
// will be informed that the key is erased."
func TestErasures_AreToldToEverybody(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-03")
	r := hostingAlone(t)
	key := departed(t, r, "erin")
	there := *r
	there.Peer = r.Scene.Peer(t) // a server that shares no room with erin, and never did
	told := keysOf(follow(t, &there, 0, 1000))
	if !slices.Contains(told, key) {
		conform.Violation(t, "MSC4243-ERASE-03", "the erased key "+key+" to be told to a server that never shared a room with its user", strings.Join(told, ", "))
	}
}
