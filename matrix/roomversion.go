package matrix

import "slices"

// Identity says how a room version names users and which key signs their events.
type Identity int

const (
	// ServerIdentity is room version 12: user IDs are @{account name}:{domain}, and the sender's
	// server signs.
	ServerIdentity Identity = iota
	// AccountKeyIdentity is MSC4243: user IDs are @{account key}:{domain}, and the account key signs.
	AccountKeyIdentity
)

// RoomVersion is a room version of the version 12 family. Everything but Identity (event format,
// redaction, authorization, state resolution) is as version 12 has it.
type RoomVersion struct {
	ID       string
	Identity Identity
}

// The identifiers of the room versions that the suite knows. MSC4243 assigns its own.
const (
	Version12      = "12"
	VersionMSC4243 = "org.matrix.12.4243"
)

// RoomVersion12 is room version 12 as the Matrix specification has it.
func RoomVersion12() RoomVersion { return RoomVersion{ID: Version12} }

// RoomVersionMSC4243 is the unstable room version of MSC4243.
func RoomVersionMSC4243() RoomVersion {
	return RoomVersion{ID: VersionMSC4243, Identity: AccountKeyIdentity}
}

// RoomVersions are the known room versions.
func RoomVersions() []RoomVersion { return []RoomVersion{RoomVersion12(), RoomVersionMSC4243()} }

// RoomVersionByID finds a known room version.
func RoomVersionByID(id string) (RoomVersion, bool) {
	all := RoomVersions()
	i := slices.IndexFunc(all, func(v RoomVersion) bool { return v.ID == id })
	if i < 0 {
		return RoomVersion{}, false
	}
	return all[i], true
}

// HasAccountKeys reports whether user IDs in rooms of this version carry account keys.
func (v RoomVersion) HasAccountKeys() bool { return v.Identity == AccountKeyIdentity }
