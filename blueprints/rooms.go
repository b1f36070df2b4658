package blueprints

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/deploy"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Room is a room with people on both sides: alice, a client of the homeserver under test, and fay, a
// user of a fake server. The fake server is honest until the test has it do something else.
type Room struct {
	*Scene
	// Version is the room version.
	Version matrix.RoomVersion
	// ID is the room ID.
	ID string
	// HS is the homeserver under test, and At its name.
	HS deploy.Server
	At matrix.ServerName
	// Alice is on the homeserver under test.
	Alice *csapi.Client
	// Peer is the fake server, Fay its user, and Room its copy of the room.
	Peer *Peer
	Fay  *fakeserver.User
	Room *fakeserver.Room
}

// Setting changes the room that a situation begins with.
type Setting func(*settings)

type settings struct {
	create  map[string]any
	with    func(*Room) map[string]any
	options fakeserver.RoomOptions
	before  func(*Room)
}

// Create sets a member of alice's createRoom request: preset, initial_state, and so on.
func Create(name string, value any) Setting {
	return func(s *settings) { s.create[name] = value }
}

// CreateWith sets members of alice's createRoom request that depend on who is there.
func CreateWith(members func(*Room) map[string]any) Setting {
	return func(s *settings) { s.with = members }
}

// Options has fay make the room in a certain way.
func Options(edit func(*fakeserver.RoomOptions)) Setting {
	return func(s *settings) { edit(&s.options) }
}

// Before runs between the making of the room and the other side's joining it.
func Before(step func(*Room)) Setting {
	return func(s *settings) { s.before = step }
}

func newSettings(list []Setting) settings {
	s := settings{create: map[string]any{"preset": "public_chat"}, before: func(*Room) {}, with: func(*Room) map[string]any { return nil }}
	for _, set := range list {
		set(&s)
	}
	return s
}

// meet brings alice, fay and their servers together, before there is a room. It skips the test when
// the homeserver does not offer the room version.
func meet(t testing.TB, scene *Scene, v matrix.RoomVersion) *Room {
	t.Helper()
	hs := scene.Server(t, "hs1")
	conform.NeedRoomVersion(t, hs, v.ID)
	r := &Room{Scene: scene, Version: v, HS: hs, At: Name(hs), Alice: scene.User(t, hs.Alias(), "alice"), Peer: scene.Peer(t)}
	r.Fay = r.Peer.Member(t, "fay")
	return r
}

// Hosted is a public room that alice made; nobody else is in it.
func Hosted(t testing.TB, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	return HostedOn(t, NewScene(t), v, list...)
}

// HostedOn is [Hosted] on a scene that was set before, such as one with its own deployment.
func HostedOn(t testing.TB, scene *Scene, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	settings := newSettings(list)
	r := meet(t, scene, v)
	settings.create["room_version"] = v.ID
	maps.Copy(settings.create, settings.with(r))
	r.ID = r.Alice.MustCreateRoom(conform.Setup(t), settings.create)
	settings.before(r)
	return r
}

// FayJoined is a public room that alice made and fay joined.
func FayJoined(t testing.TB, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	r := Hosted(t, v, list...)
	r.FayJoins(t)
	return r
}

// AnotherHosted is a public room that alice makes beside the one of r, with the same people around it,
// and that fay joins.
func (r *Room) AnotherHosted(t testing.TB, list ...Setting) *Room {
	t.Helper()
	settings := newSettings(list)
	twin := *r
	twin.Room = nil // fay has no copy of this room yet
	settings.create["room_version"] = r.Version.ID
	maps.Copy(settings.create, settings.with(&twin))
	twin.ID = twin.Alice.MustCreateRoom(conform.Setup(t), settings.create)
	settings.before(&twin)
	twin.FayJoins(t)
	return &twin
}

// Another is a public room that fay makes beside the one of r, with the same people around it.
func (r *Room) Another(t testing.TB) *Room {
	t.Helper()
	return r.AnotherWith(t, fakeserver.RoomOptions{})
}

