// Package account maps account names to account keys and back (MSC4243): it mints the keys of local
// users, asks other servers who is behind theirs, answers the same question for them, and keeps the
// verification state of every key it has seen.
package account

import (
	"errors"
	"log/slog"
	"time"

	"countersign/matrix"
	"countersign/reference/defect"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// State is what is known about an account key user ID. It only ever moves from Unverified to
// Verified, and from either to Erased (MSC4243, "Handling GDPR erasure").
type State int

const (
	// Unverified: the domain has not confirmed the key, or cannot be asked.
	Unverified State = iota
	// Verified: the domain has confirmed the key, and the key has signed the account name.
	Verified
	// Erased: the key's owner has been erased. This is final.
	Erased
)

// String is the state's name in lower case.
func (s State) String() string { return [...]string{"unverified", "verified", "erased"}[s] }

// Entry is what is known about one account key user ID. State is kept per key and domain, not per key
// alone (D-06): whoever has a stolen key can then not erase its owner on another domain.
type Entry struct {
	State State
	// Name is the account name user ID; empty unless State is Verified.
	Name matrix.UserID
}

// ErrUnknownAccount is returned when no account key is known for an account name user ID. Nothing but
// an invitation or a ban can find it out (D-21): the client gets a 4xx answer.
var ErrUnknownAccount = errors.New("no account key is known for this user")

// Options are what a Directory needs.
type Options struct {
	DB         *store.DB
	ServerName matrix.ServerName
	// Peers reaches other servers, with the backoff that all kinds of requests share.
	Peers  peer.Caller
	Logger *slog.Logger
	// Now is the clock.
	Clock func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
}
