package fakeserver

import (
	"fmt"

	"countersign/matrix"
)

// Crowd builds the joins of n users of a domain, each with an account key of its own and each
// following the one before, and makes them part of this server's copy of the room. Nothing is sent.
// The domain need not be one of a fake server, nor exist: anybody can mint account keys and claim that
// they are some domain's (MSC4243, "Potential Issues"). What is sent to the room's peers is sent to
// the domain as well from now on, unless [Room.Ignore] names it.
func (r *Room) Crowd(domain matrix.ServerName, n int) ([]*matrix.Event, error) {
	if r.version.HasParticipation() {
		return nil, fmt.Errorf("a crowd at %s: in %s only servers that were accepted have users", domain, r.id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	joins := make([]*matrix.Event, 0, n)
	for range n {
		account, err := matrix.NewAccount()
		if err != nil {
			return nil, fmt.Errorf("minting an account key for %s: %w", domain, err)
		}
		user := account.Key().UserID(domain)
		p, err := r.proto(user, matrix.ServerKey{}, Membership(user, "join"))
		if err != nil {
			return nil, fmt.Errorf("the join of %s: %w", user, err)
		}
		e, err := p.Build(r.version, account.Signer())
		if err != nil {
			return nil, fmt.Errorf("the join of %s: %w", user, err)
		}
		r.add(e)
		joins = append(joins, e)
	}
	return joins, nil
}
