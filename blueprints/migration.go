package blueprints

import (
	"encoding/json"
	"slices"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Migration is a room of MSC4348 in which accounts move from one server to another. A fake server has made
// it and decides about servers; two more fake servers hold the keys of the accounts that move. The events of
// all three are built upon the one copy of the room, so that a test says what follows what; which homeserver
// is told of them, by whom and in which order, it says as well.
type Migration struct {
	// Room is a room that fay has made. Alice, on hs1, is in it.
	*Room
	// Old and New are the fake servers between which accounts move.
	Old, New *Peer
	// Sites are the room as each homeserver under test has it. In each, HS and At are the homeserver, and Alice
	// stands for the user whom it has in the room.
	Sites []*Room

	held    []*matrix.Event // what is to be sent when Together ends
	holding bool
	meets   int
}

// Mover is an account that is in the room through one server, and may move to another.
type Mover struct {
	*fakeserver.User
	// ID is the user ID, whichever server the account is on.
	ID matrix.UserID
	// From is the key of the server through which the account has joined, and To that of another accepted server.
	// Each account that moves has server keys of its own; they are held by Old and New of the Migration.
	From, To matrix.ServerKeyPair
}

// NewMigration has the homeservers hs1 and hs2 join a room that a fake server makes. It skips the test when
// one of them does not offer the room version.
func NewMigration(t testing.TB, v matrix.RoomVersion, list ...Setting) *Migration {
	t.Helper()
	r := Visited(t, v, list...)
	second := r.Server(t, "hs2")
	conform.NeedRoomVersion(t, second, v.ID)
	m := &Migration{Room: r, Old: r.Scene.Peer(t), New: r.Scene.Peer(t)}
	other := *r
	other.HS, other.At, other.Alice = second, Name(second), r.User(t, second.Alias(), "bob")
	m.Sites = []*Room{r, &other}
	r.AliceJoins(t)
	r.LetIn(conform.Setup(t), other.Alice)
	m.Fence(t)
	return m
}

// Mover brings an account into the room: both of its servers request and are accepted, and it joins through
// the old one. Every homeserver has been told of it when the method returns, and has shown a later event.
func (m *Migration) Mover(t testing.TB, name string, options ...fakeserver.UserOption) Mover {
	t.Helper()
	var mover Mover
	m.Together(t, func() {
		mover = m.Stranger(t, name, options...)
		m.Join(t, mover, mover.From)
	})
	m.Fence(t)
	return mover
}

// Stranger is [Migration.Mover] without the join.
func (m *Migration) Stranger(t testing.TB, name string, options ...fakeserver.UserOption) Mover {
	t.Helper()
	user := m.Old.Member(t, name, options...)
	if _, err := m.New.Carry(user); err != nil {
		conform.HarnessError(t, "%v", err)
	}
	mover := Mover{User: user, ID: user.ID(m.Version), From: m.Old.MintServerKey(), To: m.New.MintServerKey()}
	m.Together(t, func() {
		m.Ask(t, m.Old, mover.From, user)
		m.Ask(t, m.New, mover.To, user)
		m.Accept(t, mover.From)
		m.Accept(t, mover.To)
	})
	return mover
}

// Ask has a key of a fake server request to participate. The sender of the request need not be in the room.
func (m *Migration) Ask(t testing.TB, peer *Peer, key matrix.ServerKeyPair, sender *fakeserver.User) *matrix.Event {
	t.Helper()
	peer.HoldServerKey(key)
	request := fakeserver.Participates(key.Key().Name(), matrix.Requested).With("unverified_domain", peer.Name())
	return m.Say(t, sender, request.Through(key).AuthorisedBy(m.Room.Room.Key()))
}

// Accept has fay accept a server.
func (m *Migration) Accept(t testing.TB, key matrix.ServerKeyPair) *matrix.Event {
	t.Helper()
	return m.Say(t, m.Fay, m.Room.Room.Accepts(key.Key().Name()))
}

// Revoke has fay revoke a server.
func (m *Migration) Revoke(t testing.TB, key matrix.ServerKeyPair) *matrix.Event {
	t.Helper()
	return m.Say(t, m.Fay, m.Room.Room.Revokes(key.Key().Name()))
}

// Join has an account join through a server, and so move there if it is in the room through another.
func (m *Migration) Join(t testing.TB, mover Mover, through matrix.ServerKeyPair) *matrix.Event {
	t.Helper()
	return m.Say(t, mover.User, fakeserver.Membership(mover.ID, "join").Through(through))
}

// Say builds an honest event that follows all that the room has, and sends it to every homeserver.
func (m *Migration) Say(t testing.TB, sender *fakeserver.User, d fakeserver.Draft) *matrix.Event {
	t.Helper()
	event := NewEvent(t, m.Room.Room, sender, d)
	m.Room.Room.Add(event)
	if m.holding {
		m.held = append(m.held, event)
		return event
	}
	m.Tell(t, event)
	return event
}

// Together sends what is said by its steps when they are done, in as few transactions as that takes.
func (m *Migration) Together(t testing.TB, steps func()) {
	t.Helper()
	if m.holding {
		steps()
		return
	}
	m.holding = true
	steps()
	held := m.held
	m.holding, m.held = false, nil
	m.Tell(t, held...)
}

// Try builds an honest event and sends it to every homeserver, without making it part of the room: whether
// they accept it is the question.
func (m *Migration) Try(t testing.TB, sender *fakeserver.User, d fakeserver.Draft) *matrix.Event {
	t.Helper()
	event := NewEvent(t, m.Room.Room, sender, d)
	m.Room.Room.AddOutlier(event)
	m.Tell(t, event)
	return event
}

// Tell sends events to every homeserver, in this order.
func (m *Migration) Tell(t testing.TB, events ...*matrix.Event) {
	t.Helper()
	for _, site := range m.Sites {
		m.TellOne(t, site, events...)
	}
}

// TellOne sends events to one homeserver, in this order, each by the fake server that has co-signed it.
func (m *Migration) TellOne(t testing.TB, site *Room, events ...*matrix.Event) {
	t.Helper()
	t = conform.Setup(t)
	for len(events) > 0 {
		courier := m.courier(events[0])
		same := slices.IndexFunc(events, func(e *matrix.Event) bool { return m.courier(e) != courier })
		if same < 0 {
			same = len(events)
		}
		var pdus []json.RawMessage
		for _, e := range events[:same] {
			pdus = append(pdus, e.JSON())
		}
		if reply := courier.SendPDUs(t, site.At, pdus...); reply.StatusCode() != 200 {
			t.Fatalf("expected the transaction to be taken:\n%s", reply)
		}
		events = events[same:]
	}
}

// courier is the fake server that has co-signed an event: the host, unless the key is one of the others'.
func (m *Migration) courier(e *matrix.Event) *Peer {
	for _, peer := range []*Peer{m.Old, m.New} {
		for _, pair := range peer.ServerKeys() {
			if len(e.SignatureKeyIDs(string(pair.Key().Name()))) > 0 {
				return peer
			}
		}
	}
	return m.Peer
}

// Fence has fay send a message, and waits until every homeserver's client sees it: what was sent before has
// been dealt with. When it does not arrive the test is INCONCLUSIVE.
func (m *Migration) Fence(t testing.TB) *matrix.Event {
	t.Helper()
	sentinel := m.Say(t, m.Fay, fakeserver.Message("sentinel"))
	m.MustSee(conform.Setup(t), sentinel)
	return sentinel
}

// MustSee waits until the client of every homeserver sees an event.
func (m *Migration) MustSee(t testing.TB, e *matrix.Event) {
	t.Helper()
	for _, site := range m.Sites {
		site.Alice.MustSee(t, m.ID, e.ID())
	}
}

// Invite has fay invite an account of a fake server, which signs as well.
func (m *Migration) Invite(t testing.TB, user *fakeserver.User) *matrix.Event {
	t.Helper()
	d := fakeserver.Membership(m.UserID(user), "invite")
	d.CoSigners = []*fakeserver.User{user}
	return m.Say(t, m.Fay, d)
}

// Effects is what came of an event at every homeserver, in the order of the sites, after a [Migration.Fence].
func (m *Migration) Effects(t testing.TB, e *matrix.Event) (all []Outcome) {
	t.Helper()
	for _, site := range m.Sites {
		o, _ := site.observe(t, fakeserver.AsForged(e), site.shownAtOnce)
		all = append(all, o)
	}
	return all
}

// Refuses judges, after a [Migration.Fence], an event that no homeserver must accept. What names the event.
func (m *Migration) Refuses(t testing.TB, requirement, what string, e *matrix.Event) {
	t.Helper()
	for i, o := range m.Effects(t, e) {
		if o.Effective() {
			conform.Violation(t, requirement, what+" has no effect", m.Sites[i].HS.Alias()+": "+o.String())
		}
	}
}

// Takes judges, after a [Migration.Fence], an event that every homeserver must accept.
func (m *Migration) Takes(t testing.TB, requirement, what string, e *matrix.Event) {
	t.Helper()
	for i, o := range m.Effects(t, e) {
		if !taken(e, o) {
			conform.Violation(t, requirement, what+" is accepted", m.Sites[i].HS.Alias()+": "+o.String())
		}
	}
}

// Control is [Migration.Takes] for an event that only shows that a test can be judged: when it is not accepted,
// the test is INCONCLUSIVE.
func (m *Migration) Control(t testing.TB, what string, e *matrix.Event) {
	t.Helper()
	for i, o := range m.Effects(t, e) {
		if !taken(e, o) {
			conform.Inconclusive(t, "the control failed: %s is not accepted by %s: %s", what, m.Sites[i].HS.Alias(), o)
		}
	}
}

// taken reports whether an event is where an accepted one would be.
func taken(e *matrix.Event, o Outcome) bool {
	if _, isState := e.StateKey(); isState {
		return o.InState
	}
	return o.Shown
}
