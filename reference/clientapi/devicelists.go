package clientapi

import (
	"context"
	"slices"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// devicesChanged notes that the devices or keys of a local user have changed, wakes whom it concerns,
// and tells the servers that share a room with the user. devices are the changed ones, none when it
// was a cross-signing key.
func (a *API) devicesChanged(user matrix.UserID, devices ...string) error {
	at, err := a.users.MarkDevicesChanged(user)
	if err != nil {
		return err
	}
	rooms, servers := a.roomsOf(user)
	a.hub.wake(append(rooms, string(user))...)
	if len(servers) == 0 {
		return nil
	}
	keys, err := a.deviceKeys(user)
	if err != nil {
		return err
	}
	for _, id := range devices {
		if keys := a.directory.KeyUserIDs(user); len(keys) > 0 && a.defects.Has("UpdateDevicesByKey") {
			a.outbox.SendEDU(servers, "m.device_list_update", mustJSON(map[string]any{"user_id": keys[0], "device_id": id, "stream_id": at, "prev_id": []userdb.Position{}}))
			continue
		}
		update := map[string]any{"user_id": user, "device_id": id, "stream_id": at, "prev_id": []userdb.Position{}}
		device, err := a.users.Device(user, id)
		if err != nil {
			update["deleted"] = true
		} else {
			update["device_display_name"] = device.DisplayName
			if k, ok := keys[id]; ok {
				update["keys"] = k
			}
		}
		a.outbox.SendEDU(servers, "m.device_list_update", mustJSON(update))
	}
	if len(devices) > 0 {
		return nil
	}
	crossSigning, err := a.users.CrossSigningKeys(user)
	if err != nil {
		return err
	}
	update := map[string]any{"user_id": user}
	for usage, property := range map[string]string{"master": "master_key", "self_signing": "self_signing_key"} {
		if key, ok := crossSigning[usage]; ok {
			update[property] = key
		}
	}
	a.outbox.SendEDU(servers, "m.signing_key_update", mustJSON(update))
	return nil
}

// roomsOf are the rooms that a local user is joined to, and the other servers in them.
func (a *API) roomsOf(user matrix.UserID) (rooms []string, servers []matrix.ServerName) {
	memberships, err := a.engine.Memberships(user)
	if err != nil {
		a.logger.Warn("memberships cannot be read", "user", user, "error", err)
	}
	for _, m := range memberships {
		if m.Membership != "join" {
			continue
		}
		rooms = append(rooms, m.RoomID)
		for _, server := range a.others(m.RoomID) {
			if !slices.Contains(servers, server) {
				servers = append(servers, server)
			}
		}
	}
	return rooms, servers
}

// receiveDeviceList takes the news that the devices of another server's user have changed. The devices
// themselves are fetched when a client asks.
func (a *API) receiveDeviceList(origin matrix.ServerName, user matrix.UserID) error {
	if user.Domain() != origin || a.defects.Has("IgnoreDeviceUpdates") {
		return nil
	}
	if _, err := matrix.ParseUserID(string(user)); err != nil {
		return nil
	}
	rooms := a.sharedRoomsOfRemote(user)
	if len(rooms) == 0 {
		return nil
	}
	if _, err := a.users.MarkDevicesChanged(user); err != nil {
		return err
	}
	a.hub.wake(rooms...)
	return nil
}

// sharedRooms are the rooms that an account name user ID is joined to, under any of its names.
func (a *API) sharedRooms(user matrix.UserID) (rooms []string) {
	memberships, err := a.engine.Memberships(user)
	if err != nil {
		a.logger.Warn("memberships cannot be read", "user", user, "error", err)
	}
	for _, m := range memberships {
		if m.Membership == "join" {
			rooms = append(rooms, m.RoomID)
		}
	}
	return rooms
}

// sharedRoomsOfRemote is sharedRooms for users of other servers, whom rooms with participation do not know by
// account name.
func (a *API) sharedRoomsOfRemote(user matrix.UserID) []string {
	return append(a.sharedRooms(user), a.sharedAsCompany(user, a.companyRooms())...)
}

// Devices answers GET /user/devices/{userId} of other servers. The user must exist here by that name:
// an account key user ID is no such name.
func (a *API) Devices(_ context.Context, user matrix.UserID) ([]byte, error) {
	if user.Domain() != a.server || !a.users.Exists(user.Localpart()) || a.defects.Has("ServeNoDevices") {
		return nil, peer.NotFound("there is no user %s", user)
	}
	at, err := a.users.DevicesChangedAt(user)
	if err != nil {
		return nil, err
	}
	keys, err := a.deviceKeys(user)
	if err != nil {
		return nil, err
	}
	devices := []map[string]any{}
	known, err := a.users.Devices(user)
	if err != nil {
		return nil, err
	}
	for _, d := range known {
		if k, ok := keys[d.ID]; ok {
			device := map[string]any{"device_id": d.ID, "keys": k}
			if d.DisplayName != "" {
				device["device_display_name"] = d.DisplayName
			}
			devices = append(devices, device)
		}
	}
	answer := map[string]any{"user_id": user, "stream_id": at, "devices": devices}
	crossSigning, err := a.users.CrossSigningKeys(user)
	if err != nil {
		return nil, err
	}
	for usage, property := range map[string]string{"master": "master_key", "self_signing": "self_signing_key"} {
		if key, ok := crossSigning[usage]; ok {
			answer[property] = key
		}
	}
	return mustJSON(answer), nil
}

// deviceLists is whose devices a client should look at again, and whose it need not follow any more.
type deviceLists struct {
	Changed []matrix.UserID `json:"changed,omitempty"`
	Left    []matrix.UserID `json:"left,omitempty"`
}

// deviceListsBetween is what has changed between two tokens, for one user. All users are named as
// clients know them; nobody follows the devices of hidden users.
func (a *API) deviceListsBetween(s userdb.Session, memberships []room.Membership, since, until syncToken) (lists deviceLists, err error) {
	changed, gone := map[matrix.UserID]bool{}, map[matrix.UserID]bool{}
	readers := map[string]*reader{}
	for _, m := range memberships {
		if m.Membership != "join" && m.Position <= since.rooms {
			continue
		}
		r, err := a.reader(s, m.RoomID)
		if err != nil {
			continue // an invitation to a room that this server is not in
		}
		if m.Membership == "join" {
			readers[m.RoomID] = r
		}
		if a.engine.Touched(m.RoomID) <= since.rooms {
			continue
		}
		if err := r.companyChanged(since.rooms, until.rooms, changed, gone); err != nil {
			return lists, err
		}
	}
	noted, err := a.users.DevicesChangedBetween(since.data, until.data)
	if err != nil {
		return lists, err
	}
	for _, user := range noted {
		if user == s.User || sharesRoom(readers, user) {
			changed[user] = true
		}
	}
	for user := range changed {
		lists.Changed = append(lists.Changed, user)
	}
	for user := range gone {
		if user != s.User && !sharesRoom(readers, user) {
			lists.Left = append(lists.Left, user)
		}
	}
	slices.Sort(lists.Changed)
	slices.Sort(lists.Left)
	return lists, nil
}

// sharesRoom reports whether a user, by account name, is joined to one of the rooms.
func sharesRoom(rooms map[string]*reader, user matrix.UserID) bool {
	for _, r := range rooms {
		if inRoom, ok := r.find(user); ok {
			if m, _ := r.api.engine.Membership(r.roomID, inRoom); m.Membership == "join" {
				return true
			}
		}
	}
	return false
}

// companyChanged notes who has come to share the room with the reader between two positions, and who
// shares it no longer. Somebody whose account key has become verified comes to share it by that.
func (r *reader) companyChanged(since, until room.Position, changed, gone map[matrix.UserID]bool) error {
	old, err := r.api.engine.StateAt(r.roomID, since)
	if err != nil {
		return err
	}
	now, err := r.api.engine.StateAt(r.roomID, until)
	if err != nil {
		return err
	}
	was, is := r.membershipIn(old) == "join", r.membershipIn(now) == "join"
	switch {
	case !was && !is:
		return nil
	case was != is:
		users, into := r.joinedUsers(now), changed
		if was {
			users, into = r.joinedUsers(old), gone
		}
		for user := range users {
			if name, ok := r.knownAs(user); ok {
				into[name] = true
			}
		}
		return nil
	}
	for place := range room.Diff(old, now) {
		if !isMember(place) {
			continue
		}
		user, ok := r.nameOf(matrix.UserID(place.StateKey))
		if !ok {
			continue
		}
		before, after := r.joinIn(old, place), r.joinIn(now, place)
		if after && !before {
			changed[user] = true
		}
		if before && !after {
			gone[user] = true
		}
	}
	revealed, err := r.api.engine.Revealed(r.roomID, since, until)
	if err != nil {
		return err
	}
	for _, user := range revealed {
		if name, ok := r.nameOf(user); ok && !r.defects.Has("TrackNobodyLate") && r.joinIn(now, memberPlace(user)) {
			changed[name] = true
		}
	}
	return nil
}

// joinIn reports whether the member event at a place of a state is a join.
func (r *reader) joinIn(s room.State, place matrix.StateTuple) bool {
	e := r.stateEvent(s, place)
	return e != nil && e.Membership() == "join"
}

// keyChanges answers GET /keys/changes.
func (a *API) keyChanges(c *call) (any, error) {
	from, err := parseSyncToken(c.query("from"))
	if err != nil {
		return nil, err
	}
	to, err := parseSyncToken(c.query("to"))
	if err != nil {
		return nil, err
	}
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	lists, err := a.deviceListsBetween(c.session, memberships, from, to)
	lists.Changed = a.mistakenChanges(lists.Changed)
	return map[string]any{"changed": nonNil(lists.Changed), "left": nonNil(lists.Left)}, err
}

func nonNil(users []matrix.UserID) []matrix.UserID {
	if users == nil {
		return []matrix.UserID{}
	}
	return users
}
