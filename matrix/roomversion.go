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
	// ServerKeyIdentity is MSC4345: user IDs are @{account name}:{server key}, and the server key
	// signs.
	ServerKeyIdentity
	// PortableIdentity is MSC4348: user IDs are @{account key}, without a domain. The account key signs,
	// and the key of a participating server co-signs.
	PortableIdentity
)

// RoomVersion is a room version of the version 12 family. What Identity does not change (event format,
// redaction, authorization, state resolution) is as version 12 has it. A version whose proposal has no
// identifier of its own is made under any other with a literal, such as
// RoomVersion{ID: "org.example.12", Identity: ServerKeyIdentity}.
type RoomVersion struct {
	ID       string
	Identity Identity
}

// The identifiers of the room versions that the suite knows. MSC4243 assigns its own. Those of MSC4345
// and MSC4348 are placeholders: D-30, the proposals assign none.
const (
	Version12      = "12"
	VersionMSC4243 = "org.matrix.12.4243"
	VersionMSC4345 = "org.matrix.msc4345.12"
	VersionMSC4348 = "org.matrix.msc4348.12"
)

// RoomVersion12 is room version 12 as the Matrix specification has it.
func RoomVersion12() RoomVersion { return RoomVersion{ID: Version12} }

// RoomVersionMSC4243 is the unstable room version of MSC4243.
func RoomVersionMSC4243() RoomVersion {
	return RoomVersion{ID: VersionMSC4243, Identity: AccountKeyIdentity}
}

// RoomVersionMSC4345 is the room version of MSC4345 under its placeholder identifier.
func RoomVersionMSC4345() RoomVersion {
	return RoomVersion{ID: VersionMSC4345, Identity: ServerKeyIdentity}
}

// RoomVersionMSC4348 is the room version of MSC4348 under its placeholder identifier.
func RoomVersionMSC4348() RoomVersion {
	return RoomVersion{ID: VersionMSC4348, Identity: PortableIdentity}
}

// ParticipationRoomVersions are the room versions in which servers participate by key, under their
// placeholder identifiers. They are not among RoomVersions.
func ParticipationRoomVersions() []RoomVersion {
	return []RoomVersion{RoomVersionMSC4345(), RoomVersionMSC4348()}
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
func (v RoomVersion) HasAccountKeys() bool {
	return v.Identity == AccountKeyIdentity || v.Identity == PortableIdentity
}

// HasParticipation reports whether servers act in rooms of this version only once their key was
// accepted there (MSC4345, "Participation semantics").
func (v RoomVersion) HasParticipation() bool {
	return hasParticipation(v.Identity)
}

func hasParticipation(i Identity) bool { return i == ServerKeyIdentity || i == PortableIdentity }

// HasPortableAccounts reports whether user IDs in rooms of this version name no server (MSC4348,
// "Proposal").
func (v RoomVersion) HasPortableAccounts() bool { return v.Identity == PortableIdentity }
