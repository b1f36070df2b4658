package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/participant"
	"countersign/reference/peer"
)

// participationContent is the content of a participation event by which this server says something of
// itself.
func participationContent(p matrix.Participation, domain, via matrix.ServerName) []byte {
	content := map[string]any{"participation": p, "unverified_domain": domain}
	if via != "" {
		content["request_authorised_via_server"] = via
	}
	body, err := json.Marshal(content)
	if err != nil {
		panic("room: a participation has no JSON form: " + err.Error())
	}
	return body
}

// waiting is the error of Join and Knock while this server's request to participate waits for acceptance.
// The property lets clients tell it from other refusals.
func waiting(refusal error) error {
	e := peer.Forbidden("this server has requested to participate in the room, and waits to be accepted: %v", refusal)
	e.Extra = map[string]any{matrix.ParticipationType: matrix.Requested}
	return e
}

// IsWaiting reports whether an error of Join or Knock says that this server has requested to participate
// in the room and waits to be accepted. It is 403 M_FORBIDDEN, with the participation "requested" under
// matrix.ParticipationType.
func IsWaiting(err error) bool {
	e, ok := errors.AsType[*peer.Error](err)
	return ok && e.Extra[matrix.ParticipationType] == matrix.Requested
}

// templateThrough asks a server for a template. In rooms with participation a server that has none is
// refused: this server then requests to participate, once, and asks again (MSC4345, "The request
// participation handshake").
func (g *Engine) templateThrough(ctx context.Context, server matrix.ServerName, h Handshake, roomID string, local matrix.UserID, content []byte, known *matrix.RoomVersion) (signedTemplate, error) {
	if h == JoinHandshake && g.hasRequested(roomID) && g.Defects.Has("NeverComeBack") {
		return signedTemplate{}, waiting(errMistaken)
	}
	if h == JoinHandshake {
		if err := g.requestsAhead(ctx, server, roomID, local, known); err != nil {
			return signedTemplate{}, err
		}
	}
	t, err := g.requestTemplate(ctx, server, h, roomID, local, content, known)
	refusal, refused := errors.AsType[*peer.Error](err)
	if h == LeaveHandshake || !refused || !mayLackParticipation(refusal) {
		return t, err
	}
	if known == nil {
		known = g.versionHint(refusal)
	}
	if known != nil && !known.HasParticipation() {
		return t, err
	}
	if err := g.giveUpDoubtful(roomID); err != nil {
		return t, err
	}
	if g.hasRequested(roomID) && !g.forgetsItsRequest(roomID) {
		return t, waiting(err)
	}
	if g.isAccepted(roomID) {
		return t, err // it is something else that is missing
	}
	v, requestErr := g.requestParticipation(ctx, server, roomID, local, known)
	if requestErr != nil {
		g.Logger.Info("a request to participate failed", "room", roomID, "server", server, "error", requestErr)
		if known == nil {
			return t, err // most likely it is a room without participation
		}
		return t, requestErr
	}
	if t, err = g.requestTemplate(ctx, server, h, roomID, local, content, &v); err != nil {
		return t, waiting(err)
	}
	return t, nil
}

// mayLackParticipation reports whether a refusal could be for the lack of participation, or because the
// room has another form of user IDs.
func mayLackParticipation(refusal *peer.Error) bool {
	return refusal.Code != "M_INCOMPATIBLE_ROOM_VERSION" &&
		(refusal.Status == http.StatusForbidden || refusal.Status == http.StatusBadRequest)
}

// versionHint is the room version that a refusal names, as this server does in rooms with participation.
func (g *Engine) versionHint(refusal *peer.Error) *matrix.RoomVersion {
	id, _ := refusal.Extra["room_version"].(string)
	if v, ok := g.Version(id); ok {
		return &v
	}
	return nil
}

// giveUpDoubtful has this server use another key in a room that it was refused with one which was revoked,
// as somebody says. Whoever says so without its being true has this server request once more.
func (g *Engine) giveUpDoubtful(roomID string) error {
	own, ok := g.ServerKeys.Current(roomID)
	if !ok || !own.Doubtful {
		return nil
	}
	return g.ServerKeys.Retire(own.Key().Name())
}

// hasRequested reports whether this server has requested to participate in a room, with a key that was not
// revoked, and does not know that it was accepted. A request is not repeated: a server that has
// participation cannot request it (MSC4345, rule 1.1.3).
func (g *Engine) hasRequested(roomID string) bool {
	own, ok := g.ServerKeys.Current(roomID)
	return ok && own.Requested() && !g.isAccepted(roomID)
}

