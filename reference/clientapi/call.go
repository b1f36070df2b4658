package clientapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// maxBody bounds the body of a request. An event is at most 64 KiB; the longest that clients upload
// are batches of one-time keys.
const maxBody = 1 << 20

// call is one request of a client.
type call struct {
	*http.Request
	// session is the device that makes the request; zero on endpoints without authentication.
	session userdb.Session
	// body is the request's body, at most maxBody bytes.
	body []byte
}

// user is who makes the request.
func (c *call) user() matrix.UserID { return c.session.User }

// pathUser returns a user ID of the path, which must be the requesting user's own.
func (c *call) pathUser() (matrix.UserID, error) {
	if user := c.PathValue("userID"); user != string(c.user()) {
		return "", peer.Forbidden("%s is not you", user)
	}
	return c.user(), nil
}

// read decodes the body, a JSON object, into out. An empty body counts as an empty object.
func (c *call) read(out any) error {
	body := bytes.TrimSpace(c.body)
	if len(body) == 0 {
		body = []byte("{}")
	}
	if body[0] != '{' || !json.Valid(body) {
		if json.Valid(body) {
			return peer.BadJSON("the body is not a JSON object")
		}
		return peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body is not JSON")
	}
	if err := json.Unmarshal(body, out); err != nil {
		return peer.BadJSON("the body has the wrong shape: %v", err)
	}
	return nil
}

// object returns the body, which must be a JSON object, as it is.
func (c *call) object() (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := c.read(&object); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(c.body)) == 0 {
		return json.RawMessage("{}"), nil
	}
	return c.body, nil
}

// content returns the body as event content in canonical JSON.
func (c *call) content() ([]byte, error) {
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	return canonicalContent(object)
}

// canonicalContent is the canonical form of event content; what has none cannot be in an event.
func canonicalContent(content []byte) ([]byte, error) {
	canonical, err := matrix.CanonicalJSON(content)
	if err != nil {
		return nil, peer.BadJSON("the content cannot be in an event: %v", err)
	}
	if canonical[0] != '{' {
		return nil, peer.BadJSON("the content is not a JSON object")
	}
	return canonical, nil
}

func (c *call) query(name string) string { return c.URL.Query().Get(name) }

func (c *call) queryBool(name string) bool { return c.query(name) == "true" }

// queryInt returns a query parameter that is a number from 0 to max, or a default when it is absent.
// Greater numbers count as max.
func (c *call) queryInt(name string, absent, max int) (int, error) {
	text := c.query(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, peer.InvalidParam("the parameter %s is not a number from 0 on: %q", name, text)
	}
	return min(n, max), nil
}

// remoteIP is where the request comes from, for the list of devices.
func (c *call) remoteIP() string {
	host, _, _ := strings.Cut(c.RemoteAddr, "]")
	if i := strings.LastIndexByte(c.RemoteAddr, ':'); host == c.RemoteAddr && i >= 0 {
		host = c.RemoteAddr[:i]
	}
	return strings.TrimPrefix(host, "[")
}

// readBody reads the body of a request within its bound.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Method == http.MethodGet {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, peer.Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN", "the body cannot be read: %v", err)
	}
	return body, nil
}
