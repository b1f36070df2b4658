package clientapi

import (
	"crypto/rand"
	"errors"
	"net/http"
	"strings"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// accountRoutes are about accounts and sessions.
func (a *API) accountRoutes() []route {
	return []route{
		open(http.MethodPost, "/v3/register", a.register),
		open(http.MethodGet, "/v3/register/available", a.registerAvailable),
		open(http.MethodGet, "/_synapse/admin/v1/register", a.adminNonce),
		open(http.MethodPost, "/_synapse/admin/v1/register", a.adminRegister),
		open(http.MethodGet, "/v3/login", a.loginFlows),
		open(http.MethodPost, "/v3/login", a.login),
		authed(http.MethodPost, "/v3/logout", a.logout),
		authed(http.MethodPost, "/v3/logout/all", a.logoutAll),
		authed(http.MethodGet, "/v3/account/whoami", a.whoAmI),
		authed(http.MethodPost, "/v3/account/password", a.changePassword),
		authed(http.MethodGet, "/v3/account/3pid", a.thirdPartyIDs),
		authed(http.MethodPost, "/v3/account/deactivate", a.deactivate),
	}
}

// registration is the body of POST /register.
type registration struct {
	Auth                     *authDict `json:"auth"`
	Username                 string    `json:"username"`
	Password                 string    `json:"password"`
	DeviceID                 string    `json:"device_id"`
	InitialDeviceDisplayName string    `json:"initial_device_display_name"`
	InhibitLogin             bool      `json:"inhibit_login"`
}

// register answers POST /register: the flow is one dummy stage.
func (a *API) register(c *call) (any, error) {
	var body registration
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if kind := c.query("kind"); kind == "guest" {
		return a.registerGuest(c, body.InitialDeviceDisplayName)
	} else if kind != "" && kind != "user" {
		return nil, peer.InvalidParam("there is no kind of account called %q", kind)
	}
	if body.Username == "" {
		body.Username = strings.ToLower(rand.Text()[:12])
	}
	user, err := a.freeName(body.Username)
	if err != nil {
		return nil, err
	}
	if err := requireDummy(body.Auth); err != nil {
		return nil, err
	}
	if body.Password == "" {
		return nil, missingParam("password")
	}
	if err := a.createUser(userdb.User{ID: user}, body.Password); err != nil {
		return nil, err
	}
	if body.InhibitLogin {
		return map[string]any{"user_id": user}, nil
	}
	return a.newSession(c, user, body.DeviceID, body.InitialDeviceDisplayName)
}

// freeName checks that an account name is well formed and free, and returns its user ID.
func (a *API) freeName(name string) (matrix.UserID, error) {
	user, err := matrix.ParseAccountName(name, a.server)
	if err != nil {
		return "", peer.Errorf(http.StatusBadRequest, "M_INVALID_USERNAME", "%v", err)
	}
	switch _, err := a.users.User(user); {
	case err == nil:
		return "", userInUse(user)
	case !errors.Is(err, userdb.ErrNotFound):
		return "", err
	}
	return user, nil
}

func userInUse(user matrix.UserID) error {
	return peer.Errorf(http.StatusBadRequest, "M_USER_IN_USE", "%s is taken", user)
}

// createUser stores a new account with a password. Its account key is minted when it is first needed
// (MSC4243, footnote 2).
func (a *API) createUser(u userdb.User, password string) error {
	if err := u.SetPassword(password); err != nil {
		return err
	}
	u.Created = a.now()
	err := a.users.CreateUser(u)
	if errors.Is(err, userdb.ErrExists) {
		return userInUse(u.ID)
	}
	if err != nil {
		return err
	}
	if a.defects.Has("MintKeysAtRegistration") {
		if _, err := a.directory.Account(u.ID.Localpart()); err != nil {
			return err
		}
	}
	return a.users.SetProfileField(u.ID, "displayname", mustJSON(u.ID.Localpart()))
}

// newSession logs a device in and returns what /login and /register answer.
func (a *API) newSession(c *call, user matrix.UserID, deviceID, displayName string) (any, error) {
	if deviceID == "" {
		deviceID = rand.Text()[:10]
	}
	token, err := a.users.CreateSession(user, userdb.Device{
		ID: deviceID, DisplayName: displayName, LastSeenTS: a.nowMillis(), LastSeenIP: c.remoteIP(),
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"user_id": user, "access_token": token, "device_id": deviceID, "home_server": a.server}, nil
}

// registerAvailable answers GET /register/available.
func (a *API) registerAvailable(c *call) (any, error) {
	if c.query("username") == "" {
		return nil, missingParam("username")
	}
	if _, err := a.freeName(c.query("username")); err != nil {
		return nil, err
	}
	return map[string]bool{"available": true}, nil
}
