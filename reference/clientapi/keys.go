package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// keyRoutes are about end-to-end encryption and messages between devices. All of it names users by
// account name, between servers too (MSC4243, "Impacts on end-to-end encryption"): the user ID is part
// of what cross-signing keys sign.
func (a *API) keyRoutes() []route {
	return []route{
		authed(http.MethodPost, "/v3/keys/upload", a.uploadKeys),
		authed(http.MethodPost, "/v3/keys/query", a.queryKeys),
		authed(http.MethodPost, "/v3/keys/claim", a.claimKeys),
		authed(http.MethodGet, "/v3/keys/changes", a.keyChanges),
		authed(http.MethodPost, "/v3/keys/device_signing/upload", a.uploadCrossSigning),
		authed(http.MethodPost, "/v3/keys/signatures/upload", a.uploadSignatures),
		authed(http.MethodPut, "/v3/sendToDevice/{type}/{txnID}", a.once(a.sendToDevice)),
	}
}

// uploadKeys answers POST /keys/upload.
func (a *API) uploadKeys(c *call) (any, error) {
	var body struct {
		DeviceKeys   json.RawMessage            `json:"device_keys"`
		OneTimeKeys  map[string]json.RawMessage `json:"one_time_keys"`
		FallbackKeys map[string]json.RawMessage `json:"fallback_keys"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	device := c.session.DeviceID
	if body.DeviceKeys != nil && string(body.DeviceKeys) != "null" {
		keys := gjson.ParseBytes(body.DeviceKeys)
		if keys.Get("user_id").Str != string(c.user()) || keys.Get("device_id").Str != device {
			return nil, peer.InvalidParam("the device keys are of another user or device")
		}
		changed, err := a.users.SetDeviceKeys(c.user(), device, mustJSON(body.DeviceKeys))
		if err != nil {
			return nil, err
		}
		if changed {
			if err := a.devicesChanged(c.user(), device); err != nil {
				return nil, err
			}
		}
	}
	oneTime, err := keysByID(body.OneTimeKeys)
	if err != nil {
		return nil, err
	}
	if err := a.users.AddOneTimeKeys(c.user(), device, oneTime); err != nil {
		return nil, err
	}
	fallback, err := keysByID(body.FallbackKeys)
	if err != nil {
		return nil, err
	}
	for id, key := range fallback {
		if err := a.users.SetFallbackKey(c.user(), device, id, key); err != nil {
			return nil, err
		}
	}
	counts, _, err := a.users.OneTimeKeyCounts(c.user(), device)
	return map[string]any{"one_time_key_counts": counts}, err
}

func keysByID(named map[string]json.RawMessage) (map[userdb.KeyID]json.RawMessage, error) {
	keys := map[userdb.KeyID]json.RawMessage{}
	for name, key := range named {
		algorithm, id, ok := strings.Cut(name, ":")
		if !ok {
			return nil, peer.InvalidParam("%q is not a key ID", name)
		}
		keys[userdb.KeyID{Algorithm: algorithm, ID: id}] = mustJSON(key)
	}
	return keys, nil
}

// foundKeys is an answer to /keys/query.
type foundKeys struct {
	DeviceKeys  map[matrix.UserID]map[string]json.RawMessage `json:"device_keys"`
	MasterKeys  map[matrix.UserID]json.RawMessage            `json:"master_keys"`
	SelfSigning map[matrix.UserID]json.RawMessage            `json:"self_signing_keys"`
	UserSigning map[matrix.UserID]json.RawMessage            `json:"user_signing_keys,omitempty"`
	Failures    map[matrix.ServerName]any                    `json:"failures,omitempty"`
}

func newFoundKeys() *foundKeys {
	return &foundKeys{
		DeviceKeys: map[matrix.UserID]map[string]json.RawMessage{},
		MasterKeys: map[matrix.UserID]json.RawMessage{}, SelfSigning: map[matrix.UserID]json.RawMessage{},
		UserSigning: map[matrix.UserID]json.RawMessage{}, Failures: map[matrix.ServerName]any{},
	}
}

// deviceQuery are the users and devices of a /keys/query, an empty list for all devices.
type deviceQuery map[matrix.UserID][]string

// byServer splits anything keyed by users by the users' servers. D-59: users who are named as rooms with
// participation know them have no devices, and are left out.
func byServer[T any](users map[matrix.UserID]T) map[matrix.ServerName]map[matrix.UserID]T {
	servers := map[matrix.ServerName]map[matrix.UserID]T{}
	for user, value := range users {
		domain := user.Domain()
		if !hasDomain(user) {
			continue
		}
		if servers[domain] == nil {
			servers[domain] = map[matrix.UserID]T{}
		}
		servers[domain][user] = value
	}
	return servers
}

// askEach asks every server at once, and returns what failed.
func (a *API) askEach(servers []matrix.ServerName, ask func(matrix.ServerName) error) map[matrix.ServerName]any {
	failures := map[matrix.ServerName]any{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, server := range servers {
		wg.Go(func() {
			if err := ask(server); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures[server] = map[string]string{"errcode": "M_UNKNOWN", "error": err.Error()}
			}
		})
	}
	wg.Wait()
	return failures
}

// queryKeys answers POST /keys/query.
func (a *API) queryKeys(c *call) (any, error) {
	var body struct {
		DeviceKeys deviceQuery `json:"device_keys"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	found := newFoundKeys()
	remote := byServer(body.DeviceKeys)
	if err := a.localKeys(remote[a.server], c.user(), found); err != nil {
		return nil, err
	}
	delete(remote, a.server)
	var mu sync.Mutex
	found.Failures = a.askEach(servers(remote), func(server matrix.ServerName) error {
		answer, err := a.peers.Call(c.Context(), server, peer.Call{
			Method: http.MethodPost, Path: peer.Path("_matrix", "federation", "v1", "user", "keys", "query"),
			Body: mustJSON(map[string]any{"device_keys": remote[server]}),
		})
		if err != nil {
			return err
		}
		theirs := newFoundKeys()
		if err := json.Unmarshal(answer, theirs); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		found.merge(theirs, remote[server])
		return nil
	})
	return found, nil
}

func servers[T any](byServer map[matrix.ServerName]T) (names []matrix.ServerName) {
	for name := range byServer {
		names = append(names, name)
	}
	return names
}

// merge takes over what a server has said about the users that it was asked for, and nothing else.
func (f *foundKeys) merge(theirs *foundKeys, asked map[matrix.UserID][]string) {
	for user := range asked {
		if keys, ok := theirs.DeviceKeys[user]; ok {
			f.DeviceKeys[user] = keys
		}
		if key, ok := theirs.MasterKeys[user]; ok {
			f.MasterKeys[user] = key
		}
		if key, ok := theirs.SelfSigning[user]; ok {
			f.SelfSigning[user] = key
		}
	}
}

// localKeys adds the keys of local users. asking is the local user who asks, empty for other servers:
// user-signing keys are shown to their owners only.
func (a *API) localKeys(query deviceQuery, asking matrix.UserID, found *foundKeys) error {
	for user, wanted := range query {
		keys, err := a.deviceKeys(user)
		if err != nil {
			return err
		}
		if len(wanted) > 0 {
			maps.DeleteFunc(keys, func(device string, _ json.RawMessage) bool { return !slices.Contains(wanted, device) })
		}
		if a.users.Exists(user.Localpart()) {
			found.DeviceKeys[user] = keys
		}
		crossSigning, err := a.users.CrossSigningKeys(user)
		if err != nil {
			return err
		}
		for usage, into := range map[string]map[matrix.UserID]json.RawMessage{
			"master": found.MasterKeys, "self_signing": found.SelfSigning, "user_signing": found.UserSigning,
		} {
			if key, ok := crossSigning[usage]; ok && (usage != "user_signing" || user == asking) {
				into[user] = key
			}
		}
	}
	return nil
}

// deviceKeys are the identity keys of a local user's devices, with the devices' names in unsigned.
func (a *API) deviceKeys(user matrix.UserID) (map[string]json.RawMessage, error) {
	keys, err := a.users.DeviceKeys(user)
	if err != nil {
		return nil, err
	}
	for id, raw := range keys {
		device, err := a.users.Device(user, id)
		if err != nil && !errors.Is(err, userdb.ErrNotFound) {
			return nil, err
		}
		if device.DisplayName != "" {
			keys[id] = with(raw, "unsigned.device_display_name", device.DisplayName)
		}
	}
	return keys, nil
}

// claimQuery is user, device and algorithm of a /keys/claim.
type claimQuery map[matrix.UserID]map[string]string

// claimedKeys are one-time keys by user, device and key ID.
type claimedKeys map[matrix.UserID]map[string]map[string]json.RawMessage

// claimKeys answers POST /keys/claim.
func (a *API) claimKeys(c *call) (any, error) {
	var body struct {
		OneTimeKeys claimQuery `json:"one_time_keys"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	remote := byServer(body.OneTimeKeys)
	claimed, err := a.claimLocal(remote[a.server])
	if err != nil {
		return nil, err
	}
	delete(remote, a.server)
	var mu sync.Mutex
	failures := a.askEach(servers(remote), func(server matrix.ServerName) error {
		answer, err := a.peers.Call(c.Context(), server, peer.Call{
			Method: http.MethodPost, Path: peer.Path("_matrix", "federation", "v1", "user", "keys", "claim"),
			Body: mustJSON(map[string]any{"one_time_keys": remote[server]}),
		})
		if err != nil {
			return err
		}
		var theirs struct {
			OneTimeKeys claimedKeys `json:"one_time_keys"`
		}
		if err := json.Unmarshal(answer, &theirs); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for user := range remote[server] {
			if keys, ok := theirs.OneTimeKeys[user]; ok {
				claimed[user] = keys
			}
		}
		return nil
	})
	return map[string]any{"one_time_keys": claimed, "failures": failures}, nil
}

func (a *API) claimLocal(query claimQuery) (claimedKeys, error) {
	claimed := claimedKeys{}
	for user, devices := range query {
		for device, algorithm := range devices {
			id, key, err := a.users.ClaimOneTimeKey(user, device, algorithm)
			if errors.Is(err, userdb.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if claimed[user] == nil {
				claimed[user] = map[string]map[string]json.RawMessage{}
			}
			claimed[user][device] = map[string]json.RawMessage{id.String(): key}
			a.hub.wake(string(user)) // the count of keys that are left has changed
		}
	}
	return claimed, nil
}

// QueryKeys answers POST /user/keys/query of other servers. Only users who exist here by that name are
// found: an account key user ID is no such name.
func (a *API) QueryKeys(_ context.Context, body []byte) ([]byte, error) {
	var query struct {
		DeviceKeys deviceQuery `json:"device_keys"`
	}
	if err := json.Unmarshal(body, &query); err != nil {
		return nil, peer.BadJSON("the body has the wrong shape: %v", err)
	}
	found := newFoundKeys()
	err := a.localKeys(byServer(query.DeviceKeys)[a.server], "", found)
	return mustJSON(found), err
}

// ClaimKeys answers POST /user/keys/claim of other servers.
func (a *API) ClaimKeys(_ context.Context, body []byte) ([]byte, error) {
	var query struct {
		OneTimeKeys claimQuery `json:"one_time_keys"`
	}
	if err := json.Unmarshal(body, &query); err != nil {
		return nil, peer.BadJSON("the body has the wrong shape: %v", err)
	}
	claimed, err := a.claimLocal(byServer(query.OneTimeKeys)[a.server])
	return mustJSON(map[string]any{"one_time_keys": claimed}), err
}