// AnotherWith is [Room.Another] for a room of a certain making; of the options the room version is that
// of r.
func (r *Room) AnotherWith(t testing.TB, options fakeserver.RoomOptions) *Room {
	t.Helper()
	options.Version = r.Version
	room, err := r.Peer.CreateRoom(r.Fay, options)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	twin := *r
	twin.Room, twin.ID = room, room.ID()
	return &twin
}

// FayJoins has fay join a room that alice made. Where servers participate, alice accepts fay's first.
func (r *Room) FayJoins(t testing.TB) {
	t.Helper()
	t = conform.Setup(t)
	if r.Version.HasParticipation() {
		r.AliceAccepts(t, r.FayRequests(t).ServerKey.Key().Name())
	}
	r.Room = r.Peer.MustJoin(t, r.At, r.Version, r.ID, r.Fay)
	r.MustSeeUser(t, r.Fay, "join")
}

// Visited is a public room that fay made; nobody else is in it.
func Visited(t testing.TB, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	return VisitedOn(t, NewScene(t), v, list...)
}

// VisitedOn is [Visited] on a scene that was set before, such as one with its own deployment.
func VisitedOn(t testing.TB, scene *Scene, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	settings := newSettings(list)
	settings.options.Version = v
	r := meet(t, scene, v)
	room, err := r.Peer.CreateRoom(r.Fay, settings.options)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	r.Room, r.ID = room, room.ID()
	settings.before(r)
	return r
}

// AliceJoined is a public room that fay made and alice joined.
func AliceJoined(t testing.TB, v matrix.RoomVersion, list ...Setting) *Room {
	t.Helper()
	r := Visited(t, v, list...)
	r.AliceJoins(t)
	return r
}

// AliceJoins has alice join a room that fay made. Where servers participate, fay accepts alice's first.
func (r *Room) AliceJoins(t testing.TB) {
	t.Helper()
	t = conform.Setup(t)
	if r.Version.HasParticipation() {
		r.LetIn(t, r.Alice)
		return
	}
	r.Alice.MustJoin(t, r.ID, string(r.Peer.Name()))
	r.Alice.MustSeeMember(t, r.ID, r.Alice.UserID, "join")
}

// ClientID is the user ID by which clients know a user of a fake server: the one with the account
// name, but where servers participate the one that the room has (D-45).
func (r *Room) ClientID(user *fakeserver.User) string {
	if r.Version.HasParticipation() {
		return string(r.UserID(user))
	}
	return string(user.NameID())
}

// UserID is the user ID under which a user of a fake server acts in the room. The server need not be in it.
func (r *Room) UserID(user *fakeserver.User) matrix.UserID {
	if r.Version.HasParticipation() {
		return user.IDThrough(r.Version, user.Server().RoomKey(r.ID))
	}
	return user.ID(r.Version)
}

// MustSeeUser waits until alice is shown a membership of a user of a fake server. Where servers
// participate, her homeserver may show the user under either form of the user ID (D-45).
func (r *Room) MustSeeUser(t testing.TB, user *fakeserver.User, membership string) {
	t.Helper()
	r.Alice.MustSyncUntil(t, fmt.Sprintf("%s to be %q", r.ClientID(user), membership), func(v *csapi.View) bool {
		return v.Room(r.ID).Membership(r.ClientID(user)) == membership || v.Room(r.ID).Membership(string(user.NameID())) == membership
	})
}

// Join has another user of the fake server join the room.
func (r *Room) Join(t testing.TB, name string) *fakeserver.User {
	t.Helper()
	user := r.Peer.Member(t, name)
	t = conform.Setup(t)
	r.Room = r.Peer.MustJoin(t, r.At, r.Version, r.ID, user)
	r.MustSeeUser(t, user, "join")
	return user
}

// Fence has fay send an honest message and waits until alice sees it: everything that the fake
// server sent before has then been dealt with, and the homeserver still takes events from it. When
// the message does not arrive the test is INCONCLUSIVE.
func (r *Room) Fence(t testing.TB) *matrix.Event {
	t.Helper()
	return r.FenceBy(t, r.Fay)
}

