package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// WaitRequest returns the first exchange that matches, as soon as its request has been read; it may
// have been recorded before the call. The answer may still be missing: match on
// [Exchange.Answered] where it matters. The error wraps the cause of ctx, or ErrClosed.
func (s *Server) WaitRequest(ctx context.Context, match Matcher) (Exchange, error) {
	return s.WaitRequestAfter(ctx, 0, match)
}

// WaitRequestAfter is WaitRequest for exchanges with a greater number than after, such as the number
// of the last one that is of no interest.
func (s *Server) WaitRequestAfter(ctx context.Context, after int, match Matcher) (Exchange, error) {
	for {
		all, changed := s.record.snapshot()
		for _, e := range all {
			if e.Number > after && match(e) {
				return e, nil
			}
		}
		if err := s.wait(ctx, changed); err != nil {
			return Exchange{}, fmt.Errorf("waiting for a request to %s: %w", s.name, err)
		}
	}
}

// wait returns nil when changed is closed, and the reason when ctx or the server ends first.
func (s *Server) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.context.Done():
		return context.Cause(s.context)
	}
}

// PDU is an event that another server sent to this one.
type PDU struct {
	// Raw is the event as it was on the wire.
	Raw json.RawMessage
	// Event is the event as matrix.ParseEvent reads it; nil when it cannot be read, for the reason in
	// Err.
	Event *matrix.Event
	// Err is why Event is nil.
	Err error
	// Version is the version of the event's room; the zero value when this server does not know it.
	Version matrix.RoomVersion
	// From is the server that sent it, in a request or in an answer.
	From matrix.ServerName
	// Via is the operation that carried it: the one that the other server asked for, or the one that
	// it answered.
	Via Operation
	// Time is when it came.
	Time time.Time
}

// Type is the event's type, also of an event that cannot be parsed.
func (p PDU) Type() string { return gjson.GetBytes(p.Raw, "type").String() }

// Membership is content.membership.
func (p PDU) Membership() string { return gjson.GetBytes(p.Raw, "content.membership").String() }

// Get reads a property of the whole event by its gjson path.
func (p PDU) Get(path string) gjson.Result { return gjson.GetBytes(p.Raw, path) }

// EDU is an ephemeral message that another server sent in a transaction.
type EDU struct {
	// Type is edu_type, and Content the content object.
	Type    string
	Content json.RawMessage
	// From is the server that sent it.
	From matrix.ServerName
	// Time is when it came.
	Time time.Time
}

// maxInbox bounds what an inbox keeps of each kind.
const maxInbox = 20000

// inbox keeps the events and ephemeral messages that came in.
type inbox struct {
	mu      sync.Mutex
	pdus    []PDU
	edus    []EDU
	hooks   []func(PDU)
	changed chan struct{}
}

func (b *inbox) init() { b.changed = make(chan struct{}) }

func (b *inbox) addPDU(p PDU) {
	b.mu.Lock()
	hooks := slices.Clone(b.hooks)
	b.mu.Unlock()
	for _, hook := range hooks {
		hook(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pdus) < maxInbox {
		b.pdus = append(b.pdus, p)
	}
	b.broadcast()
}

func (b *inbox) addEDU(e EDU) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.edus) < maxInbox {
		b.edus = append(b.edus, e)
	}
	b.broadcast()
}

func (b *inbox) broadcast() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// wake makes everyone who waits look again.
func (b *inbox) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broadcast()
}

// OnPDU calls hook with every event that another server sends to this one from now on: in
// transactions, in the handshakes of joins, knocks, leaves and invites, and in answers. It is called
// before anyone who waits for the event sees it, by several goroutines at once.
func (s *Server) OnPDU(hook func(PDU)) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	s.inbox.hooks = append(s.inbox.hooks, hook)
}

// PDUs returns the events that other servers have sent to this one, oldest first.
func (s *Server) PDUs() []PDU {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return slices.Clone(s.inbox.pdus)
}

// EDUs returns the ephemeral messages that other servers have sent to this one, oldest first.
func (s *Server) EDUs() []EDU {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	return slices.Clone(s.inbox.edus)
}

// WaitPDU returns the first event that matches of those that another server has sent, before or
// after the call. By then it is part of this server's copy of the room. The error wraps the cause of
// ctx, or ErrClosed.
func (s *Server) WaitPDU(ctx context.Context, match func(PDU) bool) (PDU, error) {
	seen := 0
	for {
		s.inbox.mu.Lock()
		pdus, changed := s.inbox.pdus[seen:], s.inbox.changed
		s.inbox.mu.Unlock()
		if i := slices.IndexFunc(pdus, match); i >= 0 {
			return pdus[i], nil
		}
		seen += len(pdus)
		if err := s.wait(ctx, changed); err != nil {
			return PDU{}, fmt.Errorf("waiting for an event to reach %s (%d others did): %w", s.name, seen, err)
		}
	}
}

// WaitEDU is WaitPDU for ephemeral messages.
func (s *Server) WaitEDU(ctx context.Context, match func(EDU) bool) (EDU, error) {
	seen := 0
	for {
		s.inbox.mu.Lock()
		edus, changed := s.inbox.edus[seen:], s.inbox.changed
		s.inbox.mu.Unlock()
		if i := slices.IndexFunc(edus, match); i >= 0 {
			return edus[i], nil
		}
		seen += len(edus)
		if err := s.wait(ctx, changed); err != nil {
			return EDU{}, fmt.Errorf("waiting for an ephemeral message to reach %s (%d others did): %w", s.name, seen, err)
		}
	}
}

// received files an event that came from another server and returns it.
func (s *Server) received(v matrix.RoomVersion, raw []byte, from matrix.ServerName, via Operation) PDU {
	p := s.readPDU(v, raw, from, via)
	s.inbox.addPDU(p)
	return p
}

// readPDU parses an event without filing it.
func (s *Server) readPDU(v matrix.RoomVersion, raw []byte, from matrix.ServerName, via Operation) PDU {
	p := PDU{Raw: slices.Clone(raw), Version: v, From: from, Via: via, Time: time.Now()}
	if v.ID == "" {
		p.Version = s.versionOf(gjson.GetBytes(raw, "room_id").String())
	}
	if p.Version.ID == "" {
		p.Err = fmt.Errorf("this server is not in room %q", gjson.GetBytes(raw, "room_id").String())
		return p
	}
	p.Event, p.Err = matrix.ParseEvent(p.Version, p.Raw)
	return p
}
