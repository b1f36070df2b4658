package blueprints

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// CosignRequest is a request for the signature of the user whom a membership event is about, before
// it is made: PUT /v2/invite, or the endpoint for bans of MSC4243. A test changes what it likes.
type CosignRequest struct {
	// Path is the path of the request.
	Path string
	// Event is the event, and RoomVersion what the request says to be the version of its room.
	Event       json.RawMessage
	RoomVersion string
	// RoomState is invite_room_state, which is left out when nil.
	RoomState []json.RawMessage
}

// CosignRequest is the request of fay's server to invite or to ban a user, for a user whom the event
// names as the caller does. With the zero Forgery the event is signed for fay as it is.
func (r *Room) CosignRequest(t testing.TB, membership string, target matrix.UserID, f fakeserver.Forgery) *CosignRequest {
	t.Helper()
	event := r.Forge(t, r.Fay, fakeserver.Membership(target, membership), f)
	q := &CosignRequest{Event: event.PDU, RoomVersion: r.Version.ID, Path: "/_matrix/federation/v2/invite/"}
	if membership == "ban" {
		q.Path = "/_matrix/federation/unstable/org.matrix.msc4243/ban/"
	} else {
		q.RoomState = []json.RawMessage{r.Room.State("m.room.create", "").JSON(), r.Room.State("m.room.join_rules", "").JSON()}
	}
	q.Path += url.PathEscape(r.ID) + "/" + url.PathEscape(event.EventID)
	return q
}

// AskToCosign makes a request for a signature and returns the answer, whatever it is.
func (r *Room) AskToCosign(t testing.TB, q *CosignRequest) Reply {
	t.Helper()
	body := map[string]any{"event": q.Event, "room_version": q.RoomVersion}
	if q.RoomState != nil {
		body["invite_room_state"] = q.RoomState
	}
	return r.Peer.Ask(t, r.At, http.MethodPut, q.Path, body)
}

// SignedBy reports whether an account key has signed an event, whoever the event says to be its sender
// and whatever name the signature is filed under. The event need not be a valid one.
func SignedBy(event []byte, key matrix.UserID) bool {
	account, err := key.AccountKey()
	if err != nil {
		return false
	}
	message, err := matrix.EventSigningBytes(event)
	if err != nil {
		return false
	}
	for _, signatures := range gjson.GetBytes(event, "signatures").Map() {
		for _, value := range signatures.Map() {
			signature, err := matrix.DecodeBase64(value.Str)
			if err == nil && matrix.VerifyStrict(account.PublicKey(), message, signature) == nil {
				return true
			}
		}
	}
	return false
}

// SignedEvents are the events with a signature of an account key, among all that was sent to the fake
// servers of the test in any request or answer, each once and by event ID.
func (s *Scene) SignedEvents(key matrix.UserID) map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	for _, peer := range s.peers {
		for _, e := range peer.Transcript().Exchanges(nil) {
			body := e.RequestBody
			if e.Direction == fakeserver.Outbound {
				body = e.ResponseBody
			}
			for _, event := range signedObjects(gjson.ParseBytes(body)) {
				if hash, err := matrix.ReferenceHash(event); err == nil && SignedBy(event, key) {
					found["$"+matrix.EncodeURLBase64(hash[:])] = event
				}
			}
		}
	}
	return found
}

// signedObjects finds the objects with signatures in a JSON document, at any depth.
func signedObjects(v gjson.Result) (found []json.RawMessage) {
	if v.IsObject() && v.Get("signatures").IsObject() {
		found = append(found, json.RawMessage(slices.Clone([]byte(v.Raw))))
	}
	if v.IsObject() || v.IsArray() {
		v.ForEach(func(_, member gjson.Result) bool {
			found = append(found, signedObjects(member)...)
			return true
		})
	}
	return found
}
