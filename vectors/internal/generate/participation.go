package main

import (
	"fmt"
	"slices"
	"strings"

	"countersign/matrix"
	"countersign/vectors"
)

// house is a room with participation: two servers, and a user of the first.
type house struct {
	version    matrix.RoomVersion
	here, away matrix.ServerKeyPair
	alice      matrix.Account
	sender     matrix.UserID
	visitor    matrix.UserID
	carol      matrix.Account
	// hereAccepted and awayAccepted are the participations of the two servers.
	hereAccepted, awayAccepted *matrix.Event
	file                       *vectors.File
	err                        error
}

func participation() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "participation",
		Title: "Signatures and co-signatures in rooms with participation",
		About: "Is the event signed by all who must sign it, so that a server does not drop it? In rooms of MSC4345 that is the server whose key the " +
			"sender's user ID names; in rooms of MSC4348 the sender's account key and the co-signing server. MSC4348 does not say which server that is: " +
			"the suite takes the one whose participation is among the auth_events, exactly one, so that it cannot be swapped afterwards; a request, and a participation " +
			"event that cites nobody else's participation, is co-signed by the server that it is about. Whether the events are allowed is not asked.",
		Fields: map[string]string{
			"room_version": "the room version; a placeholder, because the proposals assign none",
			"event":        "the complete event, in canonical JSON",
			"auth_events":  "the events that it cites in auth_events, as a JSON array",
			"cosigner":     "the key of the server that must co-sign, where MSC4348 asks for one",
		},
	}
	for _, v := range matrix.ParticipationRoomVersions() {
		h := newHouse(v, f)
		if h.err == nil && v.HasPortableAccounts() {
			h.portable()
		} else if h.err == nil {
			h.serverKeys()
		}
		if h.err != nil {
			return nil, fmt.Errorf("participation.json: %s: %w", v.ID, h.err)
		}
	}
	return f, nil
}

func newHouse(v matrix.RoomVersion, f *vectors.File) *house {
	h := &house{
		version: v, here: matrix.ServerKeyPairFromSeed(seed("here")), away: matrix.ServerKeyPairFromSeed(seed("away")),
		alice: account("alice"), carol: account("carol"), file: f,
	}
	h.sender, h.visitor = h.here.Key().UserID("alice"), h.away.Key().UserID("carol")
	if v.HasPortableAccounts() {
		h.sender, h.visitor = h.alice.Key().PortableUserID(), h.carol.Key().PortableUserID()
	}
	h.hereAccepted = h.accepted(h.here)
	h.awayAccepted = h.accepted(h.away, h.hereAccepted)
	return h
}

func (h *house) build(eventType string, stateKey *string, sender matrix.UserID, content string, auth []*matrix.Event, signers ...matrix.Signer) *matrix.Event {
	p := matrix.ProtoEvent{
		Type: eventType, StateKey: stateKey, Sender: sender, RoomID: id("!", "room"), Content: []byte(content), Depth: 5,
		OriginServerTS: firstTimestamp, PrevEvents: []string{id("$", "previous")},
	}
	for _, a := range auth {
		p.AuthEvents = append(p.AuthEvents, a.ID())
	}
	e, err := p.Build(h.version, signers...)
	if err != nil && h.err == nil {
		h.err = err
	}
	return e
}

// accepted is the participation of a server, accepted by alice.
func (h *house) accepted(server matrix.ServerKeyPair, auth ...*matrix.Event) *matrix.Event {
	signers := []matrix.Signer{h.here.Signer()}
	if h.version.HasPortableAccounts() {
		signers = append(signers, h.alice.Signer())
	}
	return h.build(matrix.ParticipationType, matrix.StateKey(server.Key().String()), h.sender,
		`{"participation":"accepted","unverified_domain":"`+domain+`"}`, auth, signers...)
}

func (h *house) add(name, title, note string, e *matrix.Event, auth ...*matrix.Event) {
	if h.err != nil {
		return
	}
	find := func(id string) *matrix.Event {
		if i := slices.IndexFunc(auth, func(a *matrix.Event) bool { return a.ID() == id }); i >= 0 {
			return auth[i]
		}
		return nil
	}
	var cited []string
	for _, a := range auth {
		cited = append(cited, string(a.JSON()))
	}
	v := vectors.Vector{
		ID: h.version.ID + "/" + name, Title: title, Note: note, Flags: []string{h.version.ID}, Expect: verdict(e.VerifySender(find) == nil),
		Input: map[string]string{"room_version": h.version.ID, "event": string(e.JSON()), "auth_events": "[" + strings.Join(cited, ",") + "]"},
	}
	if h.version.HasPortableAccounts() {
		if server, err := e.Cosigner(find); err == nil {
			v.Output = map[string]string{"cosigner": string(server)}
		}
	}
	h.file.Vectors = append(h.file.Vectors, v)
}

