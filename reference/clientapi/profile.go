package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// profileRoutes are about profiles.
func (a *API) profileRoutes() []route {
	return []route{
		open(http.MethodGet, "/v3/profile/{userID}", a.getProfile),
		open(http.MethodGet, "/v3/profile/{userID}/{field}", a.getProfile),
		authed(http.MethodPut, "/v3/profile/{userID}/{field}", a.putProfile),
		authed(http.MethodDelete, "/v3/profile/{userID}/{field}", a.deleteProfile),
	}
}

// maxProfile bounds a profile (client-server API, "Profiles").
const maxProfile = 64 << 10

// getProfile answers GET /profile/{userId} and /profile/{userId}/{keyName}. D-22: users of other
// servers are asked for by account name.
func (a *API) getProfile(c *call) (any, error) {
	user, err := a.accountName(c.PathValue("userID"))
	if err != nil {
		return nil, err
	}
	if user.Domain() == a.server {
		answer, err := a.Profile(c.Context(), user, c.PathValue("field"))
		return json.RawMessage(answer), err
	}
	query := url.Values{"user_id": {string(user)}}
	if field := c.PathValue("field"); field != "" {
		query.Set("field", field)
	}
	answer, err := a.peers.Call(c.Context(), user.Domain(), peer.Call{
		Method: http.MethodGet, Path: peer.Path("_matrix", "federation", "v1", "query", "profile"), Query: query,
	})
	if err != nil {
		if e, ok := errors.AsType[*peer.Error](err); ok && e.Status == http.StatusNotFound {
			return nil, peer.NotFound("there is no profile of %s", user)
		}
		return nil, err
	}
	var profile map[string]json.RawMessage
	if json.Unmarshal(answer, &profile) != nil {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "%s has not answered with a profile", user.Domain())
	}
	return profile, nil
}

// accountName is the account name user ID that a text is, or that the local user has whom a room with
// participation calls so. Other users of such rooms have no profile but the one in their membership (D-59).
func (a *API) accountName(text string) (matrix.UserID, error) {
	for _, v := range a.engine.Versions() {
		if !v.HasParticipation() {
			continue
		}
		user, err := v.ParseUserID(text)
		if err != nil {
			continue
		}
		if local, ok := a.engine.LocalUser(v, user); ok {
			return local, nil
		}
		return "", peer.NotFound("there is no profile of %s, who is known to rooms alone", user)
	}
	user, err := matrix.ParseUserID(text)
	if err != nil {
		return "", peer.InvalidParam("%v", err)
	}
	return user, nil
}

// Profile answers for the profile of a local user, to clients and to other servers; field chooses one
// field, all when it is empty.
func (a *API) Profile(_ context.Context, user matrix.UserID, field string) ([]byte, error) {
	if user.Domain() != a.server || !a.users.Exists(user.Localpart()) {
		return nil, peer.NotFound("there is no user %s", user)
	}
	profile, err := a.users.Profile(user)
	if err != nil {
		return nil, err
	}
	if field == "" {
		return mustJSON(profile), nil
	}
	value, ok := profile[field]
	if !ok {
		return nil, peer.NotFound("the profile of %s has no %s", user, field)
	}
	return mustJSON(map[string]json.RawMessage{field: value}), nil
}

// putProfile answers PUT /profile/{userId}/{keyName}.
func (a *API) putProfile(c *call) (any, error) {
	var body map[string]json.RawMessage
	if err := c.read(&body); err != nil {
		return nil, err
	}
	field := c.PathValue("field")
	value, ok := body[field]
	if !ok {
		return nil, missingParam(field)
	}
	if len(field) > matrix.MaxIDLength {
		return nil, peer.Errorf(http.StatusBadRequest, "M_KEY_TOO_LARGE", "the name of the field has more than %d bytes", matrix.MaxIDLength)
	}
	if isMemberField(field) {
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, peer.BadJSON("%s is not a string", field)
		}
		if text == "" {
			value = nil
		}
	}
	return a.changeProfile(c, field, value)
}

// deleteProfile answers DELETE /profile/{userId}/{keyName}.
func (a *API) deleteProfile(c *call) (any, error) {
	return a.changeProfile(c, c.PathValue("field"), nil)
}

// isMemberField reports whether a field of the profile is repeated in the user's memberships.
func isMemberField(field string) bool { return field == "displayname" || field == "avatar_url" }

// changeProfile sets a field of the profile, or deletes it when value is nil, and renews the user's
// memberships when they repeat it.
func (a *API) changeProfile(c *call, field string, value json.RawMessage) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	profile, err := a.users.Profile(user)
	if err != nil {
		return nil, err
	}
	changed := maps.Clone(profile)
	if value == nil {
		delete(changed, field)
	} else {
		changed[field] = value
	}
	if len(mustJSON(changed)) > maxProfile {
		return nil, peer.Errorf(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "the profile would have more than %d bytes", maxProfile)
	}
	if err := a.users.SetProfileField(user, field, value); err != nil {
		return nil, err
	}
	if isMemberField(field) && profile.Text(field) != changed.Text(field) {
		a.renewMemberships(c, user, field, changed.Text(field))
	}
	return empty()
}

// renewMemberships sends a new join in every room that a user is in, with a field of the profile set
// to text. A room that does not take it keeps the old one.
func (a *API) renewMemberships(c *call, user matrix.UserID, field, text string) {
	memberships, err := a.engine.Memberships(user)
	if err != nil {
		a.logger.Warn("memberships cannot be read", "user", user, "error", err)
		return
	}
	slices.SortFunc(memberships, func(a, b room.Membership) int { return int(a.Position - b.Position) })
	for _, m := range memberships {
		if m.Membership != "join" {
			continue
		}
		if err := a.renewMembership(c, user, m, field, text); err != nil {
			a.logger.Info("a membership cannot be renewed", "user", user, "room", m.RoomID, "error", err)
		}
	}
}

func (a *API) renewMembership(c *call, user matrix.UserID, m room.Membership, field, text string) error {
	join, ok := a.engine.Event(m.RoomID, m.EventID)
	if !ok {
		return peer.NotFound("the join is not known")
	}
	content := without(join.Content(), "join_authorised_via_users_server")
	if text == "" {
		content = without(content, field)
	} else {
		content = with(content, field, text)
	}
	key := string(m.User)
	_, err := a.engine.Send(c.Context(), m.RoomID, user, room.Draft{Type: "m.room.member", StateKey: &key, Content: content})
	return err
}
