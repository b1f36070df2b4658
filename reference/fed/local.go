// Package fed speaks federation: it signs requests and checks those of others, finds servers and
// their keys, delivers transactions, and serves the server-server API.
package fed

import (
	"context"
	"net/url"

	"countersign/matrix"
)

// Local answers what other servers ask about users of this server, and takes the EDUs that they send.
// The client API implements it. Users are account name user IDs throughout (MSC4243, "Impacts on
// end-to-end encryption"). Answers are JSON; errors are *peer.Error.
type Local interface {
	// Profile answers GET /query/profile: the whole profile, or one field when field is not empty.
	Profile(ctx context.Context, user matrix.UserID, field string) ([]byte, error)
	// RoomAlias answers GET /query/directory: room_id and servers.
	RoomAlias(ctx context.Context, alias string) ([]byte, error)
	// Devices answers GET /user/devices/{userId}.
	Devices(ctx context.Context, user matrix.UserID) ([]byte, error)
	// QueryKeys and ClaimKeys answer POST /user/keys/query and /user/keys/claim.
	QueryKeys(ctx context.Context, body []byte) ([]byte, error)
	ClaimKeys(ctx context.Context, body []byte) ([]byte, error)
	// PublicRooms answers GET (body is nil) and POST /publicRooms.
	PublicRooms(ctx context.Context, query url.Values, body []byte) ([]byte, error)
	// Hierarchy answers GET /hierarchy/{roomId}.
	Hierarchy(ctx context.Context, origin matrix.ServerName, roomID string, suggestedOnly bool) ([]byte, error)
	// EDU takes one EDU. Whoever implements it checks that the user in it is of origin's domain and,
	// for EDUs of a room, asks room.Engine.AcceptsEDUFrom.
	EDU(ctx context.Context, origin matrix.ServerName, eduType string, content []byte) error
}
