package clientapi

import (
	"context"
	"errors"
	"net/http"

	"countersign/reference/account"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// unrecognised is the answer to requests that no endpoint is for: 404 for an unknown path, 405 for a
// known path with another method (client-server API, "Common error codes").
func unrecognised(status int) *peer.Error {
	return peer.Errorf(status, "M_UNRECOGNIZED", "Unrecognized request: %s", http.StatusText(status))
}

func missingParam(name string) *peer.Error {
	return peer.Errorf(http.StatusBadRequest, "M_MISSING_PARAM", "the parameter %s is missing", name)
}

// answerOf turns any error into the answer that a client gets.
func answerOf(err error) *peer.Error {
	switch {
	case errors.Is(err, account.ErrUnknownAccount):
		// D-21: a name that no account key is known for cannot be written into a room.
		return peer.Errorf(http.StatusBadRequest, "M_INVALID_PARAM", "%v", err)
	case errors.Is(err, userdb.ErrNotFound):
		return peer.NotFound("%v", err)
	case errors.Is(err, userdb.ErrExists):
		return peer.InvalidParam("%v", err)
	case errors.Is(err, peer.ErrBackingOff):
		return peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the other server cannot be reached: %v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return peer.Errorf(http.StatusGatewayTimeout, "M_UNKNOWN", "the request took too long: %v", err)
	}
	return peer.AsError(err)
}
