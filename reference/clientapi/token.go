package clientapi

import (
	"fmt"

	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// syncToken is a position in everything that /sync delivers.
type syncToken struct {
	// rooms is the position in the stream of events.
	rooms room.Position
	// data is the position in the stream of the users' tables.
	data userdb.Position
	// toDevice is the position of the last to-device message that was delivered. It lags behind data
	// while there are more than fit into one answer.
	toDevice userdb.Position
	// fleeting is the position in what is only kept in memory: typing and presence.
	fleeting uint64
}

// String is the token as clients have it.
func (t syncToken) String() string {
	return fmt.Sprintf("s%d_%d_%d_%d", t.rooms, t.data, t.toDevice, t.fleeting)
}

func parseSyncToken(text string) (t syncToken, err error) {
	n, err := fmt.Sscanf(text, "s%d_%d_%d_%d", &t.rooms, &t.data, &t.toDevice, &t.fleeting)
	if err != nil || n != 4 || t.rooms < 0 || t.String() != text {
		return syncToken{}, peer.InvalidParam("%q is not a token of /sync", text)
	}
	return t, nil
}

// gap is a point between two events of a timeline: directly before the place, if an event stands
// there. Read backwards, a timeline goes on with the events before it; forwards, with the place itself.
type gap room.Place

// before is the gap directly before an event.
func before(e room.Stored) gap { return gap(e.Place) }

// behind is the gap directly after an event.
func behind(e room.Stored) gap { return gap{Major: e.Place.Major, Minor: e.Place.Minor + 1} }

// behindPosition is the gap after everything that happened up to a position.
func behindPosition(p room.Position) gap { return gap{Major: p, Minor: 1} }

// backwards is where room.Engine.Timeline starts to read backwards from the gap.
func (g gap) backwards() room.Place { return room.Place(g) }

// forwards is where room.Engine.Timeline starts to read forwards from the gap.
func (g gap) forwards() room.Place { return room.Place{Major: g.Major, Minor: g.Minor - 1} }

// String is the gap as a pagination token.
func (g gap) String() string { return fmt.Sprintf("t%d_%d", g.Major, g.Minor) }

// parseGap reads a pagination token, or a token of /sync, which stands for the end of what it has
// delivered.
func parseGap(text string) (g gap, err error) {
	if t, err := parseSyncToken(text); err == nil {
		return behindPosition(t.rooms), nil
	}
	n, err := fmt.Sscanf(text, "t%d_%d", &g.Major, &g.Minor)
	if err != nil || n != 2 || g.String() != text {
		return gap{}, peer.InvalidParam("%q is not a pagination token", text)
	}
	return g, nil
}
