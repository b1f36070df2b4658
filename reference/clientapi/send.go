package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
	"countersign/reference/store"
)

// sendRoutes are about sending events.
func (a *API) sendRoutes() []route {
	return []route{
		authed(http.MethodPut, "/v3/rooms/{roomID}/send/{type}/{txnID}", a.once(a.sendMessage)),
		authed(http.MethodPut, "/v3/rooms/{roomID}/state/{type}", a.sendState),
		authed(http.MethodPut, "/v3/rooms/{roomID}/state/{type}/{stateKey...}", a.sendState),
		authed(http.MethodPut, "/v3/rooms/{roomID}/redact/{eventID}/{txnID}", a.once(a.redact)),
	}
}

// once makes a request with a transaction ID idempotent: repeated by the same device, on the same path,
// it has the answer of the first time and no other effect. Failures may be tried again.
func (a *API) once(do handler) handler {
	return func(c *call) (any, error) {
		transaction := c.Method + " " + c.URL.EscapedPath()
		key := string(c.user()) + "\x00" + c.session.DeviceID + "\x00" + transaction
		answer, err, _ := a.transactions.Do(key, func() (any, error) {
			known, err := a.users.Transaction(c.session, transaction)
			if !errors.Is(err, userdb.ErrNotFound) {
				return known, err
			}
			answer, err := do(c)
			if err != nil {
				return nil, err
			}
			raw, err := json.Marshal(answer)
			if err != nil {
				return nil, err
			}
			return json.RawMessage(raw), a.users.PutTransaction(c.session, transaction, raw)
		})
		return answer, err
	}
}

// sendMessage answers PUT /rooms/{roomId}/send/{eventType}/{txnId}.
func (a *API) sendMessage(c *call) (any, error) {
	content, err := c.content()
	if err != nil {
		return nil, err
	}
	return a.send(c, outgoing{eventType: c.PathValue("type"), content: content, transactionID: c.PathValue("txnID")})
}

// sendState answers PUT /rooms/{roomId}/state/{eventType}/{stateKey}.
func (a *API) sendState(c *call) (any, error) {
	content, err := c.content()
	if err != nil {
		return nil, err
	}
	key := c.PathValue("stateKey")
	if c.PathValue("type") == matrix.ParticipationType {
		if err := a.checkParticipation(c.PathValue("roomID"), key, content); err != nil {
			return nil, err
		}
	}
	if c.PathValue("type") == "m.room.member" {
		return a.sendMembership(c, matrix.UserID(key), content)
	}
	return a.send(c, outgoing{eventType: c.PathValue("type"), stateKey: &key, content: content})
}

// redact answers PUT /rooms/{roomId}/redact/{eventId}/{txnId}.
func (a *API) redact(c *call) (any, error) {
	content, err := c.content()
	if err != nil {
		return nil, err
	}
	redaction := map[string]any{"redacts": c.PathValue("eventID")}
	if reason := gjson.GetBytes(content, "reason"); reason.Type == gjson.String {
		redaction["reason"] = reason.Str
	}
	return a.send(c, outgoing{eventType: "m.room.redaction", content: mustJSON(redaction), transactionID: c.PathValue("txnID")})
}

// outgoing is an event that a client wants to send, in the client's terms.
type outgoing struct {
	eventType string
	stateKey  *string
	content   []byte
	// transactionID is echoed to the sending device, if it is not empty.
	transactionID string
}

// send translates an event into the room's terms and sends it.
func (a *API) send(c *call, out outgoing) (any, error) {
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	draft, err := r.draft(out)
	if err != nil {
		return nil, err
	}
	if out.eventType == "m.room.canonical_alias" {
		if err := a.checkCanonicalAlias(c, r, out.content); err != nil {
			return nil, err
		}
	}
	if out.transactionID != "" {
		draft.Commit = func(tx *store.Tx, e *matrix.Event) error {
			return userdb.SetEventTransaction(tx, e.ID(), userdb.EventTransaction{Session: c.session, TransactionID: out.transactionID})
		}
	}
	e, err := a.engine.Send(c.Context(), r.roomID, c.user(), draft)
	if err != nil {
		return nil, err
	}
	a.typing.set(r.roomID, r.shownAs, 0)
	return map[string]string{"event_id": e.ID()}, nil
}

