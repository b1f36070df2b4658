package clientapi

import "countersign/matrix"

// memo answers repeated questions of one request from memory: the same few users send most of the
// events of a room, and one answer should not show a user in two ways. It is for one goroutine.
type memo struct {
	names
	clients map[matrix.UserID]memoized
	keys    map[matrix.UserID][]matrix.UserID
}

type memoized struct {
	name matrix.UserID
	ok   bool
}

func newMemo(n names) *memo {
	return &memo{n, map[matrix.UserID]memoized{}, map[matrix.UserID][]matrix.UserID{}}
}

func (m *memo) ClientUser(v matrix.RoomVersion, user matrix.UserID) (matrix.UserID, bool) {
	known, asked := m.clients[user]
	if !asked {
		known.name, known.ok = m.names.ClientUser(v, user)
		m.clients[user] = known
	}
	return known.name, known.ok
}

func (m *memo) KeyUserIDs(user matrix.UserID) []matrix.UserID {
	known, asked := m.keys[user]
	if !asked {
		known = m.names.KeyUserIDs(user)
		m.keys[user] = known
	}
	return known
}