// FenceBy is [Room.Fence] with another sender.
func (r *Room) FenceBy(t testing.TB, sender *fakeserver.User) *matrix.Event {
	t.Helper()
	t = conform.Setup(t)
	sentinel := MustSend(t, r.Room, sender, fakeserver.Message("sentinel"))
	r.Alice.MustSee(t, r.ID, sentinel.ID())
	return sentinel
}

// Next has alice send a message and returns it as the fake server receives it. Its previous events
// are what the homeserver builds upon.
func (r *Room) Next(t testing.TB) *matrix.Event {
	t.Helper()
	t = conform.Setup(t)
	return r.Peer.MustReceiveEvent(t, r.Alice.MustSay(t, r.ID, "next"))
}

// MustStayUnseen judges an event that the homeserver must not accept, after a [Room.Fence]: alice
// was not sent it by /sync nor finds it in /messages, and the homeserver's next event does not cite
// it. It returns that next event, at which the state over federation can be asked for.
func (r *Room) MustStayUnseen(t testing.TB, event *matrix.Event) (next *matrix.Event) {
	t.Helper()
	next = r.Next(t)
	if slices.Contains(next.PrevEvents(), event.ID()) {
		t.Fatalf("the homeserver builds upon %s, which it must not accept:\n%s", event.ID(), next.JSON())
	}
	r.Alice.MustSee(conform.Setup(t), r.ID, next.ID())
	if seen := r.Alice.View().Room(r.ID).Event(event.ID()); seen.Exists() {
		t.Fatalf("the homeserver shows %s in /sync, which it must not accept:\n%s", event.ID(), seen.Raw)
	}
	if r.Alice.HistoryHas(t, r.ID, event.ID()) {
		t.Fatalf("the homeserver shows %s in /messages, which it must not accept", event.ID())
	}
	return next
}

// StateBefore is the state before an event as the homeserver tells it over federation, by event ID.
// A homeserver that does not answer leaves the test INCONCLUSIVE.
func (r *Room) StateBefore(t testing.TB, event *matrix.Event) []string {
	t.Helper()
	reply := r.Peer.StateIDsAt(conform.Setup(t), r.At, r.ID, event.ID())
	if reply.StatusCode() != 200 {
		conform.Inconclusive(t, "the state at %s cannot be had: %s", event.ID(), reply)
	}
	return reply.IDs
}

// Member is the membership of a user in the state that alice's client has; empty when there is none.
func (r *Room) Member(t testing.TB, userID string) string {
	t.Helper()
	response := r.Alice.State(t, r.ID, "m.room.member", userID)
	if response.Status == 404 {
		return ""
	}
	return response.MustOK(t).Get("membership").Str
}

// MustSeeRedacted waits until alice's homeserver shows an event without content.
func (r *Room) MustSeeRedacted(t testing.TB, eventID string) {
	t.Helper()
	wait.For(t, fmt.Sprintf("event %s to be redacted", eventID), func(context.Context) (bool, error) {
		response := r.Alice.Event(t, r.ID, eventID)
		if response.OK() && response.Get("content").Raw == "{}" {
			return true, nil
		}
		return false, fmt.Errorf("not redacted:\n%s", response)
	})
}

// StateIDs are the event IDs of the current state of a room as a client is told it.
func StateIDs(t testing.TB, client *csapi.Client, roomID string) (ids []string) {
	t.Helper()
	for _, event := range client.AllState(t, roomID).MustOK(t).Array() {
		ids = append(ids, event.Get("event_id").Str)
	}
	return ids
}

// Types are the types of events.
func Types(events []gjson.Result) (types []string) {
	for _, event := range events {
		types = append(types, event.Get("type").Str)
	}
	return types
}

// ContentIs returns a condition on a state event: the value at a path of its content is the text.
func ContentIs(path, want string) func(gjson.Result) bool {
	return func(event gjson.Result) bool { return event.Get("content."+path).String() == want }
}

// String names the room for messages.
func (r *Room) String() string { return fmt.Sprintf("%s (version %s)", r.ID, r.Version.ID) }
