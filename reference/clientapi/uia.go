package clientapi

import (
	"crypto/rand"
	"net/http"

	"countersign/matrix"
	"countersign/reference/peer"
)

// The stages of user-interactive authentication that this server knows.
const (
	stageDummy    = "m.login.dummy"
	stagePassword = "m.login.password"
)

// userIdentifier names a user in a login or in user-interactive authentication.
type userIdentifier struct {
	Type string `json:"type"`
	User string `json:"user"`
}

// authDict is the auth property of a request with user-interactive authentication. Every flow here
// has one stage, so a session has nothing to remember and needs not be known again.
type authDict struct {
	Type       string          `json:"type"`
	Session    string          `json:"session"`
	Identifier *userIdentifier `json:"identifier"`
	User       string          `json:"user"`
	Password   string          `json:"password"`
}

// challenge is the 401 that asks for one stage. refused says what was wrong with an attempt, nil when
// there was none.
func challenge(stage string, refused *peer.Error) error {
	answer := &peer.Error{Status: http.StatusUnauthorized, Code: "M_UNAUTHORIZED", Message: "this request needs user-interactive authentication: " + stage}
	if refused != nil {
		answer.Code, answer.Message = refused.Code, refused.Message
	}
	answer.Extra = map[string]any{
		"flows":     []map[string]any{{"stages": []string{stage}}},
		"params":    map[string]any{},
		"completed": []string{},
		"session":   rand.Text(),
	}
	return answer
}

// requireDummy accepts a request that has completed the dummy stage.
func requireDummy(auth *authDict) error {
	switch {
	case auth == nil:
		return challenge(stageDummy, nil)
	case auth.Type != stageDummy:
		return challenge(stageDummy, peer.Errorf(0, "M_UNRECOGNIZED", "there is no stage %q in this flow", auth.Type))
	}
	return nil
}

// requirePassword accepts a request in which a user has given the password.
func (a *API) requirePassword(user matrix.UserID, auth *authDict) error {
	if auth == nil {
		return challenge(stagePassword, nil)
	}
	if auth.Type != stagePassword {
		return challenge(stagePassword, peer.Errorf(0, "M_UNRECOGNIZED", "there is no stage %q in this flow", auth.Type))
	}
	named := auth.User
	if auth.Identifier != nil {
		named = auth.Identifier.User
	}
	if named != "" && a.localUserID(named) != user {
		return challenge(stagePassword, peer.Forbidden("the access token is of another user"))
	}
	u, err := a.users.User(user)
	if err != nil {
		return err
	}
	if !u.CheckPassword(auth.Password) {
		return challenge(stagePassword, peer.Forbidden("wrong password"))
	}
	return nil
}

// localUserID reads a user as clients may name one of their own server: by user ID or account name.
func (a *API) localUserID(text string) matrix.UserID {
	if len(text) > 0 && text[0] == '@' {
		return matrix.UserID(text)
	}
	return matrix.UserID("@" + text + ":" + string(a.server))
}
