package clientapi

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// dataRoutes are about what clients keep on the server: account data, tags and filters. Users in it
// are account name user IDs, and nothing is translated (CS-24).
func (a *API) dataRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v3/user/{userID}/account_data/{type}", a.getAccountData),
		authed(http.MethodPut, "/v3/user/{userID}/account_data/{type}", a.putAccountData),
		authed(http.MethodGet, "/v3/user/{userID}/rooms/{roomID}/account_data/{type}", a.getAccountData),
		authed(http.MethodPut, "/v3/user/{userID}/rooms/{roomID}/account_data/{type}", a.putAccountData),
		authed(http.MethodGet, "/v3/user/{userID}/rooms/{roomID}/tags", a.getTags),
		authed(http.MethodPut, "/v3/user/{userID}/rooms/{roomID}/tags/{tag}", a.putTag),
		authed(http.MethodDelete, "/v3/user/{userID}/rooms/{roomID}/tags/{tag}", a.deleteTag),
		authed(http.MethodPost, "/v3/user/{userID}/filter", a.postFilter),
		authed(http.MethodGet, "/v3/user/{userID}/filter/{filterID}", a.getFilter),
	}
}

// Types of account data that the server reads itself.
const (
	dataIgnoredUsers = "m.ignored_user_list"
	dataTags         = "m.tag"
	dataPushRules    = "m.push_rules"
)

// getAccountData answers GET /user/{userId}/account_data/{type}, also below rooms/{roomId}.
func (a *API) getAccountData(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	if c.PathValue("type") == dataPushRules && c.PathValue("roomID") == "" {
		return a.pushRules(user)
	}
	return a.users.AccountData(user, c.PathValue("roomID"), c.PathValue("type"))
}

// putAccountData answers PUT /user/{userId}/account_data/{type}, also below rooms/{roomId}.
func (a *API) putAccountData(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	switch c.PathValue("type") {
	case fullyRead, dataPushRules:
		return nil, peer.Errorf(http.StatusMethodNotAllowed, "M_BAD_JSON", "%s is not set as account data", c.PathValue("type"))
	}
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	return a.setAccountData(user, c.PathValue("roomID"), c.PathValue("type"), object)
}

func (a *API) setAccountData(user matrix.UserID, roomID, dataType string, content json.RawMessage) (any, error) {
	content = a.mistakenAccountData(roomID, content)
	if err := a.users.SetAccountData(user, roomID, dataType, content); err != nil {
		return nil, err
	}
	a.hub.wake(string(user))
	return empty()
}

// ignoredUsers are the users whom a user ignores, by account name user ID.
func (a *API) ignoredUsers(user matrix.UserID) (map[matrix.UserID]bool, error) {
	content, err := a.users.AccountData(user, "", dataIgnoredUsers)
	if errors.Is(err, userdb.ErrNotFound) {
		return nil, nil
	}
	ignored := map[matrix.UserID]bool{}
	for name := range gjson.GetBytes(content, "ignored_users").Map() {
		ignored[matrix.UserID(name)] = true
	}
	return ignored, err
}

// tags are the tags of a room.
func (a *API) tags(user matrix.UserID, roomID string) (map[string]json.RawMessage, error) {
	content, err := a.users.AccountData(user, roomID, dataTags)
	if errors.Is(err, userdb.ErrNotFound) {
		return map[string]json.RawMessage{}, nil
	}
	if err != nil {
		return nil, err
	}
	var tags struct {
		Tags map[string]json.RawMessage `json:"tags"`
	}
	if err := json.Unmarshal(content, &tags); err != nil || tags.Tags == nil {
		return map[string]json.RawMessage{}, nil // the client has stored something else there
	}
	return tags.Tags, nil
}

func (a *API) getTags(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	tags, err := a.tags(user, c.PathValue("roomID"))
	return map[string]any{"tags": tags}, err
}

func (a *API) putTag(c *call) (any, error) {
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	return a.changeTags(c, map[string]json.RawMessage{c.PathValue("tag"): object})
}

func (a *API) deleteTag(c *call) (any, error) {
	return a.changeTags(c, map[string]json.RawMessage{c.PathValue("tag"): nil})
}

// changeTags sets tags, or deletes those that are nil.
func (a *API) changeTags(c *call, changed map[string]json.RawMessage) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	tags, err := a.tags(user, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	maps.Copy(tags, changed)
	maps.DeleteFunc(tags, func(_ string, content json.RawMessage) bool { return content == nil })
	return a.setAccountData(user, c.PathValue("roomID"), dataTags, mustJSON(map[string]any{"tags": tags}))
}

func (a *API) postFilter(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	if _, err := parseFilter(object); err != nil {
		return nil, err
	}
	id, err := a.users.PutFilter(user, mustJSON(object))
	return map[string]string{"filter_id": id}, err
}

func (a *API) getFilter(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	return a.users.Filter(user, c.PathValue("filterID"))
}
