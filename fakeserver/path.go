package fakeserver

import (
	"context"
	"errors"
	"fmt"

	"countersign/matrix"
)

// DeliveryPath is a way on which an event reaches another server. It is a value: its methods put an
// event on the way and say which forgeries cannot take it, so that a test crosses the table of
// forgeries with every path and knows neither.
type DeliveryPath struct {
	// Name is the path's name, as it is in test names: that of the endpoint by which the event comes.
	Name string
	// Needs is what the other server has to do for the event to reach it, and where it has to be.
	Needs Need
	// Carries is what kind of events take the path.
	Carries Carries
	// Asks is the operation by which the other server asks for the event; empty when it is not asked.
	Asks Operation

	deliver func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error)
	refuses []refusal
}

// Need is what makes an event travel.
type Need int

// The needs of delivery paths.
const (
	// InRoom needs the other server to be in the room; the event has been delivered when Deliver
	// returns.
	InRoom Need = iota
	// Join needs the other server to join the room, through this server, after Deliver. It must not
	// have been in the room before.
	Join
	// Page needs what Join needs, and then a client of the other server to page back through the room.
	Page
	// Outside needs the other server not to be in the room; the event has been delivered when Deliver
	// returns.
	Outside
)

// Carries is what kind of events take a path.
type Carries int

// What paths carry.
const (
	// Anything is events of every type.
	Anything Carries = iota
	// Joins, Knocks and Leaves are memberships that users of this server hand in about themselves.
	Joins
	Knocks
	Leaves
	// Invitations are invitations of users of the other server, who are named by their account names.
	Invitations
	// Requests are the requests of servers to participate, which the other server authorises. The honest event
	// is made from the other server's template, by [Petition.Forge].
	Requests
)

// Membership is the membership that a path carries; empty when it carries anything, or requests.
func (c Carries) Membership() string {
	return [...]string{"", "join", "knock", "leave", "invite", ""}[c]
}

// Delivered is what came of a delivery.
type Delivered struct {
	// Response is the answer to the request that carried the event; nil when it was fetched.
	Response *Response
	// Followers are honest events that were sent, or made part of the room, to have the event fetched:
	// they follow it. The room has made them its own only where the path needs a join.
	Followers []*matrix.Event
}

// ErrImpossible is wrapped by the error of Deliver for an event that cannot take the path.
var ErrImpossible = errors.New("the event cannot take this path")

// Refuses is the reason why a forgery of the table cannot take the path, or empty when it can.
func (p DeliveryPath) Refuses(row NamedForgery) string {
	for _, r := range p.refuses {
		if r.applies(row) {
			return r.reason
		}
	}
	return ""
}

// Deliver puts an event on the way to a server: it sends it, or has the room ready to hand it out when
// the other server asks, and makes it ask. The room does not make the event its own. The error is about
// the delivery; what the other server makes of the event is not looked at.
func (p DeliveryPath) Deliver(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
	d, err := p.deliver(ctx, r, dest, f)
	if err != nil {
		return d, fmt.Errorf("delivering %s by %s: %w", f.EventID, p.Name, err)
	}
	return d, nil
}

// String is the path's name.
func (p DeliveryPath) String() string { return p.Name }

// DeliveryPaths ranges over every delivery path and its index:
//
//	for _, path := range fakeserver.DeliveryPaths { ... }
func DeliveryPaths(yield func(int, DeliveryPath) bool) {
	paths := [...]DeliveryPath{
		SendPath(), SendJoinPath(), BackfillPath(), MissingEventsPath(), EventPath(), StateIDsPath(),
		InvitePath(), HandedInPath(Joins), HandedInPath(Knocks), HandedInPath(Leaves),
	}
	for i, p := range paths {
		if !yield(i, p) {
			return
		}
	}
}

// DeliveryPathsIn ranges over the delivery paths of rooms of a version: those of [DeliveryPaths] and, where
// servers participate, the one on which they request to.
func DeliveryPathsIn(v matrix.RoomVersion) func(yield func(int, DeliveryPath) bool) {
	return func(yield func(int, DeliveryPath) bool) {
		next := 0
		for i, p := range DeliveryPaths {
			if next = i + 1; !yield(i, p) {
				return
			}
		}
		if v.HasParticipation() {
			yield(next, HandedInPath(Requests))
		}
	}
}
