package fakeserver

import (
	"encoding/json"
	"fmt"

	"countersign/matrix"
)

// RoomOptions are what the creator of a room decides. The zero value makes a public room.
type RoomOptions struct {
	// Version is the room version; the zero value means version 12.
	Version matrix.RoomVersion
	// JoinRule is the join rule; empty means "public".
	JoinRule string
	// Allow is the allow list of a restricted join rule, as JSON, or nil.
	Allow json.RawMessage
	// HistoryVisibility is the history visibility; empty means "shared".
	HistoryVisibility string
	// CreateContent is added to the content of the create event.
	CreateContent map[string]any
	// PowerLevels replaces members of the power levels' content; the rest is as the client-server
	// API's defaults are. The creator has no place in it.
	PowerLevels map[string]any
	// NoPowerLevels leaves the power levels out.
	NoPowerLevels bool
	// State are further state events, sent by the creator in this order.
	State []Draft
	// ServerKey is the key by which the creator's server is known in a room with participation; the zero
	// value mints one.
	ServerKey matrix.ServerKeyPair
	// Members are further users of fake servers who join, each by an event of their own.
	Members []*User
}

// CreateRoom makes a room with the initial state that any server would give it: create, the creator's
// join, power levels, join rules and history visibility; in a room with participation the server's own
// acceptance comes before the join (MSC4345, "Room creation flow"), and members of other servers come with
// the request and the acceptance of the key that their server uses in the room. Nothing is sent.
func (s *Server) CreateRoom(creator *User, o RoomOptions) (*Room, error) {
	v := o.Version
	if v.ID == "" {
		v = matrix.RoomVersion12()
	}
	r := newRoom(s, "", v)
	if err := r.populate(creator, o); err != nil {
		return nil, fmt.Errorf("creating a room of version %s: %w", v.ID, err)
	}
	s.addRoom(r)
	return r, nil
}

func (r *Room) populate(creator *User, o RoomOptions) error {
	create := map[string]any{"room_version": r.version.ID}
	for key, value := range o.CreateContent {
		create[key] = value
	}
	powerLevels := map[string]any{
		"users": map[string]int{}, "users_default": 0, "events": map[string]int{}, "events_default": 0,
		"state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": 0,
	}
	for key, value := range o.PowerLevels {
		powerLevels[key] = value
	}
	joinRules := map[string]any{"join_rule": "public"}
	if o.JoinRule != "" {
		joinRules["join_rule"] = o.JoinRule
	}
	if o.Allow != nil {
		joinRules["allow"] = o.Allow
	}
	visibility := "shared"
	if o.HistoryVisibility != "" {
		visibility = o.HistoryVisibility
	}
	if err := r.found(creator, create, o.ServerKey); err != nil {
		return err
	}
	drafts := []Draft{Membership(r.UserID(creator), "join")}
	if !o.NoPowerLevels {
		drafts = append(drafts, State("m.room.power_levels", "", powerLevels))
	}
	drafts = append(append(drafts,
		State("m.room.join_rules", "", joinRules),
		State("m.room.history_visibility", "", map[string]any{"history_visibility": visibility})), o.State...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range drafts {
		if err := r.sendInitial(creator, d); err != nil {
			return err
		}
	}
	for _, member := range o.Members {
		if err := r.introduce(creator, member.server); err != nil {
			return err
		}
		if err := r.sendInitial(member, Membership(r.UserID(member), "join")); err != nil {
			return err
		}
	}
	return nil
}

// found creates the room and, where servers participate, brings the creator's server in.
func (r *Room) found(creator *User, content map[string]any, key matrix.ServerKeyPair) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := State("m.room.create", "", content)
	if !r.version.HasParticipation() {
		return r.sendInitial(creator, d)
	}
	if !isKey(key) {
		key = NewServerKey()
	}
	if err := r.sendInitial(creator, d.Through(key)); err != nil {
		return err
	}
	r.server.UseRoomKey(r.id, key)
	r.server.learnVersion(r.id, r.version)
	own := Participates(key.Key().Name(), matrix.Accepted).With("unverified_domain", r.server.name)
	return r.sendInitial(creator, own)
}

// introduce has the server of a further member request and be accepted, unless it is in the room.
func (r *Room) introduce(creator *User, s *Server) error {
	if !r.version.HasParticipation() {
		return nil
	}
	key := s.RoomKey(r.id)
	if r.state.participation(key.Key().Name()) == matrix.Accepted {
		return nil
	}
	s.learnVersion(r.id, r.version)
	asks := Participates(key.Key().Name(), matrix.Requested).With("unverified_domain", s.name).
		Through(key).AuthorisedBy(r.Key())
	if err := r.sendInitial(creator, asks); err != nil {
		return err
	}
	accepts := Participates(key.Key().Name(), matrix.Accepted).With("unverified_domain", s.name)
	return r.sendInitial(creator, accepts)
}

// sendInitial adds an event to a room that nobody else is in yet.
func (r *Room) sendInitial(sender *User, d Draft) error {
	e, err := r.newEvent(sender, d)
	if err != nil {
		return err
	}
	if e.IsCreate() {
		r.id = e.RoomID()
	}
	r.add(e)
	return nil
}
