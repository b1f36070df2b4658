package blueprints

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Peer is a fake server in a test. Its own methods take the test and stop it when an exchange does
// not complete; those of fakeserver.Server are there too, for tests that look at errors.
type Peer struct {
	*fakeserver.Server
}

// limited is the context of one step of a test: it ends with the test, or after [wait.Limit].
func limited(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(wait.Context(t), wait.Limit())
}

// Member makes a user of the fake server.
func (p *Peer) Member(t testing.TB, name string, options ...fakeserver.UserOption) *fakeserver.User {
	t.Helper()
	user, err := p.NewUser(Unique(name), options...)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return user
}

// MustJoin joins a room of the given version through another server.
func (p *Peer) MustJoin(t testing.TB, via matrix.ServerName, v matrix.RoomVersion, roomID string, user *fakeserver.User) *fakeserver.Room {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	room, err := p.JoinRoom(ctx, via, roomID, user, fakeserver.InRoomVersion(v), fakeserver.SupportingVersions(v.ID))
	if err != nil {
		t.Fatalf("%s cannot join %s through %s: %v", p.userID(v, roomID, user), roomID, via, err)
	}
	return room
}

// userID is the user ID under which a user of the fake server acts in a room.
func (p *Peer) userID(v matrix.RoomVersion, roomID string, user *fakeserver.User) matrix.UserID {
	if v.HasParticipation() {
		return user.IDThrough(v, p.RoomKey(roomID))
	}
	return user.ID(v)
}

// MustSend sends an honest event to every server in the room, each of which must answer the
// transaction with 200.
func MustSend(t testing.TB, room *fakeserver.Room, sender *fakeserver.User, draft fakeserver.Draft) *matrix.Event {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	event, err := room.Send(ctx, sender, draft)
	if err != nil {
		t.Fatalf("sending %s from %s to %s: %v", draft.Type, sender.ID(room.Version()), room.ID(), err)
	}
	return event
}

// MustDeliver sends events to every server in the room as they are, without making them part of the
// fake server's own copy of the room. Each server must answer the transaction with 200; what it says
// about the events is in the transcript, and is not judged.
func MustDeliver(t testing.TB, room *fakeserver.Room, pdus ...json.RawMessage) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	if err := room.Deliver(ctx, pdus...); err != nil {
		t.Fatalf("delivering events to %s: %v", room.ID(), err)
	}
}

// NewEvent builds an honest event which is neither added to the room nor sent.
func NewEvent(t testing.TB, room *fakeserver.Room, sender *fakeserver.User, draft fakeserver.Draft) *matrix.Event {
	t.Helper()
	event, err := room.NewEvent(sender, draft)
	if err != nil {
		conform.HarnessError(t, "building %s for %s: %v", draft.Type, room.ID(), err)
	}
	return event
}

// MustReceive waits for an event that another server sends to the fake server. What completes the
// sentence "waiting for ...".
func (p *Peer) MustReceive(t testing.TB, what string, match func(fakeserver.PDU) bool) fakeserver.PDU {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	pdu, err := p.WaitPDU(ctx, match)
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
	return pdu
}

// MustReceiveEvent waits for the event with an ID to be sent to the fake server in a transaction,
// and returns it after checking that it is a valid PDU; see [Peer.MustVerify].
func (p *Peer) MustReceiveEvent(t testing.TB, eventID string) *matrix.Event {
	t.Helper()
	pdu := p.MustReceive(t, "event "+eventID, func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == eventID
	})
	p.MustVerify(t, pdu.Event)
	return pdu.Event
}