// isAccepted reports whether this server was accepted in a room when it last was in it.
func (g *Engine) isAccepted(roomID string) bool {
	own, ok := g.ServerKeys.Current(roomID)
	if !ok {
		return false
	}
	return g.Participant(roomID, own.Key().Name()).Participation == matrix.Accepted
}

// requestParticipation asks a resident server to co-sign a request to participate, and to send it to the
// room. When the room's version is not known it follows from which form of user ID the resident takes.
func (g *Engine) requestParticipation(ctx context.Context, server matrix.ServerName, roomID string, local matrix.UserID, known *matrix.RoomVersion) (v matrix.RoomVersion, err error) {
	candidates := g.participationVersions()
	if known != nil {
		candidates = []matrix.RoomVersion{*known}
	}
	err = errors.New("no room version with participation is offered")
	for _, form := range candidates {
		var r participationRequest
		if r, err = g.participationTemplate(ctx, server, roomID, local, form); err == nil {
			return r.version, g.sendParticipation(ctx, server, r)
		}
	}
	return v, err
}

// participationVersions are the offered room versions with participation, one for each form of user IDs.
func (g *Engine) participationVersions() (versions []matrix.RoomVersion) {
	seen := map[matrix.Identity]bool{}
	for _, v := range g.RoomVersions {
		if v.HasParticipation() && !seen[v.Identity] {
			seen[v.Identity] = true
			versions = append(versions, v)
		}
	}
	return versions
}

// participationRequest is a signed request to participate, and the key that it is about.
type participationRequest struct {
	version matrix.RoomVersion
	key     matrix.ServerKeyPair
	event   *matrix.Event
}

// participationTemplate asks for a template of a request, for a user as rooms of a version name users, and
// signs it. The key is kept only once the resident has said that the room is of such a version.
func (g *Engine) participationTemplate(ctx context.Context, server matrix.ServerName, roomID string, local matrix.UserID, form matrix.RoomVersion) (r participationRequest, err error) {
	own, have := g.ServerKeys.Current(roomID)
	if r.key = own.ServerKeyPair; !have {
		if r.key, err = matrix.NewServerKeyPair(); err != nil {
			return r, err
		}
	}
	a, err := g.actorThrough(form, r.key, local)
	if err != nil {
		return r, err
	}
	query := url.Values{}
	for _, v := range g.RoomVersions {
		query.Add("ver", v.ID)
	}
	var t Template
	err = g.call(ctx, server, peer.Call{
		Method: http.MethodGet, Path: federationV1 + peer.Path("make_participation", roomID, string(a.user)), Query: query,
	}, &t)
	if err != nil {
		return r, err
	}
	version, ok := g.Version(t.RoomVersion)
	if !ok || version.Identity != form.Identity {
		return r, fmt.Errorf("%s answers with a template of room version %q", server, t.RoomVersion)
	}
	if r.version, r.event, err = version, nil, nil; !have {
		if err := g.ServerKeys.Adopt(roomID, version, r.key); err != nil {
			return r, err
		}
	}
	if r.event, err = g.signParticipation(t.Event, version, roomID, a); err != nil {
		return r, fmt.Errorf("the template of %s is not signed: %w", server, err)
	}
	return r, nil
}

// signParticipation turns a template into a signed request. Nothing is taken from it but the event's place
// in the graph and who authorises it, and it must be a template for what was asked for (D-34).
func (g *Engine) signParticipation(template []byte, v matrix.RoomVersion, roomID string, a actor) (*matrix.Event, error) {
	template, err := matrix.CanonicalJSON(template)
	if err != nil {
		return nil, err
	}
	t := gjson.ParseBytes(template)
	for _, c := range [...]struct{ property, want string }{
		{"type", matrix.ParticipationType}, {"room_id", roomID}, {"sender", string(a.user)},
		{"content.participation", string(matrix.Requested)},
	} {
		if got := t.Get(c.property); got.Type != gjson.String || got.Str != c.want {
			if g.Defects.Has("SignAnyRequestTemplate") {
				return g.signWhatIsAsked(t, v, roomID, a)
			}
			return nil, fmt.Errorf("its %s is %s, not %q", c.property, got.Raw, c.want)
		}
	}
	if key := t.Get("state_key"); key.Str != string(a.server) && !(v.HasPortableAccounts() && key.Str == "") {
		if g.Defects.Has("RequestForOtherKeys") {
			return g.signWhatIsAsked(t, v, roomID, a)
		}
		return nil, fmt.Errorf("its state_key is %s, not this server's key", key.Raw)
	}
	via, err := matrix.ParseServerKey(t.Get("content.request_authorised_via_server").Str)
	if err != nil {
		return nil, fmt.Errorf("its request_authorised_via_server: %w", err)
	}
	if v.HasPortableAccounts() && g.Defects.Has("RequestWithoutTheAccount") {
		a.signers = a.signers[:1]
	}
	e, err := matrix.ProtoEvent{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(string(a.server)), Sender: a.user, RoomID: roomID,
		Content: g.withReason(participationContent(matrix.Requested, g.ServerName, via.Name())),
		Depth:   t.Get("depth").Int(), OriginServerTS: g.Clock().UnixMilli(),
		PrevEvents: stringsOf(t.Get("prev_events")), AuthEvents: stringsOf(t.Get("auth_events")),
	}.Build(v, a.signers...)
	if err != nil {
		return nil, err
	}
	// What was built from the template must itself be an event.
	return matrix.ParseEvent(v, e.JSON())
}

