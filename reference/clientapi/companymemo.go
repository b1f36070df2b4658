package clientapi

import (
	"countersign/matrix"
	"countersign/reference/room"
)

// companyMemo is a company that is asked everything but about events once, as memo is for names. It is for
// one goroutine.
type companyMemo struct {
	company
	servers  map[matrix.UserID]remembered[room.Participant]
	names    map[matrix.UserID]remembered[matrix.UserID]
	accounts map[accountAt]remembered[string]
	users    map[matrix.UserID][]matrix.UserID
}

// remembered is an answer.
type remembered[T any] struct {
	value T
	ok    bool
}

type accountAt struct {
	user   matrix.UserID
	domain matrix.ServerName
}

func newCompanyMemo(c company) *companyMemo {
	return &companyMemo{
		c, map[matrix.UserID]remembered[room.Participant]{}, map[matrix.UserID]remembered[matrix.UserID]{},
		map[accountAt]remembered[string]{}, map[matrix.UserID][]matrix.UserID{},
	}
}

// recall is the answer that is remembered for a question, or else given now.
func recall[K comparable, T any](answers map[K]remembered[T], k K, ask func() (T, bool)) (T, bool) {
	r, asked := answers[k]
	if !asked {
		r.value, r.ok = ask()
		answers[k] = r
	}
	return r.value, r.ok
}

func (m *companyMemo) ServerOfUser(user matrix.UserID) (room.Participant, bool) {
	return recall(m.servers, user, func() (room.Participant, bool) { return m.company.ServerOfUser(user) })
}

func (m *companyMemo) ClientName(user matrix.UserID) (matrix.UserID, bool) {
	return recall(m.names, user, func() (matrix.UserID, bool) { return m.company.ClientName(user) })
}

func (m *companyMemo) AccountName(user matrix.UserID, domain matrix.ServerName) (string, bool) {
	return recall(m.accounts, accountAt{user, domain}, func() (string, bool) { return m.company.AccountName(user, domain) })
}

func (m *companyMemo) RoomUsers(name matrix.UserID) []matrix.UserID {
	known, asked := m.users[name]
	if !asked {
		known = m.company.RoomUsers(name)
		m.users[name] = known
	}
	return known
}
