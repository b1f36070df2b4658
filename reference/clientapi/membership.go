package clientapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// membershipRoutes are about who is in a room.
func (a *API) membershipRoutes() []route {
	change := func(verb string, do func(*call) change) route {
		return authed(http.MethodPost, "/v3/rooms/{roomID}/"+verb, a.membershipHandler(do))
	}
	return []route{
		authed(http.MethodPost, "/v3/join/{roomIDOrAlias}", a.joinByIDOrAlias),
		authed(http.MethodPost, "/v3/knock/{roomIDOrAlias}", a.knockByIDOrAlias),
		authed(http.MethodPost, "/v3/rooms/{roomID}/join", a.joinByID),
		authed(http.MethodPost, "/v3/rooms/{roomID}/leave", a.leave),
		authed(http.MethodPost, "/v3/rooms/{roomID}/forget", a.forget),
		change("invite", a.engineInvite),
		change("kick", a.engineKick),
		change("ban", a.engineBan),
		change("unban", a.engineUnban),
	}
}

// change brings about a membership of a target, an account name user ID, in a room; content is that of
// the member event without membership.
type change func(roomID string, target matrix.UserID, content []byte) error

// membershipChange is a change that a client asks for.
type membershipChange struct {
	target  matrix.UserID
	content []byte
	do      change
}

func (a *API) changeMembership(c *call, m membershipChange) error {
	roomID := c.PathValue("roomID")
	target, err := a.target(roomID, m.target)
	if err != nil {
		return err
	}
	return m.do(roomID, target, m.content)
}

// target is whom a client means by a user ID, as the engine takes it: local users by account name, others as
// they are named.
func (a *API) target(roomID string, named matrix.UserID) (matrix.UserID, error) {
	t := translator{}
	if info, ok := a.engine.Room(roomID); ok {
		t = a.translator(roomID, info.Version)
	}
	if err := t.checkUserID(named); err != nil || t.company == nil {
		return named, err
	}
	if local, ok := t.company.LocalUser(named); ok {
		return local, nil
	}
	return named, nil
}

// membershipHandler answers POST /rooms/{roomId}/invite and its kin, which name a target.
func (a *API) membershipHandler(do func(*call) change) handler {
	return func(c *call) (any, error) {
		var body struct {
			UserID matrix.UserID `json:"user_id"`
		}
		if err := c.read(&body); err != nil {
			return nil, err
		}
		if body.UserID == "" {
			return nil, missingParam("user_id")
		}
		if err := a.changeMembership(c, membershipChange{body.UserID, c.reason(), do(c)}); err != nil {
			return nil, err
		}
		return empty()
	}
}

// reason is the content of a member event that gives the reason in the request's body.
func (c *call) reason() []byte {
	content := map[string]any{}
	if reason := gjson.GetBytes(c.body, "reason"); reason.Type == gjson.String {
		content["reason"] = reason.Str
	}
	return mustJSON(content)
}

func (a *API) engineInvite(c *call) change {
	return func(roomID string, target matrix.UserID, content []byte) error {
		if err := a.inviteable(target); err != nil {
			return err
		}
		return a.engine.Invite(c.Context(), roomID, c.user(), target, a.withProfile(target, content))
	}
}

// invite invites a user whom the client has named to a room.
func (a *API) invite(c *call, roomID string, named matrix.UserID, content []byte) error {
	target, err := a.target(roomID, named)
	if err != nil {
		return err
	}
	return a.engineInvite(c)(roomID, target, content)
}

// inviteable refuses local users who do not exist.
func (a *API) inviteable(target matrix.UserID) error {
	if target.Domain() == a.server && !a.users.Exists(target.Localpart()) {
		return peer.NotFound("there is no user %s", target)
	}
	return nil
}

func (a *API) engineKick(c *call) change {
	return func(roomID string, target matrix.UserID, content []byte) error {
		return a.engine.Kick(c.Context(), roomID, c.user(), target, content)
	}
}

func (a *API) engineBan(c *call) change {
	return func(roomID string, target matrix.UserID, content []byte) error {
		return a.engine.Ban(c.Context(), roomID, c.user(), target, content)
	}
}

func (a *API) engineUnban(c *call) change {
	return func(roomID string, target matrix.UserID, content []byte) error {
		return a.engine.Unban(c.Context(), roomID, c.user(), target, content)
	}
}

// engineKickOrUnban makes a user leave: who is banned is unbanned by it.
func (a *API) engineKickOrUnban(c *call) change {
	return func(roomID string, target matrix.UserID, content []byte) error {
		r, err := a.reader(c.session, roomID)
		if err != nil {
			return err
		}
		user, _ := r.find(target)
		if m, _ := a.engine.Membership(roomID, user); m.Membership == "ban" {
			return a.engineUnban(c)(roomID, target, content)
		}
		return a.engineKick(c)(roomID, target, content)
	}
}