// sendParticipation hands a signed request in. D-33: by PUT and event ID, as send_join has it. Nothing of
// the room that comes back is kept: this server is not in it yet (D-46).
func (g *Engine) sendParticipation(ctx context.Context, server matrix.ServerName, r participationRequest) error {
	key := r.key.Key().Name()
	defer g.disclose(key, server)()
	method, name := http.MethodPut, r.event.ID()
	if g.Defects.Has("HandRequestsInAsWritten") {
		method, name = http.MethodGet, string(r.event.Sender())
	}
	_, err := g.Peers.Call(ctx, server, peer.Call{
		Method: method, Path: federationV1 + peer.Path("send_participation", r.event.RoomID(), name),
		Body: r.event.JSON(), MaxAnswer: maxStateAnswer, Timeout: handshakeTimeout,
	})
	if err != nil {
		return err
	}
	return g.ServerKeys.NoteRequest(key, server)
}

// disclose lets a server know, until the returned function is called, that a key is this server's: a
// resident asks before it co-signs a request (D-39).
func (g *Engine) disclose(key, server matrix.ServerName) (end func()) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.disclosed[participant.Claim{Key: key, Domain: server}]++
	return func() {
		g.mutex.Lock()
		defer g.mutex.Unlock()
		c := participant.Claim{Key: key, Domain: server}
		if g.disclosed[c]--; g.disclosed[c] == 0 {
			delete(g.disclosed, c)
		}
	}
}

// MayKnow implements participant.Discloser (MSC4345, "Introducing /_matrix/key/v3/query"): a key may be
// known to the servers that have requested, or been accepted, to participate in its room, and to those
// that this server has asked, or is asking, to authorise its own request (D-39).
func (g *Engine) MayKnow(server matrix.ServerName, key participant.Own) bool {
	if server == key.Through || g.isDisclosed(participant.Claim{Key: key.Key().Name(), Domain: server}) {
		return true
	}
	return g.isParticipant(key.RoomID, server) || g.tellsAcquaintances(server, key) || g.Defects.Has("TellKeysToStrangers")
}

func (g *Engine) isDisclosed(c participant.Claim) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.disclosed[c] > 0
}

// isParticipant reports whether a room knows a server of a domain that has not been revoked.
func (g *Engine) isParticipant(roomID string, domain matrix.ServerName) bool {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return false
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for server := range r.roster.participations {
		if r.roster.domain(server) == domain && (r.roster.participation(server) != matrix.Revoked || g.Defects.Has("TellKeysToTheRevoked")) {
			return true
		}
	}
	return false
}

// receiveOwnParticipation takes an event about this server's own participation in a room that it is not
// in. Nothing is kept of an acceptance, as the next attempt to join shows what has become of the request
// (D-46). A revocation cannot be authorised without the room's state, so that the key is only doubted: see
// giveUpDoubtful.
func (g *Engine) receiveOwnParticipation(ctx context.Context, own participant.Own, pdu []byte) (string, error) {
	v, ok := g.storedVersion(own.Version)
	if !ok {
		return "", fmt.Errorf("%w: room version %q", errDamaged, own.Version)
	}
	e, err := g.admit(ctx, v, pdu)
	if err != nil {
		return "", fmt.Errorf("dropped: %w", err)
	}
	if !e.IsParticipation() || e.Participation() != matrix.Revoked {
		return e.ID(), nil
	}
	if g.Defects.Has("GiveUpKeysUnasked") {
		return e.ID(), g.ServerKeys.Retire(own.Key().Name())
	}
	return e.ID(), g.ServerKeys.Doubt(own.Key().Name())
}
