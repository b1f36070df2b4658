package clientapi

import (
	"net/http"

	"countersign/matrix"
	"countersign/reference/peer"
)

// loginFlows answers GET /login.
func (a *API) loginFlows(*call) (any, error) {
	return map[string]any{"flows": []map[string]string{{"type": stagePassword}}}, nil
}

// login answers POST /login.
func (a *API) login(c *call) (any, error) {
	var body struct {
		Type                     string          `json:"type"`
		Identifier               *userIdentifier `json:"identifier"`
		User                     string          `json:"user"`
		Password                 string          `json:"password"`
		DeviceID                 string          `json:"device_id"`
		InitialDeviceDisplayName string          `json:"initial_device_display_name"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Type == "" {
		return nil, missingParam("type")
	}
	if body.Type != stagePassword {
		return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN", "there is no login of type %q", body.Type)
	}
	named := body.User
	if body.Identifier != nil {
		if body.Identifier.Type != "m.id.user" {
			return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN", "users cannot be identified by %q", body.Identifier.Type)
		}
		named = body.Identifier.User
	}
	if named == "" {
		return nil, missingParam("identifier")
	}
	if body.Password == "" {
		return nil, missingParam("password")
	}
	u, err := a.users.User(a.localUserID(named))
	if err == nil && u.Deactivated {
		return nil, peer.Errorf(http.StatusForbidden, "M_USER_DEACTIVATED", "the account is deactivated")
	}
	if err != nil || !u.CheckPassword(body.Password) {
		// The same answer for both, so that nobody learns which names are taken.
		return nil, peer.Forbidden("wrong user or password")
	}
	return a.newSession(c, u.ID, body.DeviceID, body.InitialDeviceDisplayName)
}

// logout answers POST /logout.
func (a *API) logout(c *call) (any, error) { return a.endSessions(c.user(), c.session.DeviceID) }

// logoutAll answers POST /logout/all.
func (a *API) logoutAll(c *call) (any, error) {
	ids, err := a.deviceIDs(c.user())
	if err != nil {
		return nil, err
	}
	return a.endSessions(c.user(), ids...)
}

func (a *API) deviceIDs(user matrix.UserID) (ids []string, err error) {
	devices, err := a.users.Devices(user)
	for _, d := range devices {
		ids = append(ids, d.ID)
	}
	return ids, err
}

// endSessions deletes devices, tells everybody who should know, and wakes their requests.
func (a *API) endSessions(user matrix.UserID, deviceIDs ...string) (any, error) {
	hadKeys, err := a.users.DeleteDevices(user, deviceIDs...)
	if err != nil {
		return nil, err
	}
	if hadKeys {
		if err := a.devicesChanged(user, deviceIDs...); err != nil {
			return nil, err
		}
	}
	a.hub.wake(string(user))
	return empty()
}

// whoAmI answers GET /account/whoami.
func (a *API) whoAmI(c *call) (any, error) {
	return map[string]any{"user_id": c.user(), "device_id": c.session.DeviceID, "is_guest": c.session.Guest}, nil
}

// thirdPartyIDs answers GET /account/3pid: there are none.
func (a *API) thirdPartyIDs(*call) (any, error) {
	return map[string]any{"threepids": []string{}}, nil
}

// changePassword answers POST /account/password.
func (a *API) changePassword(c *call) (any, error) {
	var body struct {
		Auth          *authDict `json:"auth"`
		NewPassword   string    `json:"new_password"`
		LogoutDevices *bool     `json:"logout_devices"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if err := a.requirePassword(c.user(), body.Auth); err != nil {
		return nil, err
	}
	if body.NewPassword == "" {
		return nil, missingParam("new_password")
	}
	if err := a.setPassword(c.user(), body.NewPassword); err != nil {
		return nil, err
	}
	if body.LogoutDevices != nil && !*body.LogoutDevices {
		return empty()
	}
	ids, err := a.deviceIDs(c.user())
	if err != nil {
		return nil, err
	}
	others := ids[:0]
	for _, id := range ids {
		if id != c.session.DeviceID {
			others = append(others, id)
		}
	}
	return a.endSessions(c.user(), others...)
}
