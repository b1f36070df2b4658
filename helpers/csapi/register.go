package csapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/helpers/wait"
)

// Register asks for an account once, with whatever authentication the parameters carry. Use
// [Client.MustRegister] to go through the whole flow.
func (c *Client) Register(t testing.TB, body any, params ...Param) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "register"), append(params, Body(body))...)
}

// dummyStages are the authentication stages that need nothing but to be named.
const dummyStages = " m.login.dummy m.login.terms "

// maxStages bounds the registration dialogue with a server that never says that it is complete.
const maxStages = 5

// MustRegister makes an account with the given account name and password and makes the client its
// first device, as [Client.RegisterAccount] does.
func (c *Client) MustRegister(t testing.TB, name, password string) {
	t.Helper()
	if err := c.RegisterAccount(wait.Context(t), name, password); err != nil {
		t.Fatal(err)
	}
}

// RegisterAccount makes an account with the given account name and password and makes the client
// its first device. It names m.login.dummy at once, which is all that most test servers want. From one
// that does not take that it asks for the flows and a session, as the user-interactive authentication of
// the specification has it, and completes a flow that is made of m.login.dummy (and m.login.terms)
// stages, one stage at a time.
func (c *Client) RegisterAccount(ctx context.Context, name, password string) error {
	body := map[string]any{"username": name, "password": password, "auth": map[string]any{"type": "m.login.dummy"}}
	for step := range maxStages {
		r, err := c.Do(ctx, http.MethodPost, Path("v3", "register"), Body(body))
		if err != nil {
			return fmt.Errorf("registering %s: %w", name, err)
		}
		if step == 0 && (r.Status == http.StatusBadRequest || r.Status == http.StatusForbidden) {
			delete(body, "auth") // nobody need take a stage before there is a session
			continue
		}
		if r.Status != http.StatusUnauthorized {
			return c.registered(ctx, r, password)
		}
		stage := nextStage(r.JSON())
		if stage == "" {
			return fmt.Errorf("%s offers no way to register that is made of m.login.dummy stages; enable open registration on the server under test:\n%s", c.server.Name(), r)
		}
		body["auth"] = map[string]any{"type": stage, "session": r.Get("session").String()}
	}
	return fmt.Errorf("registering %s on %s does not come to an end: %d stages were completed", name, c.server.Name(), maxStages)
}

func (c *Client) registered(ctx context.Context, r *Response, password string) error {
	if r.OK() && !r.Get("access_token").Exists() && r.Get("user_id").Exists() {
		// A server may answer as if the client had asked it to inhibit the login.
		var err error
		if r, err = c.Do(ctx, http.MethodPost, Path("v3", "login"), passwordLogin(r.Get("user_id").Str, password)); err != nil {
			return fmt.Errorf("logging in: %w", err)
		}
	}
	return c.become(r, password)
}

// nextStage returns the first stage that is left of the first flow that needs nothing but dummy
// stages, or nothing when there is no such flow.
func nextStage(answer gjson.Result) string {
	completed := map[string]bool{}
	for _, stage := range answer.Get("completed").Array() {
		completed[stage.String()] = true
	}
	for _, flow := range answer.Get("flows").Array() {
		next := ""
		for _, stage := range flow.Get("stages").Array() {
			if completed[stage.String()] {
				continue
			}
			if !strings.Contains(dummyStages, " "+stage.String()+" ") {
				next = ""
				break
			}
			if next == "" {
				next = stage.String()
			}
		}
		if next != "" {
			return next
		}
	}
	return ""
}

// Login asks for a new device of an account with its password.
func (c *Client) Login(t testing.TB, user, password string, params ...Param) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "login"), append(params, passwordLogin(user, password))...)
}

func passwordLogin(user, password string) Param {
	return Body(map[string]any{
		"type":       "m.login.password",
		"identifier": map[string]any{"type": "m.id.user", "user": user},
		"password":   password,
	})
}

// MustLogin makes the client a new device of the account. User is a user ID or an account name.
func (c *Client) MustLogin(t testing.TB, user, password string) {
	t.Helper()
	if err := c.become(c.Login(t, user, password), password); err != nil {
		t.Fatal(err)
	}
}

func (c *Client) become(r *Response, password string) error {
	userID, token := r.Get("user_id").Str, r.Get("access_token").Str
	if !r.OK() || userID == "" || token == "" {
		return fmt.Errorf("expected status 200, a user_id and an access_token, got status %d from %s %s:\n%s", r.Status, r.Method, r.Target, r)
	}
	c.UserID, c.AccessToken, c.DeviceID, c.Password = userID, token, r.Get("device_id").Str, password
	return nil
}

// Logout ends the client's device.
func (c *Client) Logout(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "logout"), Body(struct{}{}))
}

// MustDeactivate deactivates the account, with its erasure when erase is set. It authenticates with
// the password when the server asks for it.
func (c *Client) MustDeactivate(t testing.TB, erase bool) {
	t.Helper()
	body := map[string]any{"erase": erase}
	path := Path("v3", "account", "deactivate")
	r := c.Request(t, http.MethodPost, path, Body(body))
	if r.Status == http.StatusUnauthorized && r.Get("flows").Exists() {
		body["auth"] = map[string]any{
			"type":       "m.login.password",
			"identifier": map[string]any{"type": "m.id.user", "user": c.UserID},
			"password":   c.Password,
			"session":    r.Get("session").String(),
		}
		r = c.Request(t, http.MethodPost, path, Body(body))
	}
	r.MustOK(t)
}

// Versions asks which versions of the specification the server supports.
func (c *Client) Versions(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("versions"))
}

// Capabilities asks what the server lets this user do, room versions included.
func (c *Client) Capabilities(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "capabilities"))
}

// WhoAmI asks whose access token this is.
func (c *Client) WhoAmI(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "account", "whoami"))
}