// MustBeAsked waits for an answered request of another server for an operation.
func (p *Peer) MustBeAsked(t testing.TB, op fakeserver.Operation, matches ...func(fakeserver.Exchange) bool) fakeserver.Exchange {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	exchange, err := p.WaitRequest(ctx, func(e fakeserver.Exchange) bool {
		if e.Direction != fakeserver.Inbound || e.Operation != op || !e.Answered() {
			return false
		}
		for _, match := range matches {
			if !match(e) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", op, err)
	}
	return exchange
}

// MustParse reads an event of a room version that another server sent.
func MustParse(t testing.TB, v matrix.RoomVersion, pdu []byte) *matrix.Event {
	t.Helper()
	event, err := matrix.ParseEvent(v, pdu)
	if err != nil {
		t.Fatalf("expected a valid PDU of room version %s: %v\n%s", v.ID, err, pdu)
	}
	return event
}

// MustVerify checks what makes a PDU valid by itself: its content hash, and the signature of its
// sender: by the key of the sender's server, or, where user IDs are account keys, by that key. In rooms
// with participation the keys are those that the room knows; see matrix.Event.VerifySender.
func (p *Peer) MustVerify(t testing.TB, event *matrix.Event) {
	t.Helper()
	if !event.HashOK() {
		t.Fatalf("the content hash of %s does not match:\n%s", event.ID(), event.JSON())
	}
	if err := p.verify(t, event); err != nil {
		t.Fatalf("%s is not validly signed for its sender %s: %v\n%s", event.ID(), event.Sender(), err, event.JSON())
	}
}

func (p *Peer) verify(t testing.TB, event *matrix.Event) error {
	if event.Version().HasParticipation() {
		return event.VerifySender(p.knownIn(event.RoomID()))
	}
	if event.Version().HasAccountKeys() {
		return event.VerifyAccountKey(event.Sender())
	}
	return p.VerifyServerSignature(t, event, event.Sender().Domain())
}

// knownIn finds the events that the fake server knows of a room: those of its copy, if it has one, and
// those that it was sent.
func (p *Peer) knownIn(roomID string) matrix.EventFinder {
	room, sent := p.Room(roomID), map[string]*matrix.Event{}
	for _, pdu := range p.PDUs() {
		if pdu.Event != nil {
			sent[pdu.Event.ID()] = pdu.Event
		}
	}
	return func(id string) *matrix.Event {
		if room != nil {
			if event := room.Event(id); event != nil {
				return event
			}
		}
		return sent[id]
	}
}

// VerifyServerSignature checks that a server has signed the event with one of its published keys.
func (p *Peer) VerifyServerSignature(t testing.TB, event *matrix.Event, server matrix.ServerName) error {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	err := fmt.Errorf("%w: there is none by %s", matrix.ErrNoSignature, server)
	for _, id := range event.SignatureKeyIDs(string(server)) {
		key, keyErr := p.PeerKey(ctx, server, id)
		if keyErr != nil {
			err = keyErr
			continue
		}
		if err = event.VerifySignature(string(server), id, key); err == nil {
			return nil
		}
	}
	return err
}

// Reply is what another server answered to a question of the fake server, of any status. It can be
// judged with the words of package must.
type Reply struct {
	*fakeserver.EventAnswer
	request string
}

// StatusCode is the HTTP status.
func (r Reply) StatusCode() int { return r.Response.Status }

// JSON is the body, or an absent value when the body is not JSON.
func (r Reply) JSON() gjson.Result {
	if !gjson.ValidBytes(r.Response.Body) {
		return gjson.Result{}
	}
	return gjson.ParseBytes(r.Response.Body)
}

// String shows the question and the answer.
func (r Reply) String() string {
	return fmt.Sprintf("%s\n< %d\n< %s", r.request, r.Response.Status, r.Response.Body)
}

// EventIDs are the IDs of the events in the reply, which must be valid PDUs of the version.
func (r Reply) EventIDs(t testing.TB, v matrix.RoomVersion) []string {
	t.Helper()
	var ids []string
	for _, pdu := range r.Events {
		ids = append(ids, MustParse(t, v, pdu).ID())
	}
	return ids
}

// ask turns the result of a question into a Reply, and stops the test when there was no answer.
func ask(t testing.TB, request string, question func(context.Context) (*fakeserver.EventAnswer, error)) Reply {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	answer, err := question(ctx)
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return Reply{answer, request}
}

// Event asks a server for an event.
func (p *Peer) Event(t testing.TB, server matrix.ServerName, eventID string) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s for event %s", p.Name(), server, eventID), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		return p.GetEvent(ctx, server, eventID)
	})
}

// StateAt asks a server for the state before an event.
func (p *Peer) StateAt(t testing.TB, server matrix.ServerName, roomID, eventID string) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s for the state of %s at %s", p.Name(), server, roomID, eventID), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		return p.GetState(ctx, server, roomID, eventID)
	})
}

// StateIDsAt asks a server for the IDs of the state before an event.
func (p *Peer) StateIDsAt(t testing.TB, server matrix.ServerName, roomID, eventID string) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s for the state IDs of %s at %s", p.Name(), server, roomID, eventID), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		return p.GetStateIDs(ctx, server, roomID, eventID)
	})
}

// Backfill asks a server for up to limit events, the given ones and what came before them.
func (p *Peer) Backfill(t testing.TB, server matrix.ServerName, roomID string, limit int, from ...string) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s to backfill %s from %v", p.Name(), server, roomID, from), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		return p.GetBackfill(ctx, server, roomID, limit, from...)
	})
}

// MissingEvents asks a server for up to limit events between earliest and latest.
func (p *Peer) MissingEvents(t testing.TB, server matrix.ServerName, roomID string, limit int, earliest, latest []string) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s what is missing in %s between %v and %v", p.Name(), server, roomID, earliest, latest), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		return p.GetMissingEvents(ctx, server, roomID, limit, earliest, latest)
	})
}

// SendPDUs sends events to a server in one transaction, as they are, and returns the answer whatever
// it is.
func (p *Peer) SendPDUs(t testing.TB, server matrix.ServerName, pdus ...json.RawMessage) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s sends %s %s", p.Name(), server, pdus), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		result, err := p.SendTransaction(ctx, server, pdus, nil)
		if err != nil {
			return nil, err
		}
		return &fakeserver.EventAnswer{Response: result.Response}, nil
	})
}

// Only returns the one event of the reply, which must be a valid PDU of the version.
func (r Reply) Only(t testing.TB, v matrix.RoomVersion) *matrix.Event {
	t.Helper()
	if len(r.Events) != 1 {
		t.Fatalf("expected one event, got:\n%s", r)
	}
	return MustParse(t, v, r.Events[0])
}

// Ask makes any request, signed by the fake server, and returns the answer whatever its status.
func (p *Peer) Ask(t testing.TB, server matrix.ServerName, method, path string, body any) Reply {
	t.Helper()
	return ask(t, fmt.Sprintf("%s asks %s for %s %s", p.Name(), server, method, path), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		r, err := p.Do(ctx, server, method, path, body)
		return &fakeserver.EventAnswer{Response: r}, err
	})
}
