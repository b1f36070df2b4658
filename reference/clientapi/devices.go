package clientapi

import (
	"net/http"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
)

// deviceRoutes are about a user's devices.
func (a *API) deviceRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v3/devices", a.devices),
		authed(http.MethodGet, "/v3/devices/{deviceID}", a.device),
		authed(http.MethodPut, "/v3/devices/{deviceID}", a.renameDevice),
		authed(http.MethodDelete, "/v3/devices/{deviceID}", a.deleteDevice),
		authed(http.MethodPost, "/v3/delete_devices", a.deleteDevices),
	}
}

func (a *API) devices(c *call) (any, error) {
	devices, err := a.users.Devices(c.user())
	if devices == nil {
		devices = []userdb.Device{}
	}
	return map[string]any{"devices": devices}, err
}

func (a *API) device(c *call) (any, error) {
	return a.users.Device(c.user(), c.PathValue("deviceID"))
}

func (a *API) renameDevice(c *call) (any, error) {
	var body struct {
		DisplayName *string `json:"display_name"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.DisplayName == nil {
		return empty()
	}
	device := c.PathValue("deviceID")
	if err := a.users.RenameDevice(c.user(), device, *body.DisplayName); err != nil {
		return nil, err
	}
	if err := a.devicesChanged(c.user(), device); err != nil {
		return nil, err
	}
	return empty()
}

func (a *API) deleteDevice(c *call) (any, error) {
	return a.deleteOwnDevices(c, []string{c.PathValue("deviceID")})
}

func (a *API) deleteDevices(c *call) (any, error) {
	var body struct {
		Devices []string `json:"devices"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	return a.deleteOwnDevices(c, body.Devices)
}

func (a *API) deleteOwnDevices(c *call, ids []string) (any, error) {
	var body struct {
		Auth *authDict `json:"auth"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if err := a.requirePassword(c.user(), body.Auth); err != nil {
		return nil, err
	}
	return a.endSessions(c.user(), ids...)
}

// setPassword replaces a user's password.
func (a *API) setPassword(user matrix.UserID, password string) error {
	return a.users.UpdateUser(user, func(u *userdb.User) error { return u.SetPassword(password) })
}
