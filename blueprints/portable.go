package blueprints

import (
	"fmt"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Signatures says what is wrong with the two signatures of an event of a room of MSC4348, of which the fake
// server has what it cites: that of the sender's account key and that of the co-signing server, each under the
// name of the key (MSC4348, "Proposal"). Nothing when they are good.
func (r *Room) Signatures(e *matrix.Event) error {
	find := r.Peer.knownIn(r.ID)
	if err := e.VerifyAccountKey(e.Sender()); err != nil {
		return fmt.Errorf("the account key of the sender %s: %w", e.Sender(), err)
	}
	server, err := e.Cosigner(find)
	if e.IsCreate() {
		server, err = r.founder(e.Sender())
	}
	if err != nil {
		return err
	}
	if err := e.VerifyServerKey(server); err != nil {
		return fmt.Errorf("the co-signing server %s: %w", server, err)
	}
	return nil
}

// founder is the server that the room's creator has brought in without a request.
func (r *Room) founder(creator matrix.UserID) (matrix.ServerName, error) {
	for _, key := range r.Room.Participants() {
		e := r.Room.State(matrix.ParticipationType, string(key))
		if e.Sender() == creator && e.Participation() == matrix.Accepted {
			if cosigner, err := e.Cosigner(r.Peer.knownIn(r.ID)); err == nil && cosigner == key {
				return key, nil
			}
		}
	}
	return "", fmt.Errorf("no server was brought into the room by %s without a request", creator)
}

// Received is an event of the homeserver as it came to the fake server in a transaction, validly signed or not.
func (r *Room) Received(t testing.TB, eventID string) *matrix.Event {
	t.Helper()
	return r.Peer.MustReceive(t, "event "+eventID, func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == eventID
	}).Event
}

// AliceID is the user ID under which alice acts in the room: the sender of a message of hers.
func (r *Room) AliceID(t testing.TB) matrix.UserID {
	t.Helper()
	t = conform.Setup(t)
	return r.Received(t, r.Alice.MustSay(t, r.ID, "this is me")).Sender()
}

// MustHaveSigned asserts that an account key has signed all of an object, under its own name. D-07: the text
// does not say under which key ID; any will do, and another than that of events is remarked on.
func MustHaveSigned(t testing.TB, requirement, key string, object gjson.Result) {
	t.Helper()
	parsed, err := matrix.ParseAccountKey(key)
	if err != nil {
		conform.Inconclusive(t, "reading an account key: %v", err)
	}
	signatures := object.Get("signatures").Map()[key].Map()
	if len(signatures) == 0 {
		t.Fatalf("expected a signature by %s, got:\n%s", key, object.Raw)
	}
	for id := range signatures {
		if err = matrix.VerifyJSON([]byte(object.Raw), key, matrix.KeyID(id), parsed.PublicKey()); err != nil {
			continue
		}
		if matrix.KeyID(id) != matrix.AccountKeyID {
			conform.Info(t, requirement, "the key ID of the signature is "+id)
		}
		return
	}
	t.Fatalf("expected a signature by the account key %s: %v\n%s", key, err, object.Raw)
}
