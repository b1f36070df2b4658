package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Bounds of entering or leaving a room through another server.
const (
	handshakeTimeout = 40 * time.Second
	joinVerifyWait   = 10 * time.Second // asking for the account names of all members
	maxVia           = 5                // servers that are tried
)

// signedTemplate is a member event made from a server's template, and who signed it.
type signedTemplate struct {
	event  *matrix.Event
	server matrix.ServerName
}

// requestTemplate asks one server for a template and signs it. known is the room's version when it is
// known, from an invitation or from an earlier stay.
func (g *Engine) requestTemplate(ctx context.Context, server matrix.ServerName, h Handshake, roomID string, local matrix.UserID, content []byte, known *matrix.RoomVersion) (signedTemplate, error) {
	v, t, err := g.firstTemplate(ctx, server, h, roomID, local, known)
	if err != nil {
		return signedTemplate{}, err
	}
	version, ok := g.Version(t.RoomVersion)
	if !ok || version.Identity != v.Identity || known != nil && version != *known {
		return signedTemplate{}, fmt.Errorf("%s answers with a template of room version %q", server, t.RoomVersion)
	}
	e, err := g.signTemplate(t.Event, version, h, roomID, local, content)
	if err != nil {
		return signedTemplate{}, fmt.Errorf("the template of %s is not signed: %w", server, err)
	}
	return signedTemplate{e, server}, nil
}

// firstTemplate asks for a template for the user as the room's version names users. D-03: a room ID does
// not tell its version, so, when that is not known, the account key user ID is tried first, and the
// account name user ID when it is refused or when the room turns out to have no account keys. A room with
// participation refuses both; see templateThrough.
func (g *Engine) firstTemplate(ctx context.Context, server matrix.ServerName, h Handshake, roomID string, local matrix.UserID, known *matrix.RoomVersion) (v matrix.RoomVersion, t Template, err error) {
	if known != nil {
		t, err = g.callMake(ctx, server, h, roomID, local, *known)
		return *known, t, err
	}
	if v = matrix.RoomVersion12(); g.Defects.Has("JoinByAccountNameFirst") {
		t, err = g.callMake(ctx, server, h, roomID, local, v)
		if version, ok := g.Version(t.RoomVersion); err == nil && ok && version.Identity == v.Identity {
			return v, t, nil
		}
	}
	v = matrix.RoomVersionMSC4243()
	t, err = g.callMake(ctx, server, h, roomID, local, v)
	if refusal, ok := errors.AsType[*peer.Error](err); ok && (refusal.Code == "M_INCOMPATIBLE_ROOM_VERSION" ||
		refusal.Status != http.StatusForbidden && refusal.Status != http.StatusBadRequest) {
		return v, t, err
	}
	if version, ok := g.Version(t.RoomVersion); err == nil && ok && version.Identity == v.Identity {
		return v, t, nil
	}
	if err != nil && g.versionHint(peer.AsError(err)) != nil {
		return v, t, err
	}
	v = matrix.RoomVersion12()
	second, secondErr := g.callMake(ctx, server, h, roomID, local, v)
	if err != nil && secondErr != nil {
		return v, second, err // the refusal of the form that was meant to be tried
	}
	return v, second, secondErr
}

func (g *Engine) callMake(ctx context.Context, server matrix.ServerName, h Handshake, roomID string, local matrix.UserID, v matrix.RoomVersion) (t Template, err error) {
	a, err := g.actor(v, roomID, local)
	if err != nil {
		return t, err
	}
	query := url.Values{}
	if h != LeaveHandshake {
		for _, v := range g.RoomVersions {
			query.Add("ver", v.ID)
		}
	}
	err = g.call(ctx, server, peer.Call{
		Method: http.MethodGet, Path: federationV1 + peer.Path("make_"+string(h), roomID, string(a.user)), Query: query,
	}, &t)
	if t.RoomVersion == "" {
		t.RoomVersion = v.ID // make_leave may leave it out
	}
	return t, err
}