func (a *API) engineJoin(c *call) change {
	return func(roomID string, user matrix.UserID, content []byte) error {
		if err := a.checkGuestJoin(c, roomID); err != nil {
			return err
		}
		return a.engine.Join(c.Context(), roomID, user, a.withProfile(user, content), a.via(c, roomID))
	}
}

func (a *API) engineKnock(c *call) change {
	return func(roomID string, user matrix.UserID, content []byte) error {
		return a.engine.Knock(c.Context(), roomID, user, a.withProfile(user, content), a.via(c, roomID))
	}
}

func (a *API) engineLeave(c *call) change {
	return func(roomID string, user matrix.UserID, content []byte) error {
		return a.engine.Leave(c.Context(), roomID, user, content)
	}
}

// withProfile adds the profile of a local user to the content of a member event; what the content has
// already stays.
func (a *API) withProfile(user matrix.UserID, content []byte) []byte {
	if user.Domain() != a.server {
		return content
	}
	profile, err := a.users.Profile(user)
	if err != nil {
		a.logger.Warn("a profile cannot be read", "user", user, "error", err)
		return content
	}
	for _, field := range []string{"displayname", "avatar_url"} {
		if text := profile.Text(field); text != "" && !gjson.GetBytes(content, field).Exists() {
			content = with(content, field, text)
		}
	}
	return content
}

// via are the servers through which a room may be reached: those that the request names, under both
// names that the parameter has had, and whoever has invited the user.
func (a *API) via(c *call, roomID string) []matrix.ServerName {
	var servers []matrix.ServerName
	add := func(name matrix.ServerName) {
		if _, err := matrix.ParseServerName(string(name)); err != nil || name == a.server {
			return
		}
		for _, known := range servers {
			if known == name {
				return
			}
		}
		servers = append(servers, name)
	}
	query := c.URL.Query()
	for _, name := range append(query["via"], query["server_name"]...) {
		add(matrix.ServerName(name))
	}
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return servers
	}
	for _, m := range memberships {
		if m.RoomID == roomID && m.Membership == "invite" && !m.Version.HasParticipation() {
			add(m.Sender.Domain())
		}
	}
	return servers
}

// joinByIDOrAlias answers POST /join/{roomIdOrAlias}.
func (a *API) joinByIDOrAlias(c *call) (any, error) {
	return a.enter(c, c.PathValue("roomIDOrAlias"), a.engine.Join)
}

// joinByID answers POST /rooms/{roomId}/join.
func (a *API) joinByID(c *call) (any, error) { return a.enter(c, c.PathValue("roomID"), a.engine.Join) }

// knockByIDOrAlias answers POST /knock/{roomIdOrAlias}.
func (a *API) knockByIDOrAlias(c *call) (any, error) {
	return a.enter(c, c.PathValue("roomIDOrAlias"), a.engine.Knock)
}

// enter joins or knocks on a room that is named by its ID or an alias.
func (a *API) enter(c *call, named string, do entrance) (any, error) {
	roomID, via := named, a.via(c, named)
	switch {
	case strings.HasPrefix(named, "#"):
		found, err := a.resolveAlias(c.Context(), named)
		if err != nil {
			return nil, err
		}
		roomID = found.RoomID
		via = append(via, found.Servers...)
	case !strings.HasPrefix(named, "!"):
		return nil, peer.InvalidParam("%q is neither a room ID nor a room alias", named)
	}
	if err := a.checkGuestJoin(c, roomID); err != nil {
		return nil, err
	}
	if err := do(c.Context(), roomID, c.user(), a.withProfile(c.user(), c.reason()), via); err != nil {
		return nil, err
	}
	return map[string]string{"room_id": roomID}, nil
}

// entrance is a way into a room: room.Engine.Join or Knock.
type entrance func(ctx context.Context, roomID string, user matrix.UserID, content []byte, via []matrix.ServerName) error

// leave answers POST /rooms/{roomId}/leave.
func (a *API) leave(c *call) (any, error) {
	if err := a.engineLeave(c)(c.PathValue("roomID"), c.user(), c.reason()); err != nil {
		return nil, err
	}
	if err := a.directory.Departed(c.user().Localpart()); err != nil {
		return nil, err
	}
	return empty()
}

// forget answers POST /rooms/{roomId}/forget.
func (a *API) forget(c *call) (any, error) {
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	for _, m := range memberships {
		if m.RoomID != c.PathValue("roomID") {
			continue
		}
		if m.Membership != "leave" && m.Membership != "ban" {
			return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN", "leave the room before you forget it")
		}
		if err := a.users.SetForgotten(c.user(), m.RoomID, m.EventID); err != nil {
			return nil, err
		}
		return empty()
	}
	return nil, peer.NotFound("you were never in room %s", c.PathValue("roomID"))
}