const text = `{"msgtype":"m.text","body":"hello"}`

// serverKeys are the vectors of MSC4345.
func (h *house) serverKeys() {
	message := func(signers ...matrix.Signer) *matrix.Event {
		return h.build("m.room.message", nil, h.sender, text, []*matrix.Event{h.hereAccepted}, signers...)
	}
	rename := func(s matrix.Signer, entity string, id matrix.KeyID) matrix.Signer {
		s.Entity, s.KeyID = entity, id
		return s
	}
	here := h.here.Signer()
	h.add("message", "signed by the sender's server key", "", message(here), h.hereAccepted)
	h.add("message-unsigned", "not signed", "", message(), h.hereAccepted)
	h.add("message-signed-elsewhere", "signed by another server that participates", "", message(h.away.Signer()), h.hereAccepted)
	h.add("message-signed-elsewhere-in-its-name", "signed by another server in the name of the sender's", "",
		message(rename(h.away.Signer(), here.Entity, here.KeyID)), h.hereAccepted)
	h.add("message-signed-by-both", "signed by the sender's server and another", "Other signatures do not matter.", message(here, h.away.Signer()), h.hereAccepted)
	h.add("message-entity-domain", "filed under the domain", "", message(rename(here, domain, here.KeyID)), h.hereAccepted)
	h.add("message-key-id", "filed under another key ID", "", message(rename(here, here.Entity, "ed25519:2")), h.hereAccepted)
	h.add("participation", "a first participation, signed by its own server", "", h.hereAccepted)
	request := h.build(matrix.ParticipationType, matrix.StateKey(h.away.Key().String()), h.visitor,
		`{"participation":"requested","request_authorised_via_server":"`+h.here.Key().String()+`"}`, []*matrix.Event{h.hereAccepted}, h.away.Signer(), here)
	h.add("request", "a request, signed by the server that asks and the one that authorises it", "The second signature is a matter of authorization.", request, h.hereAccepted)
	unauthorised := h.build(matrix.ParticipationType, matrix.StateKey(h.away.Key().String()), h.visitor,
		`{"participation":"requested","request_authorised_via_server":"`+h.here.Key().String()+`"}`, []*matrix.Event{h.hereAccepted}, here)
	h.add("request-signed-by-the-other", "a request, signed only by the server that authorises it", "", unauthorised, h.hereAccepted)
}

// portable are the vectors of MSC4348.
func (h *house) portable() {
	alice, here, away := h.alice.Signer(), h.here.Signer(), h.away.Signer()
	message := func(auth []*matrix.Event, signers ...matrix.Signer) *matrix.Event {
		return h.build("m.room.message", nil, h.sender, text, auth, signers...)
	}
	one, both := []*matrix.Event{h.hereAccepted}, []*matrix.Event{h.hereAccepted, h.awayAccepted}
	h.add("message", "signed by the account key and by the server whose participation is cited", "", message(one, alice, here), one...)
	h.add("message-not-cosigned", "signed by the account key only", "A server that was revoked, or none, could have sent it.", message(one, alice), one...)
	h.add("message-cosigned-elsewhere", "co-signed by another server than the one that is cited",
		"Both servers participate. Were any of them good, a server that is about to be revoked could not be told from the others.", message(one, alice, away), one...)
	h.add("message-by-the-server-alone", "signed by the server only", "", message(one, here), one...)
	h.add("message-cites-none", "cites no participation", "", message(nil, alice, here))
	h.add("message-cites-two", "cites the participations of two servers, who have both signed", "", message(both, alice, here, away), both...)
	h.add("message-signed-by-all", "signed by two servers, one of which is cited", "Other signatures do not matter.", message(one, alice, here, away), one...)
	h.add("participation-first", "the participation of the creator's server, co-signed by itself", "", h.hereAccepted)
	h.add("participation-of-another", "the participation of another server, co-signed by the one that is cited", "", h.awayAccepted, h.hereAccepted)
	requested := `{"participation":"requested","request_authorised_via_server":"` + h.here.Key().String() + `"}`
	ask := func(signers ...matrix.Signer) *matrix.Event {
		return h.build(matrix.ParticipationType, matrix.StateKey(h.away.Key().String()), h.visitor, requested, one, signers...)
	}
	h.add("request", "a request, signed by its account, by the server that asks and by the one that authorises it", "", ask(h.carol.Signer(), away, here), one...)
	h.add("request-not-signed-by-the-server", "a request that the server which asks has not signed", "", ask(h.carol.Signer(), here), one...)
	h.add("request-not-signed-by-the-account", "a request that the account which asks has not signed", "", ask(away, here), one...)
}
