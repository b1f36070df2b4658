package room

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/store"
)

// tableContacts has the domains at which users were invited who have no server in a room with
// participation yet, as they must hear of it when they are no longer invited.
const tableContacts = "contacts" // room ID, user ID -> domain

// destinations are the servers that an event of ours is sent to: those with a joined user before or
// after it, and, for a membership, the server of whom it is about. D-46: a server hears of its own
// participation, in the room or not. r.mutex is held.
func (g *Engine) destinations(r *liveRoom, e *matrix.Event, except ...matrix.ServerName) []matrix.ServerName {
	servers := append(g.routed(r), g.concerned(r, e)...)
	if r.version.Identity == matrix.AccountKeyIdentity && g.Defects.Has("SendToTheCreatorsServerOnly") {
		servers = []matrix.ServerName{r.create.Sender().Domain()}
	}
	slices.Sort(servers)
	if e.Membership() == "invite" && r.version.Identity == matrix.AccountKeyIdentity {
		except = g.exceptInvited(r, e, except)
	}
	return slices.DeleteFunc(slices.Compact(servers), func(s matrix.ServerName) bool {
		return s == "" || s == g.ServerName || slices.Contains(except, s)
	})
}

// concerned are the domains of servers that an event is about. r.mutex is held.
func (g *Engine) concerned(r *liveRoom, e *matrix.Event) []matrix.ServerName {
	target, isState := e.StateKey()
	switch {
	case !isState:
		return nil
	case e.IsParticipation() && g.Defects.Has("TellNobodyOutside"):
		return nil
	case e.IsParticipation():
		domain, _ := e.UnverifiedDomain()
		return []matrix.ServerName{domain, r.roster.domain(matrix.ServerName(target))}
	case e.Type() != "m.room.member":
		return nil
	case r.version.HasParticipation():
		return []matrix.ServerName{g.domainOfUser(r, matrix.UserID(target)), g.contact(r.id, matrix.UserID(target))}
	}
	return []matrix.ServerName{matrix.UserID(target).Domain()}
}

// domainOfUser is the unverified domain of a user's server in a room with participation, or empty.
// r.mutex is held.
func (g *Engine) domainOfUser(r *liveRoom, user matrix.UserID) matrix.ServerName {
	server, ok := g.serverOfUser(r, user)
	if !ok {
		return ""
	}
	return r.roster.domain(server)
}

// noteContact remembers at which domain a user was invited.
func (g *Engine) noteContact(roomID string, user matrix.UserID, domain matrix.ServerName) error {
	return g.DB.Update(func(tx *store.Tx) error {
		return tx.Table(tableContacts).Put(store.Key(roomID, string(user)), []byte(domain))
	})
}

func (g *Engine) contact(roomID string, user matrix.UserID) (domain matrix.ServerName) {
	err := g.DB.View(func(tx *store.Tx) error {
		domain = matrix.ServerName(tx.Table(tableContacts).Get(store.Key(roomID, string(user))))
		return nil
	})
	if err != nil {
		g.Logger.Error("reading where a user was invited", "room", roomID, "user", user, "error", err)
	}
	return domain
}
