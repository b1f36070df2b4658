package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// directoryRoutes are about aliases and the room directory.
func (a *API) directoryRoutes() []route {
	return []route{
		open(http.MethodGet, "/v3/directory/room/{alias}", a.getAlias),
		authed(http.MethodPut, "/v3/directory/room/{alias}", a.putAlias),
		authed(http.MethodDelete, "/v3/directory/room/{alias}", a.deleteAlias),
		authed(http.MethodGet, "/v3/rooms/{roomID}/aliases", a.aliases),
		open(http.MethodGet, "/v3/directory/list/room/{roomID}", a.getVisibility),
		authed(http.MethodPut, "/v3/directory/list/room/{roomID}", a.putVisibility),
		open(http.MethodGet, "/v3/publicRooms", a.publicRooms),
		authed(http.MethodPost, "/v3/publicRooms", a.publicRooms),
	}
}

// aliasTarget is what an alias names.
type aliasTarget struct {
	RoomID  string              `json:"room_id"`
	Servers []matrix.ServerName `json:"servers"`
}

// resolveAlias finds what an alias names, on this server or by asking the alias's own.
func (a *API) resolveAlias(ctx context.Context, alias string) (aliasTarget, error) {
	_, domain, ok := strings.Cut(alias, ":")
	if !ok || !strings.HasPrefix(alias, "#") {
		return aliasTarget{}, peer.InvalidParam("%q is not a room alias", alias)
	}
	if matrix.ServerName(domain) == a.server {
		return a.localAlias(alias)
	}
	if _, err := matrix.ParseServerName(domain); err != nil {
		return aliasTarget{}, peer.InvalidParam("%v", err)
	}
	answer, err := a.peers.Call(ctx, matrix.ServerName(domain), peer.Call{
		Method: http.MethodGet, Path: peer.Path("_matrix", "federation", "v1", "query", "directory"),
		Query: url.Values{"room_alias": {alias}},
	})
	if err != nil {
		return aliasTarget{}, peer.NotFound("the alias %s cannot be resolved: %v", alias, err)
	}
	var found aliasTarget
	if err := json.Unmarshal(answer, &found); err != nil || !strings.HasPrefix(found.RoomID, "!") {
		return aliasTarget{}, peer.NotFound("%s has no answer of the right shape for the alias %s", domain, alias)
	}
	return found, nil
}

func (a *API) localAlias(alias string) (aliasTarget, error) {
	known, err := a.users.Alias(alias)
	if err != nil {
		return aliasTarget{}, peer.NotFound("there is no alias %s", alias)
	}
	servers, err := a.engine.Servers(known.RoomID)
	if err != nil {
		return aliasTarget{}, err
	}
	if len(servers) == 0 {
		servers = []matrix.ServerName{a.server}
	}
	return aliasTarget{RoomID: known.RoomID, Servers: servers}, nil
}

// getAlias answers GET /directory/room/{roomAlias}.
func (a *API) getAlias(c *call) (any, error) {
	return a.resolveAlias(c.Context(), c.PathValue("alias"))
}

// putAlias answers PUT /directory/room/{roomAlias}.
func (a *API) putAlias(c *call) (any, error) {
	alias := c.PathValue("alias")
	name, domain, _ := strings.Cut(alias, ":")
	if len(name) < 2 || name[0] != '#' || len(alias) > matrix.MaxIDLength {
		return nil, peer.InvalidParam("%q is not a room alias", alias)
	}
	if matrix.ServerName(domain) != a.server {
		return nil, peer.InvalidParam("the alias %s is another server's", alias)
	}
	var body struct {
		RoomID string `json:"room_id"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(body.RoomID, "!") {
		return nil, peer.InvalidParam("%q is not a room ID", body.RoomID)
	}
	r, err := a.reader(c.session, body.RoomID)
	if err != nil {
		return nil, err
	}
	if !r.joined() {
		return nil, notInRoom(body.RoomID)
	}
	err = a.users.CreateAlias(userdb.Alias{Alias: alias, RoomID: body.RoomID, Creator: c.user()})
	if errors.Is(err, userdb.ErrExists) {
		return nil, peer.Errorf(http.StatusConflict, "M_UNKNOWN", "the alias %s is taken", alias)
	}
	if err != nil {
		return nil, err
	}
	return empty()
}

// deleteAlias answers DELETE /directory/room/{roomAlias}: for who made it, or may change the room's
// canonical alias.
func (a *API) deleteAlias(c *call) (any, error) {
	alias, err := a.users.Alias(c.PathValue("alias"))
	if err != nil {
		return nil, err
	}
	if alias.Creator != c.user() && !a.mayRename(c, alias.RoomID) {
		return nil, peer.Forbidden("the alias %s is not yours", alias.Alias)
	}
	if err := a.users.DeleteAlias(alias.Alias); err != nil {
		return nil, err
	}
	return empty()
}

// mayRename reports whether the caller's power level allows a canonical alias in a room.
func (a *API) mayRename(c *call, roomID string) bool {
	r, err := a.reader(c.session, roomID)
	if err != nil || !r.joined() {
		return false
	}
	state, err := r.state()
	return err == nil && r.powerOf(state, r.self) >= r.powerFor(state, "m.room.canonical_alias")
}

// aliases answers GET /rooms/{roomId}/aliases.
func (a *API) aliases(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	aliases, err := a.users.Aliases(r.roomID)
	if aliases == nil {
		aliases = []string{}
	}
	return map[string]any{"aliases": aliases}, err
}

// getVisibility answers GET /directory/list/room/{roomId}.
func (a *API) getVisibility(c *call) (any, error) {
	if _, ok := a.engine.Room(c.PathValue("roomID")); !ok {
		return nil, peer.NotFound("there is no room %s", c.PathValue("roomID"))
	}
	published, err := a.users.IsPublished(c.PathValue("roomID"))
	visibility := "private"
	if published {
		visibility = "public"
	}
	return map[string]string{"visibility": visibility}, err
}

// putVisibility answers PUT /directory/list/room/{roomId}.
func (a *API) putVisibility(c *call) (any, error) {
	visibility := "public"
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	if v := gjson.GetBytes(object, "visibility"); v.Exists() {
		visibility = v.Str
	}
	if visibility != "public" && visibility != "private" {
		return nil, peer.InvalidParam("there is no visibility %q", visibility)
	}
	roomID := c.PathValue("roomID")
	if _, ok := a.engine.Room(roomID); !ok {
		return nil, peer.NotFound("there is no room %s", roomID)
	}
	if !a.mayRename(c, roomID) {
		return nil, peer.Forbidden("your power level does not allow that")
	}
	if err := a.users.SetPublished(roomID, visibility == "public"); err != nil {
		return nil, err
	}
	return empty()
}
