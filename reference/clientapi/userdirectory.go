package clientapi

import (
	"errors"
	"slices"
	"strings"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
)

// searchUsers answers POST /user_directory/search: local users, and users who share a room with the
// caller or are in a public room that this server is in.
func (a *API) searchUsers(c *call) (any, error) {
	var body struct {
		SearchTerm string `json:"search_term"`
		Limit      *int   `json:"limit"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	limit := defaultLimit
	if body.Limit != nil {
		limit = max(0, min(*body.Limit, maxLimit))
	}
	known, err := a.knownUsers(c)
	if err != nil {
		return nil, err
	}
	term := strings.ToLower(body.SearchTerm)
	results := []map[string]any{}
	limited := false
	for _, u := range known {
		if !strings.Contains(strings.ToLower(string(u.user)+"\n"+u.displayName), term) {
			continue
		}
		if limited = len(results) == limit; limited {
			break
		}
		result := map[string]any{"user_id": u.user}
		if u.displayName != "" {
			result["display_name"] = u.displayName
		}
		if u.avatarURL != "" {
			result["avatar_url"] = u.avatarURL
		}
		results = append(results, result)
	}
	return map[string]any{"results": results, "limited": limited}, nil
}

// directoryUser is a user whom the user directory can find.
type directoryUser struct {
	user                   matrix.UserID
	displayName, avatarURL string
}

// knownUsers are the users whom a caller can find, in order of their user IDs. Users of rooms come as
// clients know them; hidden ones cannot be found.
func (a *API) knownUsers(c *call) ([]directoryUser, error) {
	found := map[matrix.UserID]directoryUser{}
	rooms := map[string]bool{}
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	for _, m := range memberships {
		if m.Membership == "join" {
			rooms[m.RoomID] = true
		}
	}
	published, err := a.users.Published()
	if err != nil {
		return nil, err
	}
	for _, roomID := range published {
		rooms[roomID] = true
	}
	for roomID := range rooms {
		r, err := a.reader(c.session, roomID)
		if err != nil {
			continue // published once, but not known any more
		}
		state, err := a.engine.CurrentState(roomID)
		if err != nil {
			return nil, err
		}
		for shown, e := range r.joinedUsers(state) {
			user, ok := r.knownAs(shown)
			if !ok {
				continue // an ID that means nothing outside of the room
			}
			if inRoom := matrix.UserID(e.Tuple().StateKey); inRoom != user && a.defects.Has("ListKeysInTheUserDirectory") {
				user = inRoom
			}
			found[user] = directoryUser{user, e.Get("displayname").Str, e.Get("avatar_url").Str}
		}
	}
	if err := a.addLocalUsers(found); err != nil {
		return nil, err
	}
	users := make([]directoryUser, 0, len(found))
	for _, u := range found {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b directoryUser) int { return strings.Compare(string(a.user), string(b.user)) })
	return users, nil
}

// addLocalUsers adds the active users of this server.
func (a *API) addLocalUsers(found map[matrix.UserID]directoryUser) error {
	var failure error
	err := a.users.Users(func(u userdb.User) bool {
		if u.Deactivated {
			return true
		}
		found[u.ID] = directoryUser{user: u.ID}
		return true
	})
	for user := range found {
		if user.Domain() != a.server {
			continue
		}
		profile, err := a.users.Profile(user)
		failure = errors.Join(failure, err)
		found[user] = directoryUser{user, profile.Text("displayname"), profile.Text("avatar_url")}
	}
	return errors.Join(err, failure)
}
