package clientapi

import (
	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
)

// deactivate answers POST /account/deactivate. With erase, the account key is erased as well, which
// hides the user's events from all clients and is told to other servers (MSC4243, "Handling GDPR
// erasure"; D-27: this is the only trigger).
func (a *API) deactivate(c *call) (any, error) {
	var body struct {
		Auth  *authDict `json:"auth"`
		Erase bool      `json:"erase"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if err := a.requirePassword(c.user(), body.Auth); err != nil {
		return nil, err
	}
	// The leaves need the account key, so they come before its erasure.
	if !a.defects.Has("StayInRoomsWhenErased") {
		a.leaveEverything(c)
	}
	if err := a.closeAccount(c.user()); err != nil {
		return nil, err
	}
	if body.Erase && !a.defects.Has("KeepTheNamesOfErasedUsers") {
		if err := a.directory.Erase(c.user().Localpart()); err != nil {
			return nil, err
		}
	}
	return map[string]string{"id_server_unbind_result": "no-support"}, nil
}

// leaveEverything leaves every room, declines every invitation and takes every knock back. A room that
// cannot be left does not keep the account open.
func (a *API) leaveEverything(c *call) {
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		a.logger.Warn("memberships cannot be read", "user", c.user(), "error", err)
	}
	for _, m := range memberships {
		if m.Membership != "join" && m.Membership != "invite" && m.Membership != "knock" {
			continue
		}
		if err := a.engine.Leave(c.Context(), m.RoomID, c.user(), nil); err != nil {
			a.logger.Info("a room cannot be left", "user", c.user(), "room", m.RoomID, "error", err)
		}
	}
}

// closeAccount ends a user's sessions and deletes what the user has stored. The name stays taken.
func (a *API) closeAccount(user matrix.UserID) error {
	ids, err := a.deviceIDs(user)
	if err != nil {
		return err
	}
	if _, err := a.endSessions(user, ids...); err != nil {
		return err
	}
	err = a.users.UpdateUser(user, func(u *userdb.User) error {
		u.Deactivated, u.Password, u.Salt = true, nil, nil
		return nil
	})
	if err != nil {
		return err
	}
	return a.users.ForgetUserData(user)
}
