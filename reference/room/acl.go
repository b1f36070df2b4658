package room

import (
	"net"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// ServerAllowed reports whether the room's m.room.server_acl lets a server take part (server-server
// API, "Server Access Control Lists"). Rooms that are not known allow everybody.
func (g *Engine) ServerAllowed(roomID string, server matrix.ServerName) bool {
	e := g.currentEvent(roomID, "m.room.server_acl", "")
	return e == nil || aclAllows(e.Content(), server) || g.Defects.Has("IgnoreServerACLs")
}

// checkACL is the error for a server that the room's ACL keeps out.
func (g *Engine) checkACL(roomID string, server matrix.ServerName) error {
	if g.ServerAllowed(roomID, server) {
		return nil
	}
	return peer.Forbidden("%s is denied by the room's server ACL", server)
}

// currentEvent is the event at a place of the current state, or nil.
func (g *Engine) currentEvent(roomID, eventType, stateKey string) *matrix.Event {
	s, err := g.CurrentState(roomID)
	if err != nil {
		return nil
	}
	return g.StateEvent(s, eventType, stateKey)
}

// aclAllows applies the content of an m.room.server_acl event. Ports are not looked at.
func aclAllows(content []byte, server matrix.ServerName) bool {
	host, _ := server.HostPort()
	if gjson.GetBytes(content, "allow_ip_literals").Raw == "false" && net.ParseIP(host) != nil {
		return false
	}
	return !anyGlob(gjson.GetBytes(content, "deny"), host) && anyGlob(gjson.GetBytes(content, "allow"), host)
}

func anyGlob(list gjson.Result, host string) bool {
	if !list.IsArray() {
		return false
	}
	for _, pattern := range list.Array() {
		if pattern.Type == gjson.String && matchGlob(strings.ToLower(pattern.Str), strings.ToLower(host)) {
			return true
		}
	}
	return false
}

// matchGlob matches * with any characters and ? with one, in time linear in the product of the lengths.
func matchGlob(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// Servers are the servers with a joined user in the room, this one included, sorted.
func (g *Engine) Servers(roomID string) ([]matrix.ServerName, error) {
	r, err := g.live(roomID)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, peer.NotFound("this server does not know the room %s", roomID)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.domains(), nil
}

// AcceptsEDUFrom reports whether a server has a joined user in the room and is allowed by its ACL.
func (g *Engine) AcceptsEDUFrom(roomID string, server matrix.ServerName) bool {
	return g.serverJoined(roomID, server) && g.ServerAllowed(roomID, server)
}

// serverJoined reports whether a server has a joined user in a room that this server is in, too.
func (g *Engine) serverJoined(roomID string, server matrix.ServerName) bool {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return false
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.roster.takesPart(g.ownName(r)) && r.hasDomain(server)
}

// checkReader is the error for a server that may not read some events of a room: it is in the room now,
// or was before one of the events. A server that has just been removed still has to fetch what led to
// that.
func (g *Engine) checkReader(roomID string, server matrix.ServerName, eventIDs ...string) error {
	r, err := g.live(roomID)
	if err != nil {
		return err
	}
	if r == nil || !g.inRoom(r) {
		return peer.NotFound("this server is not in the room %s", roomID)
	}
	if err := g.checkACL(roomID, server); err != nil {
		return err
	}
	if g.serverJoined(roomID, server) {
		return nil
	}
	for _, id := range eventIDs {
		if g.serverWasJoined(roomID, server, id) {
			return nil
		}
	}
	if g.readsOutside(r, server) {
		return nil
	}
	return peer.Forbidden("%s is not in the room", server)
}

// serverWasJoined reports whether a server had a joined user before an event.
func (g *Engine) serverWasJoined(roomID string, server matrix.ServerName, eventID string) (joined bool) {
	before, err := g.StateBefore(roomID, eventID)
	if err != nil {
		return false
	}
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return false
	}
	then := liveRoom{id: r.id, version: r.version, roster: newRoster(r.version)}
	err = g.view(func(events source) error { return then.follow(events, &then.roster, State{}, before) })
	return err == nil && then.hasDomain(server)
}

// readable are those events that a server may read.
func (g *Engine) readable(roomID string, server matrix.ServerName, events []*matrix.Event) []*matrix.Event {
	if g.serverJoined(roomID, server) {
		return events
	}
	return slices.DeleteFunc(events, func(e *matrix.Event) bool { return !g.serverWasJoined(roomID, server, e.ID()) })
}

// view runs a function on the events of one transaction.
func (g *Engine) view(f func(source) error) error {
	return g.DB.View(func(tx *store.Tx) error { return f(source{g: g, tx: tx}) })
}