// draft is an event in the room's terms.
func (r *reader) draft(out outgoing) (room.Draft, error) {
	d := room.Draft{Type: out.eventType, Content: out.content}
	var replaced *matrix.Event
	if out.stateKey != nil {
		key, err := r.stateKeyIn(out.eventType, *out.stateKey, r.session.User)
		if err != nil {
			return d, err
		}
		d.StateKey = &key
		state, err := r.api.engine.CurrentState(r.roomID)
		if err != nil {
			return d, err
		}
		replaced = r.stateEvent(state, matrix.StateTuple{Type: out.eventType, StateKey: key})
	}
	content, err := r.contentIn(out.eventType, out.content, replaced)
	d.Content = content
	return d, err
}

// sendMembership sends a membership that a client has written as state. It takes the way of the
// endpoint for that membership, which knows how to reach users of other servers.
func (a *API) sendMembership(c *call, target matrix.UserID, content []byte) (any, error) {
	change := membershipChange{target: target, content: without(content, "membership")}
	membership := gjson.GetBytes(content, "membership").Str
	r, err := a.reader(c.session, c.PathValue("roomID"))
	self := target == c.user() || err == nil && r.isReader(target)
	switch {
	case membership == "join" && self:
		change.do = a.engineJoin(c)
	case membership == "knock" && self:
		change.do = a.engineKnock(c)
	case membership == "leave" && self:
		change.do = a.engineLeave(c)
	case membership == "leave":
		change.do = a.engineKickOrUnban(c)
	case membership == "invite":
		change.do = a.engineInvite(c)
	case membership == "ban":
		change.do = a.engineBan(c)
	case membership == "join", membership == "knock":
		return nil, peer.Forbidden("only %s can do that", target)
	default:
		return nil, peer.BadJSON("there is no membership %q", membership)
	}
	if err := a.changeMembership(c, change); err != nil {
		return nil, err
	}
	return a.membershipEvent(c, target)
}

// membershipEvent answers with the event of a user's membership now.
func (a *API) membershipEvent(c *call, target matrix.UserID) (any, error) {
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	user, _ := r.find(target)
	m, ok := a.engine.Membership(r.roomID, user)
	if !ok {
		return nil, peer.NotFound("%s has no membership in %s", target, r.roomID)
	}
	return map[string]string{"event_id": m.EventID}, nil
}

// checkCanonicalAlias refuses a canonical alias, new in the content, that does not name the room.
func (a *API) checkCanonicalAlias(c *call, r *reader, content []byte) error {
	known := map[string]bool{}
	if state, err := r.state(); err == nil {
		if e := r.stateEvent(state, matrix.StateTuple{Type: "m.room.canonical_alias"}); e != nil {
			for _, alias := range aliasesIn(gjson.ParseBytes(e.Content())) {
				known[alias] = true
			}
		}
	}
	for _, alias := range aliasesIn(gjson.ParseBytes(content)) {
		if known[alias] {
			continue
		}
		if !strings.HasPrefix(alias, "#") || !strings.Contains(alias, ":") {
			return peer.InvalidParam("%q is not a room alias", alias)
		}
		found, err := a.resolveAlias(c.Context(), alias)
		if err != nil || found.RoomID != r.roomID {
			return peer.Errorf(http.StatusBadRequest, "M_BAD_ALIAS", "the alias %s does not name this room", alias)
		}
	}
	return nil
}

func aliasesIn(content gjson.Result) (aliases []string) {
	if alias := content.Get("alias").Str; alias != "" {
		aliases = append(aliases, alias)
	}
	for _, alias := range content.Get("alt_aliases").Array() {
		aliases = append(aliases, alias.String())
	}
	return aliases
}
