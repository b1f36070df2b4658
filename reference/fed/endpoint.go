package fed

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"countersign/matrix"
	"countersign/reference/peer"
)

// endpoint is one endpoint of one server, whatever rooms, users and events a request to it is about.
type endpoint struct {
	server       matrix.ServerName
	method, name string
}

// endpointOf is the endpoint that a call is to: its path, as far as that is the same in all calls.
func endpointOf(server matrix.ServerName, call peer.Call) endpoint {
	segments := strings.Split(call.Path, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		isID := err != nil || text != "" && strings.ContainsRune("!@$#", rune(text[0]))
		if isID || i > 0 && segments[i-1] == "send" { // the IDs of transactions have no sigil
			segments = segments[:i]
			break
		}
	}
	return endpoint{server, call.Method, strings.Join(segments, "/")}
}

// isUnsupported reports whether a server has answered that it does not know an endpoint, or the method there
// (client-server API, "Common error codes", which the server-server API refers to: 404 or 405
// M_UNRECOGNIZED). The server itself is well: only the endpoint is left alone for a while, as servers are
// updated. Without the error code nobody says that what has answered is a homeserver.
func isUnsupported(err error) bool {
	refusal, ok := errors.AsType[*peer.Error](err)
	return ok && refusal.Code == "M_UNRECOGNIZED" && (refusal.Status == http.StatusNotFound || refusal.Status == http.StatusMethodNotAllowed)
}
