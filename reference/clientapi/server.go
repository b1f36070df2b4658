package clientapi

import (
	"net/http"
	"slices"

	"countersign/matrix"
)

// serverRoutes are what a client asks about the server.
func (a *API) serverRoutes() []route {
	return []route{
		open(http.MethodGet, "/versions", a.versions),
		authed(http.MethodGet, "/v3/capabilities", a.capabilities),
	}
}

// specVersions are the versions of the specification whose required endpoints are served.
func specVersions() []string {
	return []string{
		"r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11",
		"v1.12", "v1.13", "v1.14", "v1.15", "v1.16",
	}
}

// versions answers GET /versions.
func (a *API) versions(*call) (any, error) {
	return map[string]any{
		"versions": specVersions(),
		"unstable_features": map[string]bool{
			"org.matrix.msc4222":            true, // state_after in /sync
			"org.matrix.msc4243":            true, // user ID localparts as account keys
			"org.matrix.msc4345":            a.offers(matrix.ServerKeyIdentity),
			"org.matrix.msc4348":            a.offers(matrix.PortableIdentity),
			"org.matrix.simplified_msc3575": true, // MSC4186, sliding sync
		},
	}, nil
}

// offers reports whether rooms can have users of an identity.
func (a *API) offers(identity matrix.Identity) bool {
	return slices.ContainsFunc(a.engine.Versions(), func(v matrix.RoomVersion) bool { return v.Identity == identity })
}

// defaultVersion is the room version of rooms that are made without asking for one.
func (a *API) defaultVersion() string { return a.engine.Versions()[0].ID }

// capabilities answers GET /capabilities. The room versions of the proposals are unstable in the sense of
// the specification: nobody gets them without asking for them.
func (a *API) capabilities(*call) (any, error) {
	available := map[string]string{}
	for _, v := range a.engine.Versions() {
		available[v.ID] = "unstable"
		if v.Identity == matrix.ServerIdentity {
			available[v.ID] = "stable"
		}
	}
	enabled := map[string]bool{"enabled": true}
	disabled := map[string]bool{"enabled": false}
	return map[string]any{"capabilities": map[string]any{
		"m.room_versions":            map[string]any{"default": a.defaultVersion(), "available": available},
		"m.change_password":          enabled,
		"m.set_displayname":          enabled,
		"m.set_avatar_url":           enabled,
		"m.profile_fields":           enabled,
		"m.3pid_changes":             disabled,
		"m.get_login_token":          disabled,
		"m.account_moderation":       map[string]bool{"suspend": false, "lock": false},
		"m.forget_forced_upon_leave": disabled,
	}}, nil
}
