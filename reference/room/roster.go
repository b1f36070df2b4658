package room

import (
	"fmt"
	"maps"
	"slices"

	"countersign/matrix"
)

// roster is which servers take part in a room by its current state. Servers are named as the room names
// them: by domain, or by server key in rooms with participation.
type roster struct {
	// joined counts the joined users of each server.
	joined map[matrix.ServerName]int
	// participations are the participation events of server keys; nil in rooms without participation.
	participations map[matrix.ServerName]*matrix.Event
}

func newRoster(v matrix.RoomVersion) roster {
	o := roster{joined: map[matrix.ServerName]int{}}
	if v.HasParticipation() {
		o.participations = map[matrix.ServerName]*matrix.Event{}
	}
	return o
}

func (o roster) clone() roster {
	return roster{joined: maps.Clone(o.joined), participations: maps.Clone(o.participations)}
}

// follow brings a roster of the room up to date with a change of state.
func (r *liveRoom) follow(events source, o *roster, old, new State) error {
	for place, ids := range Diff(old, new) {
		switch {
		case place.Type == "m.room.member":
			if err := r.count(events, o, place, ids); err != nil {
				return err
			}
		case place.Type == matrix.ParticipationType && o.participations != nil:
			delete(o.participations, matrix.ServerName(place.StateKey))
			if e := events.Event(ids[1]); e != nil {
				o.participations[matrix.ServerName(place.StateKey)] = e
			}
		}
	}
	return nil
}

// count counts a change of one user's membership.
func (r *liveRoom) count(events source, o *roster, place matrix.StateTuple, ids [2]string) error {
	for i, id := range ids {
		if id == "" {
			continue
		}
		e := events.Event(id)
		if e == nil {
			return fmt.Errorf("the member event %s cannot be read: %w", id, errDamaged)
		}
		if e.Membership() != "join" {
			continue
		}
		server, ok := serverOfMember(events.Event, e)
		if !ok {
			continue
		}
		if o.joined[server] += 2*i - 1; o.joined[server] == 0 {
			delete(o.joined, server)
		}
	}
	return nil
}

// serverOfMember is the server of the user whom a join is about, as the room names servers. D-54: in rooms
// of MSC4348 it is the one that has co-signed the join.
func serverOfMember(find matrix.EventFinder, join *matrix.Event) (matrix.ServerName, bool) {
	if join.Version().HasPortableAccounts() {
		server, err := join.Cosigner(find)
		return server, err == nil
	}
	user, _ := join.StateKey()
	return matrix.UserID(user).Domain(), true
}

// participation is what the room says of a server key.
func (o roster) participation(server matrix.ServerName) matrix.Participation {
	if e := o.participations[server]; e != nil {
		return e.Participation()
	}
	return ""
}

// takesPart reports whether a server has a joined user and, in rooms with participation, is accepted.
func (o roster) takesPart(server matrix.ServerName) bool {
	return o.joined[server] > 0 && (o.participations == nil || o.participation(server) == matrix.Accepted)
}

// domain is where a server can be reached, as far as the room says: itself, or the domain that its
// participation names, which nobody has proved (MSC4345, "The unverified_domain property"). It is empty
// when the room does not say.
func (o roster) domain(server matrix.ServerName) matrix.ServerName {
	if o.participations == nil {
		return server
	}
	if e := o.participations[server]; e != nil {
		domain, _ := e.UnverifiedDomain()
		return domain
	}
	return ""
}

// domains are the domains of the servers that take part, sorted. D-56: in rooms with participation events
// are routed to the accepted servers that have a joined user.
func (r *liveRoom) domains() []matrix.ServerName {
	domains := make([]matrix.ServerName, 0, len(r.roster.joined))
	for s := range r.roster.joined {
		if !r.roster.takesPart(s) {
			continue
		}
		if domain := r.roster.domain(s); domain != "" {
			domains = append(domains, domain)
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// hasDomain reports whether a server of a domain takes part.
func (r *liveRoom) hasDomain(domain matrix.ServerName) bool {
	if r.roster.participations == nil {
		return r.roster.takesPart(domain)
	}
	for s := range r.roster.participations {
		if r.roster.domain(s) == domain && r.roster.takesPart(s) {
			return true
		}
	}
	return false
}

// serverOfDomain is the accepted server that says that it is of a domain, the latest when there are
// several; empty when there is none. Whether the domain is the server's is not known: whoever asks on
// behalf of the domain has proved to be of it.
func (r *liveRoom) serverOfDomain(domain matrix.ServerName) (server matrix.ServerName) {
	var latest *matrix.Event
	for s, e := range r.roster.participations {
		if e.Participation() == matrix.Accepted && r.roster.domain(s) == domain && (latest == nil || isLater(e, latest)) {
			server, latest = s, e
		}
	}
	return server
}

// isLater orders two events by depth, and by ID where that does not decide.
func isLater(a, b *matrix.Event) bool {
	return a.Depth() > b.Depth() || a.Depth() == b.Depth() && a.ID() > b.ID()
}
