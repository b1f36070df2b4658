package msc4243

import (
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
)

// ruled is a room of fay's, which alice has joined, in which an unverified user has power over another
// user of fay's server, who is verified.
type ruled struct {
	*blueprints.Room
	// ruler is unverified and has power level 75; subject is verified and has 50; guest has none;
	// stranger is not in the room.
	ruler, subject, guest, stranger *fakeserver.User
}

func newRuled(t *testing.T) ruled {
	t.Helper()
	var r ruled
	r.Room = visiting(t, blueprints.Before(func(room *blueprints.Room) {
		for name, user := range map[string]**fakeserver.User{"ruler": &r.ruler, "subject": &r.subject, "guest": &r.guest, "stranger": &r.stranger} {
			*user = room.Peer.Member(t, name)
		}
		r.ruler.AnswerWith(blueprints.Unknown())
		seat(t, room, map[*fakeserver.User]int{r.ruler: 75, r.subject: 50, r.guest: 0})
	}))
	return r
}

// levels are the room's power levels with another one for a user.
func (r ruled) levels(user *fakeserver.User, power int) fakeserver.Draft {
	content := r.Room.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
	content["users"].(map[string]any)[string(user.KeyID())] = power
	return fakeserver.State("m.room.power_levels", "", content)
}

func (r ruled) joinRules(rule string) fakeserver.Draft {
	return fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": rule})
}

func topicOf(text string) fakeserver.Draft {
	return fakeserver.State("m.room.topic", "", map[string]any{"topic": text})
}

// What others do after the ruler.

func subjectSetsTopic(r ruled) (*fakeserver.User, fakeserver.Draft) {
	return r.subject, topicOf("the subject's")
}

func guestSetsTopic(r ruled) (*fakeserver.User, fakeserver.Draft) {
	return r.guest, topicOf("the guest's")
}

func subjectRejoins(r ruled) (*fakeserver.User, fakeserver.Draft) {
	return r.subject, fakeserver.Membership(r.subject.KeyID(), "join")
}

func strangerJoins(r ruled) (*fakeserver.User, fakeserver.Draft) {
	return r.stranger, fakeserver.Membership(r.stranger.KeyID(), "join")
}

// Server behaviour: the hiding is the clients' affair; between servers, events and rules are the same for
// all users. What an unverified user does changes the room, and what others do afterwards is judged by
// it.
func TestUnverifiedUsers_Rule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		does    func(r ruled) fakeserver.Draft
		then    func(r ruled) (*fakeserver.User, fakeserver.Draft)
		allowed bool
	}{
		{"set a topic", func(ruled) fakeserver.Draft { return topicOf("the ruler's") }, subjectSetsTopic, true},
		{"kick", func(r ruled) fakeserver.Draft { return fakeserver.Membership(r.subject.KeyID(), "leave") }, subjectSetsTopic, false},
		{"ban", func(r ruled) fakeserver.Draft { return fakeserver.Membership(r.subject.KeyID(), "ban") }, subjectRejoins, false},
		{"give power", func(r ruled) fakeserver.Draft { return r.levels(r.guest, 50) }, guestSetsTopic, true},
		{"take power", func(r ruled) fakeserver.Draft { return r.levels(r.subject, 0) }, subjectSetsTopic, false},
		{"close the room", func(r ruled) fakeserver.Draft { return r.joinRules("invite") }, strangerJoins, false},
		{"leave the room open", func(r ruled) fakeserver.Draft { return r.joinRules("public") }, strangerJoins, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-AUTH-08")
			r := newRuled(t)
			event := blueprints.MustSend(conform.Setup(t), r.Room.Room, r.ruler, c.does(r))
			r.Fence(t)
			if !slices.Contains(r.StateBefore(t, r.Next(t)), event.ID()) {
				conform.Violation(t, "MSC4243-AUTH-08", "what an unverified user has the power to do is in the room's state", "it is not:\n"+string(event.JSON()))
			}
			author, d := c.then(r)
			later := try(t, r.Room, author, d)
			r.Fence(t)
			got := r.Observe(t, later)
			switch {
			case c.allowed && !got.InState:
				conform.Violation(t, "MSC4243-AUTH-08", "what others may do by what an unverified user has done is in the room's state", got.String())
			case !c.allowed && got.Effective():
				conform.Violation(t, "MSC4243-AUTH-08", "what others may not do by what an unverified user has done has no effect", got.String())
			}
		})
	}
}

// Server behaviour: events that clients are not shown are events of the room like others.
func TestUnverifiedUsers_AreBuiltUpon(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-AUTH-12")
	r := hosting(t, anybodyMay())
	mallory := r.JoinUnverified(t, "mallory")
	for name, d := range map[string]fakeserver.Draft{"a message": fakeserver.Message("unseen"), "state": blueprints.Probe()} {
		// The fence stands beside the event, so that nothing follows it.
		sentinel := fakeserver.Message("sentinel")
		sentinel.PrevEvents = r.Room.Extremities()
		event := blueprints.MustSend(conform.Setup(t), r.Room, mallory, d)
		r.Alice.MustSee(conform.Setup(t), r.ID, blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, sentinel).ID())
		if next := r.Next(t); !slices.Contains(next.PrevEvents(), event.ID()) {
			conform.Violation(t, "MSC4243-AUTH-12", "the next event of the homeserver cites "+name+" by an unverified user, which no other event follows",
				"it does not:\n"+string(next.JSON()))
		}
	}
}
