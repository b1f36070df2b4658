package room

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// Tables of the engine.
const (
	tableRooms        = "rooms"        // room ID -> roomRecord
	tableEvents       = "events"       // event ID -> record
	tableTimeline     = "timeline"     // room ID, major, minor -> event ID
	tableHoles        = "holes"        // room ID, major, minor -> IDs of unknown parents, JSON
	tableChildren     = "children"     // parent event ID, child event ID -> nothing
	tableGroups       = "state_groups" // group -> groupRecord
	tableCurrent      = "current"      // room ID, position -> group of the current state from then on
	tableMemberships  = "memberships"  // user ID, room ID -> membershipRecord
	tableInviters     = "inviters"     // user ID, room ID, invited local user ID -> nothing
	tableRevealed     = "revealed"     // room ID, position -> user ID
	tableRevealedAt   = "revealed_at"  // user ID -> position
	tableRedactions   = "redactions"   // target event ID, redaction event ID -> room ID
	tableParticipants = "participants" // server key, room ID -> nothing
	tableStream       = "stream"       // only its sequence is used: the latest position
)

// roomRecord is what is kept about a room beside its events.
type roomRecord struct {
	Version string `json:"version"`
	Create  string `json:"create"`
	// Extremities are the events on which the next event builds: accepted, and not built upon.
	Extremities []string `json:"extremities"`
	// Current is the group of the current state: the resolution of the states after the extremities.
	Current uint64 `json:"current"`
}

// record is an event as it is stored.
type record struct {
	outcome Outcome
	// before and after are the groups of the states around the event, 0 when they are not known:
	// the event is then an outlier, known only because others refer to it.
	before, after uint64
	place         Place
	redactedBy    string
	// reason is why the event was rejected or soft-failed.
	reason string
	// version is the ID of the room version.
	version string
	pdu     []byte
}

// hasState reports whether the states around the event are known. Only the state before a create
// event is empty, and the state after it is not.
func (r record) hasState() bool { return r.after != 0 }

const recordHeader = 1 + 4*8

func (r record) encode() []byte {
	b := make([]byte, 0, recordHeader+len(r.redactedBy)+len(r.reason)+len(r.version)+len(r.pdu)+8)
	b = append(b, byte(r.outcome))
	for _, n := range [...]uint64{r.before, r.after, uint64(r.place.Major), uint64(r.place.Minor)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	for _, s := range [...]string{r.redactedBy, r.reason, r.version} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, r.pdu...)
}

var errDamaged = errors.New("a stored record is damaged")

// decodeRecord reads what encode wrote; the PDU refers to b.
func decodeRecord(b []byte) (r record, err error) {
	if len(b) < recordHeader {
		return r, errDamaged
	}
	n := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	r = record{outcome: Outcome(b[0]), before: n(0), after: n(1), place: Place{Position(n(2)), int64(n(3))}}
	rest := b[recordHeader:]
	for _, s := range [...]*string{&r.redactedBy, &r.reason, &r.version} {
		size, k := binary.Uvarint(rest)
		if k <= 0 || uint64(len(rest)-k) < size {
			return r, errDamaged
		}
		*s = string(rest[k : k+int(size)])
		rest = rest[k+int(size):]
	}
	r.pdu = rest
	return r, nil
}

// membershipRecord is a row of the index of memberships.
type membershipRecord struct {
	Membership string        `json:"membership"`
	EventID    string        `json:"event_id"`
	Sender     matrix.UserID `json:"sender"`
	Position   Position      `json:"position"`
	Version    string        `json:"version"`
	// Stripped and Event are kept for memberships of rooms that this server is not in: the state
	// that came with an invitation, and the membership event itself.
	Stripped []json.RawMessage `json:"stripped,omitempty"`
	Event    json.RawMessage   `json:"event,omitempty"`
	// Through is a server in such a room: the one that the membership came from, or was handed in at.
	Through matrix.ServerName `json:"through,omitempty"`
}

func getJSON(t store.Table, key []byte, into any) (found bool, err error) {
	b := t.Get(key)
	if b == nil {
		return false, nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return false, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return true, nil
}

func putJSON(t store.Table, key []byte, value any) error {
	// Events inside a record keep their canonical spelling, which HTML escapes would change.
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	return t.Put(key, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func placeKey(roomID string, p Place) []byte {
	return store.AppendInt(store.AppendInt(store.Key(roomID), int64(p.Major)), p.Minor)
}

func parsePlace(key []byte) Place {
	_, rest := store.SplitKey(key, 1)
	if len(rest) < 16 {
		return Place{}
	}
	return Place{Position(store.Int(rest)), store.Int(rest[8:])}
}

func positionKey(roomID string, p Position) []byte {
	return store.AppendInt(store.Key(roomID), int64(p))
}
