package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Join joins a local user (account name user ID) to a room: here when this server is in it, else
// through one of the servers in via. content is the join's content without membership, or nil. It
// returns when the join is visible. Joining again does nothing unless content differs. Errors are
// *peer.Error.
func (g *Engine) Join(ctx context.Context, roomID string, local matrix.UserID, content []byte, via []matrix.ServerName) error {
	unlock, err := g.entering.lock(ctx, roomID)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := g.live(roomID)
	if err != nil {
		return err
	}
	if r == nil || !g.inRoom(r) {
		return g.joinRemotely(ctx, roomID, local, content, g.candidates(roomID, local, via))
	}
	err = g.joinHere(r, local, content)
	if refusal, ok := errors.AsType[*peer.Error](err); ok && isUnable(refusal.Code) {
		// A restricted join that only another server can authorise.
		return g.joinRemotely(ctx, roomID, local, content, g.otherServers(r, via))
	}
	return err
}

func isUnable(code string) bool {
	return code == "M_UNABLE_TO_GRANT_JOIN" || code == "M_UNABLE_TO_AUTHORISE_JOIN"
}

// candidates are the servers to enter or leave a room through: those that are named, those of which this
// server knows from an invitation or a knock, and those that were in the room when this server last was.
func (g *Engine) candidates(roomID string, local matrix.UserID, via []matrix.ServerName) []matrix.ServerName {
	var all []matrix.ServerName
	add := func(servers ...matrix.ServerName) {
		for _, s := range servers {
			if s != "" && s != g.ServerName && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	add(via...)
	if m, ok := g.localMembership(roomID, local); ok {
		add(m.Through)
		if !m.Version.HasParticipation() {
			add(m.Sender.Domain())
		}
	}
	if own, ok := g.ServerKeys.Latest(roomID); ok {
		add(own.Through)
	}
	if r, err := g.live(roomID); err == nil && r != nil {
		add(g.originOf(r, r.create))
		add(g.otherServers(r, nil)...)
	}
	return all
}

func (g *Engine) otherServers(r *liveRoom, first []matrix.ServerName) []matrix.ServerName {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return without(append(append([]matrix.ServerName{}, first...), r.domains()...), g.ServerName)
}

// joinHere joins a local user to a room that this server is in.
func (g *Engine) joinHere(r *liveRoom, local matrix.UserID, content []byte) error {
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return err
	}
	authoriser, err := g.authoriserFor(r, a.user)
	if err != nil {
		return err
	}
	var cosigners []matrix.Signer
	if content, err = withMembership(content, "join"); err != nil {
		return err
	}
	if authoriser != "" {
		if content, err = sjson.SetBytes(content, "join_authorised_via_users_server", authoriser); err != nil {
			return err
		}
		if signer, ok := g.authoriserSigner(r, authoriser); ok && r.version.HasAccountKeys() && !g.Defects.Has("SkipLocalAuthorisersSignatures") {
			cosigners = append(cosigners, signer)
		}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if e := g.StateEvent(r.current, "m.room.member", string(a.user)); e != nil && g.isSameJoin(e, a, content) {
		return nil
	}
	_, err = g.send(r, a, Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(a.user)), Content: content}, cosigners...)
	return err
}

// isSameJoin reports whether a membership is the join that a would send. D-54: in rooms of MSC4348 one
// through another server is not.
func (g *Engine) isSameJoin(e *matrix.Event, a actor, content []byte) bool {
	if e.Membership() != "join" || !sameJSON(e.Content(), content) {
		return false
	}
	server, ok := g.serverOf(e)
	return !e.Version().HasPortableAccounts() || ok && server == a.server
}

