package main

import (
	"encoding/hex"
	"fmt"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/vectors"
)

// cast is who acts in a room of some version: a creator, and the keys that sign for them.
type cast struct {
	version matrix.RoomVersion
	// alice made the room, and bob is in it.
	alice, bob matrix.UserID
	// server is the server key of the room versions with participation.
	server  matrix.ServerKeyPair
	signers []signer
}

// signer is a signing key with the name of its seed.
type signer struct {
	matrix.Signer
	seed string
}

func newCast(v matrix.RoomVersion) cast {
	c := cast{version: v, server: matrix.ServerKeyPairFromSeed(seed("the server's key for the room"))}
	alice, bob := account("alice"), account("bob")
	byAlice := signer{alice.Signer(), "alice"}
	byServer := signer{c.server.Signer(), "the server's key for the room"}
	switch v.Identity {
	case matrix.ServerIdentity:
		c.alice, c.bob = "@alice:"+domain, "@bob:"+domain
		c.signers = []signer{{matrix.Signer{Entity: domain, KeyID: "ed25519:a_1", Key: privateKey("a server")}, "a server"}}
	case matrix.AccountKeyIdentity:
		c.alice, c.bob = alice.Key().UserID(domain), bob.Key().UserID(domain)
		c.signers = []signer{byAlice}
	case matrix.ServerKeyIdentity:
		c.alice, c.bob = c.server.Key().UserID("alice"), c.server.Key().UserID("bob")
		c.signers = []signer{byServer}
	default:
		c.alice, c.bob = alice.Key().PortableUserID(), bob.Key().PortableUserID()
		c.signers = []signer{byAlice, byServer}
	}
	return c
}

// versions are the room versions of the vectors.
func versions() []matrix.RoomVersion {
	return append([]matrix.RoomVersion{matrix.RoomVersion12(), matrix.RoomVersionMSC4243()}, matrix.ParticipationRoomVersions()...)
}

func events() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "events",
		Title: "Hashes, redactions, IDs and signatures of events",
		About: "What are the content hash, the redacted form, the event ID, the room ID and the signatures of the event in its room version? " +
			"The input is the event before it is hashed and signed. Rooms of org.matrix.msc4345.12 and org.matrix.msc4348.12 (placeholders: MSC4345 and MSC4348 " +
			"assign no identifiers) redact as version 12 does, and keep of participation events what the authorization rules read; their servers sign as " +
			"MSC4243's accounts do, under the key's text and ed25519:1.",
		Fields: map[string]string{
			"room_version": "the room version",
			"event":        "the event without hashes and signatures",
			"entity":       "who signs: the name that the signature is filed under",
			"key_id":       "the key ID that it is filed under",
			"seed":         "the private key: the seed of 32 bytes in hexadecimal",
			"cosigner":     "who signs as well, with cosigner_seed and the same key ID",
			"content_hash": "hashes.sha256",
			"redacted":     "the redacted event with its hashes and without signatures, which signatures cover, and whose hash is the event ID",
			"event_id":     "the event ID",
			"room_id":      "the room ID that a create event makes",
			"signed":       "the complete event in canonical JSON",
		},
	}
	for _, v := range versions() {
		c := newCast(v)
		for _, p := range c.protos() {
			vector, err := c.eventVector(p.name, p.ProtoEvent)
			if err != nil {
				return nil, fmt.Errorf("events.json: %s in %s: %w", p.name, v.ID, err)
			}
			vector.Note = p.note
			f.Vectors = append(f.Vectors, vector)
		}
	}
	return f, nil
}

// proto is an event to be made a vector of.
type proto struct {
	name, note string
	matrix.ProtoEvent
}

