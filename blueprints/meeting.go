package blueprints

import (
	"slices"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
)

// Meeting is a second room of alice and fay, which alice joins later: the situation in which a homeserver
// asks a domain about account keys again, those of the members whom it does not know yet and maybe of
// others (MSC4243, "Server behaviour").
type Meeting struct {
	*Room
	// Newcomer is a member whom the homeserver under test had not heard of before.
	Newcomer *fakeserver.User
	// Asked is the homeserver's question about the newcomer, with the answer that it got.
	Asked fakeserver.Exchange
}

// Meet has alice join another room that fay has made, in which there are somebody new and the given users
// of the fake server. The question about the newcomer's account key is answered as told; what the answer
// says of others (Unsolicited) reaches the homeserver whether it asked for them or not. The answer has
// been sent when the method returns.
func (r *Room) Meet(t testing.TB, answer fakeserver.AccountAnswer, others ...*fakeserver.User) *Meeting {
	t.Helper()
	t = conform.Setup(t)
	newcomer := r.Peer.Member(t, "newcomer")
	newcomer.AnswerWith(answer)
	members := slices.DeleteFunc(append(others, newcomer), func(user *fakeserver.User) bool { return user == r.Fay })
	room, err := r.Peer.CreateRoom(r.Fay, fakeserver.RoomOptions{Version: r.Version, Members: members})
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	there := *r
	there.Room, there.ID = room, room.ID()
	r.Alice.MustJoin(t, there.ID, string(r.Peer.Name()))
	r.Alice.MustSeeMember(t, there.ID, r.Alice.UserID, "join")
	asked := r.Peer.MustBeAsked(t, fakeserver.OpQueryAccounts, fakeserver.AsksFor(newcomer.Key()))
	return &Meeting{Room: &there, Newcomer: newcomer, Asked: asked}
}

// Tell is [Room.Meet] with an answer that confirms the newcomer and says something about another user,
// who is in the room too. When the homeserver asks for that user, now or later, it is told the same.
// When the method returns the homeserver has dealt with the answer.
func (r *Room) Tell(t testing.TB, about *fakeserver.User, answer fakeserver.AccountAnswer) *Meeting {
	t.Helper()
	about.AnswerWith(answer)
	m := r.Meet(t, fakeserver.AccountAnswer{Unsolicited: []fakeserver.Unsolicited{{Name: about.Name(), Answer: answer}}}, about)
	m.MustTrustNewcomer(t)
	return m
}

// MustTrustNewcomer waits until alice sees the newcomer, whom the answer has confirmed: the homeserver has
// then dealt with the rest of the answer too.
func (m *Meeting) MustTrustNewcomer(t testing.TB) {
	t.Helper()
	m.Alice.MustSeeMember(conform.Setup(t), m.ID, m.ClientID(m.Newcomer), "join")
}

// Heard reports whether the homeserver had a reason to look at what the answer says about another user:
// it asked for the user's key, or for the keys that were erased.
func (m *Meeting) Heard(user *fakeserver.User) bool {
	return m.Asked.AsksForErasures() || slices.Contains(m.Asked.AskedKeys(), user.Key())
}
