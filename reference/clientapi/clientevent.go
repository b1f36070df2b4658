package clientapi

import (
	"encoding/json"

	"countersign/matrix"
)

// clientEvent is an event in the format of the client-server API, with users as clients know them. It
// has no event ID, room ID and time in stripped state.
type clientEvent struct {
	Content        json.RawMessage `json:"content"`
	EventID        string          `json:"event_id,omitempty"`
	OriginServerTS int64           `json:"origin_server_ts,omitempty"`
	// Redacts repeats content.redacts for clients that know older room versions.
	Redacts  string        `json:"redacts,omitempty"`
	RoomID   string        `json:"room_id,omitempty"`
	Sender   matrix.UserID `json:"sender"`
	StateKey *string       `json:"state_key,omitempty"`
	Type     string        `json:"type"`
	Unsigned *unsigned     `json:"unsigned,omitempty"`
	// name is the sender's account name user ID, empty when it is not verified. It is Sender but in rooms
	// with participation.
	name matrix.UserID
}

// isBy reports whether a client that names a user means the sender.
func (e *clientEvent) isBy(user matrix.UserID) bool {
	return user != "" && (e.Sender == user || e.name == user)
}

// unsigned is what this server adds to an event. Nothing of it comes from other servers: they could
// write anything there (MSC4243, "Gradual compatibility", leaves sender_account to this server).
type unsigned struct {
	provenance
	Age *int64 `json:"age,omitempty"`
	// Extra is something that nobody knows, which a variant adds.
	Extra bool `json:"org.countersign.extra,omitempty"`
	// Membership is the reader's membership at the event.
	Membership string `json:"membership,omitempty"`
	// PrevContent, PrevSender and ReplacesState describe the state event that this one replaced.
	PrevContent     json.RawMessage `json:"prev_content,omitempty"`
	PrevSender      matrix.UserID   `json:"prev_sender,omitempty"`
	ReplacesState   string          `json:"replaces_state,omitempty"`
	RedactedBecause *clientEvent    `json:"redacted_because,omitempty"`
	Relations       json.RawMessage `json:"m.relations,omitempty"`
	TransactionID   string          `json:"transaction_id,omitempty"`
	SenderAccount   *senderAccount  `json:"sender_account,omitempty"`
}

// senderAccount is who has sent an event of a room with account keys.
type senderAccount struct {
	// Key is the sender's account key.
	Key string `json:"key"`
	// UserID is the account name user ID, absent when there is none to tell.
	UserID matrix.UserID `json:"user_id,omitempty"`
}

// surroundings is what is known around an event that is shown to one reader; every part is optional.
type surroundings struct {
	// replaced is the state event that the event took the place of.
	replaced *matrix.Event
	// redaction is the redaction that took effect on the event.
	redaction *matrix.Event
	// membership is the reader's membership at the event.
	membership string
	// transactionID is the reader's transaction, when the reader's device sent the event.
	transactionID string
	// relations are the bundled aggregations, in the client's terms.
	relations json.RawMessage
	// nowMillis is the time, for the event's age.
	nowMillis int64
}