// protos are the events of a room.
func (c cast) protos() []proto {
	create := matrix.ProtoEvent{
		Type: "m.room.create", StateKey: matrix.StateKey(""), Sender: c.alice, OriginServerTS: firstTimestamp,
		Content: fmt.Appendf(nil, `{"room_version":%s,"additional_creators":[%s],"unknown":{"kept":true}}`, quote(c.version.ID), quote(string(c.bob))),
	}
	list := []proto{{"create", "Nothing of its content is redacted. It has no room ID; its hash is the room's.", create}}
	add := func(name, note, eventType string, stateKey *string, content string) {
		list = append(list, proto{name, note, matrix.ProtoEvent{
			Type: eventType, StateKey: stateKey, Sender: c.alice, RoomID: id("!", "room"), Content: []byte(content), Depth: int64(len(list)),
			OriginServerTS: firstTimestamp + int64(len(list)), PrevEvents: []string{id("$", "previous")}, AuthEvents: []string{id("$", "power levels"), id("$", "membership")},
		}})
	}
	key := func(text string) *string { return matrix.StateKey(text) }
	alice, bob := string(c.alice), string(c.bob)
	add("join", "", "m.room.member", key(alice), `{"membership":"join","displayname":"Alice","avatar_url":"mxc://evil.example/a"}`)
	add("restricted-join", "", "m.room.member", key(alice), `{"membership":"join","join_authorised_via_users_server":`+quote(bob)+`}`)
	add("third-party-invite", "Of third_party_invite, signed is kept.", "m.room.member", key(bob),
		`{"membership":"invite","third_party_invite":{"display_name":"B","signed":{"mxid":`+quote(bob)+`,"token":"t","signatures":{}}}}`)
	add("power-levels", "", "m.room.power_levels", key(""),
		`{"ban":50,"events":{"m.room.name":50,"a\"b":1},"events_default":0,"invite":0,"kick":50,"redact":50,"state_default":50,"users":{`+quote(bob)+`:50},"users_default":0,"notifications":{"room":50},"accept":60}`)
	add("join-rules", "", "m.room.join_rules", key(""), `{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"!x:evil.example"}],"unknown":1}`)
	add("history-visibility", "", "m.room.history_visibility", key(""), `{"history_visibility":"shared","unknown":1}`)
	add("redaction", "", "m.room.redaction", nil, `{"redacts":"`+id("$", "redacted")+`","reason":"gone"}`)
	add("message", "Nothing of the content of an unknown type is kept.", "m.room.message", nil, `{"msgtype":"m.text","body":"日本語 \"quoted\" \u0007"}`)
	add("topic", "", "m.room.topic", key(""), `{"topic":"x"}`)
	add("participation", "Kept where the room version knows participation.", matrix.ParticipationType, key(c.server.Key().String()),
		`{"participation":"requested","unverified_domain":"evil.example","request_authorised_via_server":`+quote(c.server.Key().String())+`,"reason":"please"}`)
	return list
}

// eventVector hashes and signs an event.
func (c cast) eventVector(name string, p matrix.ProtoEvent) (vectors.Vector, error) {
	var signers []matrix.Signer
	for _, s := range c.signers {
		signers = append(signers, s.Signer)
	}
	e, err := p.Build(c.version, signers...)
	if err != nil {
		return vectors.Vector{}, err
	}
	bare, err := p.Build(c.version)
	if err != nil {
		return vectors.Vector{}, err
	}
	before, err := withoutHashes(bare.JSON())
	if err != nil {
		return vectors.Vector{}, err
	}
	hash, err := matrix.ContentHash(e.JSON())
	if err != nil {
		return vectors.Vector{}, err
	}
	v := vectors.Vector{
		ID: c.version.ID + "/" + name, Title: name + " in room version " + c.version.ID, Flags: []string{c.version.ID}, Expect: vectors.Accept,
		Input: map[string]string{
			"room_version": c.version.ID, "event": string(before), "entity": c.signers[0].Entity, "key_id": string(c.signers[0].KeyID),
			"seed": hex.EncodeToString(seed(c.signers[0].seed)),
		},
		Output: map[string]string{
			"content_hash": matrix.EncodeBase64(hash[:]), "redacted": string(e.SigningBytes()), "event_id": e.ID(), "signed": string(e.JSON()),
		},
	}
	if len(c.signers) > 1 {
		v.Input["cosigner"], v.Input["cosigner_seed"] = c.signers[1].Entity, hex.EncodeToString(seed(c.signers[1].seed))
	}
	if e.IsCreate() {
		v.Output["room_id"] = e.RoomID()
	}
	return v, nil
}

// withoutHashes is a canonical event before it was hashed and signed.
func withoutHashes(event []byte) ([]byte, error) {
	kept := "{"
	gjson.ParseBytes(event).ForEach(func(key, value gjson.Result) bool {
		if key.Str != "hashes" && key.Str != "signatures" {
			if kept != "{" {
				kept += ","
			}
			kept += key.Raw + ":" + value.Raw
		}
		return true
	})
	return matrix.CanonicalJSON([]byte(kept + "}"))
}