func sameJSON(a, b []byte) bool {
	x, errX := matrix.CanonicalJSON(a)
	y, errY := matrix.CanonicalJSON(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// joinRemotely joins through another server.
func (g *Engine) joinRemotely(ctx context.Context, roomID string, local matrix.UserID, content []byte, via []matrix.ServerName) error {
	return g.remoteHandshake(ctx, JoinHandshake, roomID, local, content, g.knownVersion(roomID, local), via,
		func(t signedTemplate, answer json.RawMessage) error { return g.enter(ctx, t, answer) })
}

// enter checks the answer of send_join and makes this server a part of the room.
func (g *Engine) enter(ctx context.Context, t signedTemplate, body []byte) error {
	var answer struct {
		Event     json.RawMessage   `json:"event"`
		State     []json.RawMessage `json:"state"`
		AuthChain []json.RawMessage `json:"auth_chain"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the answer of send_join: %w", err)
	}
	join, err := g.cosignedJoin(ctx, t.event, answer.Event)
	if err != nil {
		return err
	}
	if r, err := g.live(join.RoomID()); err != nil {
		return err
	} else if r != nil && g.inRoom(r) {
		return g.process(ctx, r, t.server, join) // another local user is in the room
	}
	state := g.admitAll(trusting(ctx, "TrustStateInSendJoin"), join.Version(), answer.State)
	chain := g.admitAll(trusting(ctx, "TrustStateInSendJoin"), join.Version(), besidesState(answer.AuthChain, answer.State))
	r, err := g.roomOf(join.RoomID(), append(chain, state...))
	if err != nil {
		return err
	}
	if err := g.keepOutliers(r, append(chain, state...)); err != nil {
		return err
	}
	ids := make([]string, len(state))
	for i, e := range state {
		ids[i] = e.ID()
	}
	before, err := g.stateOfEvents(r, ids)
	if err != nil {
		return err
	}
	if err := g.haveAuthEvents(ctx, r, t.server, join); err != nil {
		return err
	}
	rejection, err := g.judge(r, join, before)
	if err != nil {
		return err
	}
	if rejection != nil && !g.Defects.Has("IgnoreTheReturnedJoin") && !g.Defects.Has("TrustTheReturnedJoin") {
		return fmt.Errorf("the join is not allowed by the state that %s gives: %w", t.server, rejection)
	}
	if !g.Defects.Has("ShowRoomsFirst") {
		g.verifyMembers(ctx, before)
	}
	if err := g.settleIn(r, join, before); err != nil {
		return err
	}
	g.verifyServersOf(ctx, r, before)
	return nil
}

// besidesState is the auth chain without what is state as well, which is most of it: once admitted is enough.
func besidesState(chain, state []json.RawMessage) []json.RawMessage {
	given := make(map[string]bool, len(state))
	for _, pdu := range state {
		given[string(pdu)] = true
	}
	return slices.DeleteFunc(chain, func(pdu json.RawMessage) bool { return given[string(pdu)] })
}

// cosignedJoin is the join with the signature that the resident server has added, for a restricted
// join; any other join stays as it was sent.
func (g *Engine) cosignedJoin(ctx context.Context, sent *matrix.Event, returned []byte) (*matrix.Event, error) {
	authoriser := matrix.UserID(sent.Get("join_authorised_via_users_server").String())
	if authoriser == "" || authoriser.Domain() == g.ServerName {
		return sent, nil
	}
	if g.Defects.Has("IgnoreTheReturnedJoin") {
		return sent, nil
	}
	e, err := g.admit(ctx, sent.Version(), returned)
	if err != nil {
		return nil, fmt.Errorf("the join that was returned: %w", err)
	}
	if e.ID() != sent.ID() || !e.HashOK() {
		return nil, errors.New("the join that was returned is not the one that was sent")
	}
	if err := g.authoriserVerifier(e.Version())(e, authoriser); err != nil && !g.Defects.Has("TrustTheReturnedJoin") {
		return nil, fmt.Errorf("the join that was returned is not authorised: %w", err)
	}
	return e, nil
}

// roomOf is the live form of a room, made from its create event when the room is new.
func (g *Engine) roomOf(roomID string, events []*matrix.Event) (*liveRoom, error) {
	r, err := g.live(roomID)
	if err != nil || r != nil {
		return r, err
	}
	for _, e := range events {
		if !e.IsCreate() || e.RoomID() != roomID {
			continue
		}
		if version := e.Get("room_version").String(); version != e.Version().ID {
			return nil, fmt.Errorf("the create event has room version %q, the template had %q", version, e.Version().ID)
		}
		return g.newLiveRoom(e)
	}
	return nil, errors.New("the room's create event is missing, or not signed by its sender")
}

// verifyMembers asks who is behind the account keys in a state, before the room is shown to clients
// (MSC4243, "Server behaviour").
func (g *Engine) verifyMembers(ctx context.Context, s State) {
	stored, err := g.Events(s)
	if err != nil {
		g.Logger.Error("reading the members of a room", "error", err)
		return
	}
	var events []*matrix.Event
	for _, e := range stored {
		events = append(events, e.Event)
	}
	users := accountKeysOf(g.onlyJoined(events))
	ctx, cancel := context.WithTimeout(ctx, joinVerifyWait)
	defer cancel()
	g.Directory.Verify(ctx, users...)
}

// verifyServersOf asks for the domains of the servers in a room with participation that this server has just
// joined, and who is behind its account keys. Nobody waits for that, as nothing is hidden until then.
func (g *Engine) verifyServersOf(ctx context.Context, r *liveRoom, s State) {
	if !r.version.HasParticipation() {
		return
	}
	stored, err := g.Events(s)
	if err != nil {
		g.Logger.Error("reading the servers of a room", "error", err)
		return
	}
	var events []*matrix.Event
	for _, e := range stored {
		if e.IsParticipation() || e.Type() == "m.room.member" {
			events = append(events, e.Event)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, joinVerifyWait)
	defer cancel()
	g.verifyServers(ctx, r, events...)
}

// settleIn stores the join and makes the room current.
func (g *Engine) settleIn(r *liveRoom, join *matrix.Event, before State) error {
	hole, err := g.unknownParents(join)
	if err != nil {
		return err
	}
	g.mutex.Lock()
	g.rooms[r.id] = r
	g.mutex.Unlock()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return g.commit(r, verdict{event: join, outcome: Accepted, before: before, hole: hole, restart: true})
}
