package msc4243

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/helpers/walks"
)

// Handling GDPR erasure, the diagram of states. Random walks: users of a fake server join, speak and are
// erased, their server says this and that about them, the homeserver restarts and clients read. After
// every step the homeserver is compared with a model that has been given the same answers. A walk that
// fails is shortened; the seed for it is part of the evidence.
func TestVerification_FollowsTheModel(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SM-01", "MSC4243-SM-02", "MSC4243-SM-04", "MSC4243-SM-05", "MSC4243-SM-06")
	scene := blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1))
	var found deviation
	failure := walks.Check(t, func(rt *rapid.T) {
		w := newWalk(t, rt, scene)
		defer func() {
			if w.found.requirement != "" {
				found = w.found
			}
		}()
		w.join(drawAnswer(rt))
		rt.Repeat(w.actions(rapid.IntRange(0, 3).Draw(rt, "restarts if 0") == 0))
	})
	if failure != "" {
		conform.Violation(t, found.requirement, found.expected, found.observed+"; "+failure)
	}
}

// deviation is where the homeserver and the model differ.
type deviation struct{ requirement, expected, observed string }

// walk is one random walk, in a room of its own.
type walk struct {
	t     *testing.T // for what must work on the way; that it does not is INCONCLUSIVE
	rt    *rapid.T
	room  *blueprints.Room
	model *model
	users []*walker
	steps []string
	found deviation
}

// walker is a user of the fake server on a walk.
type walker struct {
	*fakeserver.User
	number int
	shown  bool // clients have been shown the user
	erased bool // their server has erased them, and says so from then on
	// said are the messages of the user, by event ID.
	said []string
}

func newWalk(t *testing.T, rt *rapid.T, scene *blueprints.Scene) *walk {
	t.Helper()
	w := &walk{t: t, rt: rt, room: blueprints.HostedOn(t, scene, conform.AccountKeyVersion(t))}
	w.room.FayJoins(t)
	w.model = newModel(w.room.Peer.Name())
	return w
}

// actions are the steps that a walk can take.
func (w *walk) actions(restarts bool) map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"a user joins": func(rt *rapid.T) { w.join(drawAnswer(rt)) },
		"the server tells of a user": func(rt *rapid.T) {
			user := w.drawLiving(rt)
			w.tell(user, drawAnswer(rt))
		},
		"the server changes its mind": func(rt *rapid.T) {
			user, answer := w.drawLiving(rt), drawAnswer(rt)
			w.step("from now on user %d is answered with %q", user.number, answer.Name)
			user.AnswerWith(w.own(user, answer))
		},
		"a user speaks": func(rt *rapid.T) { w.speak(w.draw(rt)) },
		"a user is erased": func(rt *rapid.T) {
			user := w.drawLiving(rt)
			w.step("user %d is erased", user.number)
			user.erased = true
			user.AnswerWith(fakeserver.AccountAnswer{})
			user.Erase()
		},
		"a client reads": func(*rapid.T) { w.read() },
		"":               func(*rapid.T) { w.compare() },
	}
	if restarts {
		actions["the homeserver restarts"] = func(*rapid.T) {
			w.step("the homeserver restarts")
			w.room.Restart(w.t, w.room.HS)
		}
	}
	return actions
}

// drawAnswer draws what is said about one key. Answers that make the homeserver turn away from the domain
// are left to the table: no walk leads on from there.
func drawAnswer(rt *rapid.T) fakeserver.NamedAnswer {
	var rows []fakeserver.NamedAnswer
	for _, row := range fakeserver.AccountAnswers() {
		if a := row.Answer; !whole(a) && !odd(row) && len(a.Unsolicited) == 0 && len(a.AnswerEdits) == 0 && row.Case != "S12" && row.Case != "S21" {
			rows = append(rows, row)
		}
	}
	// Half of the time it is one of those that change something.
	if rapid.Bool().Draw(rt, "takes effect") {
		kept := rows[:0]
		for _, row := range rows {
			if changes()[row.Case] != nothing {
				kept = append(kept, row)
			}
		}
		rows = kept
	}
	return rows[rapid.IntRange(0, len(rows)-1).Draw(rt, "answer")]
}

// own is an answer in which the other name, if there is one, is the user's alone.
func (w *walk) own(user *walker, row fakeserver.NamedAnswer) fakeserver.AccountAnswer {
	if row.Case == "S2" {
		row.Answer.Edits = []fakeserver.Edit{{Path: "account_name", JSON: `"renamed-` + user.Name() + `"`}}
	}
	return row.Answer
}

// draw draws one of the users.
func (w *walk) draw(rt *rapid.T) *walker {
	return w.users[rapid.IntRange(0, len(w.users)-1).Draw(rt, "user")]
}

// drawLiving draws one of the users whom their server has not erased.
func (w *walk) drawLiving(rt *rapid.T) *walker {
	user := w.draw(rt)
	if user.erased {
		rt.Skip("the user drawn was erased, which nothing follows: another step is drawn")
	}
	return user
}

func (w *walk) step(format string, args ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, args...))
	w.rt.Logf("%s", w.steps[len(w.steps)-1])
}

