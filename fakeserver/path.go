package fakeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"countersign/matrix"
)

// DeliveryPath is a way on which an event reaches another server. It is a value: its methods put an
// event on the way and say which events cannot take it, so that a test crosses a table of forgeries
// with every path and knows neither.
type DeliveryPath struct {
	// Name is the path's name, as it is in test names: "send", "send_join".
	Name string
	// Needs is what the other server has to do for the event to reach it.
	Needs Need

	deliver func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) error
	refuses []refusal
}

// Need is what makes an event travel.
type Need int

// The needs of delivery paths.
const (
	// Nothing is needed: the event has been delivered when Deliver returns, to a server that is in the
	// room.
	Nothing Need = iota
	// Join needs the other server to join the room, through this server, after Deliver. It must not
	// have been in the room before.
	Join
)

// refusal is a reason why some forgeries cannot take a path.
type refusal struct {
	applies func(f Forgery, d Draft) bool
	reason  string
}

// ErrImpossible is wrapped by the error of Deliver for an event that cannot take the path.
var ErrImpossible = errors.New("the event cannot take this path")

// Refuses is the reason why an event with that forgery cannot take the path, or empty when it can. A
// test skips the combination and says so.
func (p DeliveryPath) Refuses(f Forgery, d Draft) string {
	for _, r := range p.refuses {
		if r.applies(f, d) {
			return r.reason
		}
	}
	return ""
}

// Deliver puts an event on the way to a server: it sends it, or has the room ready to hand it out when
// the other server does what the path needs. The room does not make the event its own. The error is
// about the delivery; what the other server makes of the event is not looked at.
func (p DeliveryPath) Deliver(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) error {
	if err := p.deliver(ctx, r, dest, f); err != nil {
		return fmt.Errorf("delivering %s by %s: %w", f.EventID, p.Name, err)
	}
	return nil
}

// String is the path's name.
func (p DeliveryPath) String() string { return p.Name }

// DeliveryPaths ranges over every delivery path and its index:
//
//	for _, path := range fakeserver.DeliveryPaths { ... }
func DeliveryPaths(yield func(int, DeliveryPath) bool) {
	paths := [...]DeliveryPath{SendPath(), SendJoinPath()}
	for i, p := range paths {
		if !yield(i, p) {
			return
		}
	}
}

// SendPath delivers an event in a transaction.
func SendPath() DeliveryPath {
	return DeliveryPath{
		Name: "send",
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) error {
			_, err := r.server.SendTransaction(ctx, dest, []json.RawMessage{f.PDU}, nil)
			if errors.Is(err, matrix.ErrNotCanonical) {
				return fmt.Errorf("%w: a transaction with it cannot be signed: %w", ErrImpossible, err)
			}
			return err
		},
		refuses: append([]refusal{
			{isCreate, "a create event is in no room that the other server knows; it only comes with a room's state"},
			{unsignable, "the request's signature covers the canonical form of the transaction, which has none with such text in it"},
		}, handshakeOnly()...),
	}
}

// SendJoinPath delivers a state event with the state that the answer to send_join tells, or, when the
// forgery has left no state event of it, with the auth chain.
func SendJoinPath() DeliveryPath {
	return DeliveryPath{
		Name:  "send_join",
		Needs: Join,
		deliver: func(_ context.Context, r *Room, _ matrix.ServerName, f Forged) error {
			r.Plant(f)
			return nil
		},
		refuses: append([]refusal{
			{func(_ Forgery, d Draft) bool { return d.StateKey == nil }, "only state events come with the state of a room"},
			{notText, "an answer that is not UTF-8 is no JSON, whatever event spoils it"},
			{func(f Forgery, _ Draft) bool { return f.Courier }, "the state of a room comes from the server that was asked, whoever signed it"},
		}, handshakeOnly()...),
	}
}

func isCreate(_ Forgery, d Draft) bool { return d.Type == "m.room.create" }

// unsignable reports whether an edit of the author leaves a transaction without a canonical form, even
// a lenient one.
func unsignable(f Forgery, _ Draft) bool {
	return slices.ContainsFunc(f.Edits, func(e Edit) bool {
		_, err := matrix.LenientCanonicalJSON([]byte(`{"n":` + e.JSON + `}`))
		return e.JSON != "" && err != nil
	})
}

func notText(f Forgery, _ Draft) bool {
	return slices.ContainsFunc(f.Edits, func(e Edit) bool { return !utf8.ValidString(e.JSON) })
}

// handshakeOnly are the reasons why a forgery takes no path at all.
func handshakeOnly() []refusal {
	return []refusal{
		{func(f Forgery, _ Draft) bool { return f.TemplateEdits != nil }, "a template is not an event; it travels in the answer to make_join"},
	}
}
