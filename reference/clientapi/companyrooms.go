package clientapi

import (
	"sync"

	"countersign/matrix"
)

// companyRooms are the rooms with participation that this server has had to do with. It is by looking there
// that the rooms of a user of another server are found, as such rooms do not know users by account name.
type companyRooms struct {
	mu sync.Mutex
	// known tells of every room that has been looked at whether it is one.
	known map[string]bool
	// fresh are rooms that have not been looked at.
	fresh map[string]bool
	// recalled is set once the rooms from before the server started are known.
	recalled bool
}

func newCompanyRooms() *companyRooms {
	return &companyRooms{known: map[string]bool{}, fresh: map[string]bool{}}
}

// note has a room looked at when it matters.
func (c *companyRooms) note(roomID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.known[roomID]; !known {
		c.fresh[roomID] = true
	}
}

// take returns the rooms that have not been looked at, and whether those from before the start are missing.
func (c *companyRooms) take() (fresh []string, forgetful bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for roomID := range c.fresh {
		fresh = append(fresh, roomID)
	}
	return fresh, !c.recalled
}

// settle notes what rooms are, and lists those with participation.
func (c *companyRooms) settle(looked map[string]bool, recalled bool) (rooms []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recalled = c.recalled || recalled
	for roomID, isOne := range looked {
		c.known[roomID] = isOne
		delete(c.fresh, roomID)
	}
	for roomID, isOne := range c.known {
		if isOne {
			rooms = append(rooms, roomID)
		}
	}
	return rooms
}

// companyRooms lists the rooms with participation. The engine, which waits for note, is asked without
// the lock.
func (a *API) companyRooms() []string {
	fresh, recall := a.company.take()
	if recall {
		before, err := a.localRooms()
		if err != nil {
			a.logger.Warn("the rooms of this server cannot be listed", "error", err)
			recall = false
		}
		fresh = append(fresh, before...)
	}
	looked := map[string]bool{}
	for _, roomID := range fresh {
		if info, ok := a.engine.Room(roomID); ok {
			looked[roomID] = info.Version.HasParticipation()
		}
	}
	return a.company.settle(looked, recall)
}

// sharedAsCompany are those of some rooms that have participation and that a user of another server is
// verified to be joined to.
func (a *API) sharedAsCompany(name matrix.UserID, rooms []string) (shared []string) {
	for _, roomID := range rooms {
		info, ok := a.engine.Room(roomID)
		if !ok || !info.Version.HasParticipation() {
			continue
		}
		t := a.translator(roomID, info.Version)
		user, ok := t.find(name)
		if !ok {
			continue
		}
		if m, _ := a.engine.Membership(roomID, user); m.Membership == "join" {
			shared = append(shared, roomID)
		}
	}
	return shared
}