// join has a new user join, about whom the homeserver asks.
func (w *walk) join(row fakeserver.NamedAnswer) {
	user := &walker{User: w.room.Peer.Member(w.t, "walker"), number: len(w.users)}
	w.step("user %d joins and is answered with %q", user.number, row.Name)
	w.users = append(w.users, user)
	s := &subject{user.User, w.room, w.room.Fay, unverified}
	s.joins(w.t, w.own(user, row))
}

// tell has the homeserver be told of a user, in the answer about somebody new.
func (w *walk) tell(user *walker, row fakeserver.NamedAnswer) {
	w.step("of user %d the homeserver is told %q in an answer about somebody new", user.number, row.Name)
	newcomer := w.room.Peer.Member(w.t, "newcomer")
	s := &subject{newcomer, w.room, w.room.Fay, unverified}
	if row.Answer.Omit {
		s.joins(w.t, fakeserver.AccountAnswer{})
	} else {
		s.joins(w.t, fakeserver.AccountAnswer{Unsolicited: []fakeserver.Unsolicited{{Name: user.Name(), Answer: w.own(user, row)}}})
	}
	w.room.Alice.MustSeeMember(conform.Setup(w.t), w.room.ID, w.room.ClientID(newcomer), "join")
}

// hear gives the model the answers that the homeserver was given.
func (w *walk) hear() (news bool) {
	return w.model.hear(w.room.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpQueryAccounts)))
}

// speak has a user say something, which alice sees or does not see.
func (w *walk) speak(user *walker) {
	w.step("user %d speaks", user.number)
	setup := conform.Setup(w.t)
	w.hear()
	before := w.model.of(user.Key())
	message := blueprints.MustSend(setup, w.room.Room, user.User, fakeserver.Message("on my way"))
	user.said = append(user.said, message.ID())
	w.room.Fence(w.t)
	if w.hear(); w.model.of(user.Key()) != before {
		return // the homeserver has asked meanwhile, so that either is right
	}
	shown := w.room.Alice.View().Room(w.room.ID).Event(message.ID())
	w.judge(user, before, shown.Exists(), shown.Get("sender").Str, "a message")
}

// settling is how long the homeserver may take to deal with an answer that it was given while this test
// looked at it: it may ask again at any time.
const settling = 300 * time.Millisecond

// compare looks at every user in the list of members. The homeserver has dealt with the answers of the
// last step when it shows somebody about whom it has asked since.
func (w *walk) compare() {
	setup := conform.Setup(w.t)
	if w.hear() {
		w.room.Join(setup, "settler")
	}
	w.room.Fence(w.t)
	var members map[string]bool
	differs := func() *walker {
		w.hear()
		for _, user := range w.users {
			known := w.model.of(user.Key())
			if id := known.clientID(w.model.domain); members[user.Key()] != (id != "") || id != "" && !members[id] {
				return user
			}
		}
		return nil
	}
	err := wait.Until(w.t.Context(), wait.Scaled(settling), "the homeserver to be as the model", func(context.Context) (bool, error) {
		members = map[string]bool{}
		for _, event := range w.room.Alice.Members(setup, w.room.ID).MustOK(setup).Get("chunk").Array() {
			members[event.Get("state_key").Str] = true
			members[event.Get("unsigned.sender_account.key").Str] = true
		}
		return differs() == nil, nil
	})
	for _, user := range w.users {
		if known := w.model.of(user.Key()); err != nil && differs() == user {
			id := known.clientID(w.model.domain)
			w.judge(user, known, members[user.Key()], map[bool]string{true: id}[members[id]], "a membership")
		}
		user.shown = members[user.Key()]
	}
}

// read has a client begin anew, and looks at what /sync has of each user.
func (w *walk) read() {
	w.step("a client reads")
	setup := conform.Setup(w.t)
	for w.hear() {
		continue // what was answered while others were looked at
	}
	room := inSync(setup, place{client: w.room.Alice, roomID: w.room.ID}, csapi.SyncRequest{Filter: longTimeline})
	if w.hear() {
		return
	}
	for _, user := range w.users {
		known := w.model.of(user.Key())
		for _, id := range user.said {
			if event := eventIn(room, id); event.Exists() && known.standing != verified {
				w.judge(user, known, true, event.Get("sender").Str, "a message in a first sync")
			}
		}
	}
}

// judge compares what clients see of a user with the model, and ends the walk where they differ.
func (w *walk) judge(user *walker, known modelled, shown bool, sender, what string) {
	id := known.clientID(w.model.domain)
	if shown == (id != "") && (id == "" || sender == id) {
		return
	}
	requirement := "MSC4243-SM-02"
	switch {
	case known.standing == unverified:
		requirement = "MSC4243-SM-01"
	case known.standing == erased && user.shown:
		requirement = "MSC4243-SM-04"
	case known.standing == erased:
		requirement = "MSC4243-SM-05"
	case user.shown:
		requirement = "MSC4243-SM-06"
	}
	seen := map[bool]string{true: "shown", false: "not shown"}[shown]
	if shown && id != "" {
		seen += " under another name than the first"
	}
	w.found = deviation{requirement, fmt.Sprintf("user %d %s", user.number, known),
		fmt.Sprintf("%s of theirs is %s to clients, after: %s", what, seen, strings.Join(w.steps, ", then "))}
	w.rt.Fatalf("user %d %s, and %s of theirs is %s", user.number, known, what, seen)
}