// signTemplate turns a template into a signed event of a local user. Nothing is taken from it but the
// event's place in the graph and who authorises a restricted join; and it must be a template for what
// was asked for, so that no server gets anything else signed.
func (g *Engine) signTemplate(template []byte, v matrix.RoomVersion, h Handshake, roomID string, local matrix.UserID, content []byte) (*matrix.Event, error) {
	a, err := g.actor(v, roomID, local)
	if err != nil {
		return nil, err
	}
	if template, err = matrix.CanonicalJSON(template); err != nil {
		return nil, err
	}
	t := gjson.ParseBytes(template)
	for _, c := range [...]struct{ property, want string }{
		{"type", "m.room.member"}, {"room_id", roomID}, {"sender", string(a.user)},
		{"state_key", string(a.user)}, {"content.membership", string(h)},
	} {
		if got := t.Get(c.property); got.Type != gjson.String || got.Str != c.want {
			if g.Defects.Has("SignAnyTemplate") {
				return g.signWhatIsAsked(t, v, roomID, a)
			}
			return nil, fmt.Errorf("its %s is %s, not %q", c.property, got.Raw, c.want)
		}
	}
	if content, err = withMembership(content, string(h)); err != nil {
		return nil, err
	}
	if authoriser := t.Get("content.join_authorised_via_users_server"); h == JoinHandshake && authoriser.Exists() {
		if _, err := v.ParseUserID(authoriser.Str); err != nil {
			return nil, err
		}
		if content, err = sjson.SetBytes(content, "join_authorised_via_users_server", authoriser.Str); err != nil {
			return nil, err
		}
	}
	p := matrix.ProtoEvent{
		Type: "m.room.member", StateKey: matrix.StateKey(string(a.user)), Sender: a.user, RoomID: roomID,
		Content: content, Depth: t.Get("depth").Int(), OriginServerTS: g.Clock().UnixMilli(),
		PrevEvents: stringsOf(t.Get("prev_events")), AuthEvents: stringsOf(t.Get("auth_events")),
	}
	e, err := p.Build(v, a.signers...)
	if err != nil {
		return nil, err
	}
	// What was built from the template must itself be an event.
	return matrix.ParseEvent(v, e.JSON())
}

func stringsOf(list gjson.Result) (out []string) {
	for _, s := range list.Array() {
		out = append(out, s.String())
	}
	return out
}

// callSend hands a signed member event back.
func (g *Engine) callSend(ctx context.Context, t signedTemplate, h Handshake) (answer json.RawMessage, err error) {
	version := federationV2
	if h == KnockHandshake {
		version = federationV1
	}
	err = g.call(ctx, t.server, peer.Call{
		Method: http.MethodPut, Path: version + peer.Path("send_"+string(h), t.event.RoomID(), t.event.ID()),
		Body: t.event.JSON(), MaxAnswer: maxStateAnswer, Timeout: handshakeTimeout,
	}, &answer)
	return answer, err
}

// remoteHandshake goes through the servers until one has accepted the event, and returns the event and
// the answer.
func (g *Engine) remoteHandshake(ctx context.Context, h Handshake, roomID string, local matrix.UserID, content []byte, known *matrix.RoomVersion, via []matrix.ServerName, accept func(signedTemplate, json.RawMessage) error) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	via = slices.DeleteFunc(slices.Clone(via), func(s matrix.ServerName) bool { return s == g.ServerName })
	if len(via) == 0 {
		return peer.NotFound("the room %s is not known here, and no other server is named", roomID)
	}
	var failures []error
	for _, server := range via[:min(len(via), maxVia)] {
		t, err := g.templateThrough(ctx, server, h, roomID, local, content, known)
		var answer json.RawMessage
		if err == nil {
			answer, err = g.callSend(ctx, t, h)
		}
		if err == nil {
			err = accept(t, answer)
		}
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("through %s: %w", server, err))
		if ctx.Err() != nil {
			break
		}
	}
	return handshakeError(failures)
}

// handshakeError is what the client is told: the refusal of the server that refused last, if any did.
func handshakeError(failures []error) error {
	for _, err := range slices.Backward(failures) {
		if refusal, ok := errors.AsType[*peer.Error](err); ok && refusal.Status < 500 {
			e := *refusal
			e.Message = err.Error()
			if e.Status == http.StatusUnauthorized {
				e.Status, e.Code = http.StatusBadGateway, "M_UNKNOWN" // not the client's credentials
			}
			return &e
		}
	}
	return peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "%v", errors.Join(failures...))
}

// knownVersion is the room's version, when it is known from an earlier stay or from an invitation.
func (g *Engine) knownVersion(roomID string, local matrix.UserID) *matrix.RoomVersion {
	if r, err := g.live(roomID); err == nil && r != nil {
		return &r.version
	}
	if m, ok := g.localMembership(roomID, local); ok {
		return &m.Version
	}
	if own, ok := g.ServerKeys.Latest(roomID); ok {
		if v, ok := g.Version(own.Version); ok {
			return &v
		}
	}
	return nil
}

// localMembership is the membership of a local user in a room, under any of the user's names; of several
// that of the latest.
func (g *Engine) localMembership(roomID string, local matrix.UserID) (m Membership, ok bool) {
	keys := g.Directory.KeyUserIDs(local)
	var names []matrix.UserID
	err := g.DB.View(func(tx *store.Tx) error {
		names = g.namesOf(tx, local, keys, roomID)
		return nil
	})
	if err != nil {
		g.Logger.Error("reading the names of a user", "room", roomID, "user", local, "error", err)
	}
	for _, name := range names {
		if found, has := g.Membership(roomID, name); has && (!ok || found.Position > m.Position) {
			m, ok = found, true
		}
	}
	return m, ok
}
