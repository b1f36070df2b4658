package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/matrix/edge"
	"countersign/vectors"
)

// joinEvent is the join of a user of MSC4243 as its author writes it, before it is hashed and signed.
func joinEvent(sender matrix.UserID, timestamp int64) ([]byte, error) {
	return json.Marshal(map[string]any{
		"type": "m.room.member", "state_key": sender, "sender": sender, "room_id": id("!", "room"),
		"content": map[string]any{"membership": "join"}, "depth": 12, "origin_server_ts": timestamp,
		"auth_events": []string{id("$", "power levels"), id("$", "join rules")}, "prev_events": []string{id("$", "previous")},
	})
}

// firstTimestamp is when the events of the vectors were made, or a few milliseconds later.
const firstTimestamp = 1700000000000

// signedEvent hashes an event and signs it as sign does, filed under an entity.
func signedEvent(event []byte, entity string, sign func(message []byte) ([]byte, error)) (signed, message, signature []byte, err error) {
	if event, err = matrix.PutContentHash(event); err != nil {
		return
	}
	if message, err = matrix.EventSigningBytes(event); err != nil {
		return
	}
	if signature, err = sign(message); err != nil {
		return
	}
	signed, err = matrix.PutSignature(event, entity, matrix.AccountKeyID, matrix.EncodeBase64(signature))
	return
}

func ed25519Vectors() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "ed25519",
		Title: "Ed25519 signatures on which verifiers disagree",
		About: "Is the signature of an event valid? Every vector is a complete event of room version org.matrix.12.4243 with a " +
			"correct content hash, whose sender is the public key; the message is what its signature covers. The expected verdict is " +
			"that of the strict rule (rules.json). MSC4243 says that all servers must agree on which events have valid signatures, and " +
			"names no rule.",
		Fields: map[string]string{
			"public_key": "the sender's account key, 32 bytes in hexadecimal",
			"message":    "what the signature covers: canonical JSON, in ASCII",
			"signature":  "64 bytes in hexadecimal: R, then S",
			"event":      "the complete event, in canonical JSON",
		},
	}
	add := func(name, title, probe, note string, c edge.Case, flip bool) error {
		v, err := edgeVector(c, flip)
		if err != nil {
			return fmt.Errorf("ed25519.json: %s: %w", name, err)
		}
		v.ID, v.Title, v.Probe, v.Note, v.Flags = name, title, probe, note, c.Flags()
		f.Vectors = append(f.Vectors, v)
		return nil
	}
	if err := add("control-honest", "an ordinary key and an honest signature", "CTL-ACCEPT", "", edge.Case{}, false); err != nil {
		return nil, err
	}
	if err := add("control-bad", "an ordinary key; one bit of S is flipped", "CTL-REJECT", "", edge.Case{}, true); err != nil {
		return nil, err
	}
	probed := map[edge.Case]bool{}
	for _, p := range edge.Probes() {
		probed[p.Case] = true
		if err := add(p.ID, p.Title, p.ID, note(p.Case), p.Case, false); err != nil {
			return nil, err
		}
	}
	for _, list := range [][]edge.Named{edge.SmallOrderKeys(), edge.NonCanonicalKeys(), edge.Cases()} {
		for _, named := range list {
			if probed[named.Edge] {
				continue
			}
			if err := add(named.Name, "edge case "+named.Name, "", note(named.Edge), named.Edge, false); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// edgeVector is the vector of an edge case. An event that does not allow the case is made a millisecond
// later.
func edgeVector(c edge.Case, flip bool) (vectors.Vector, error) {
	ordinary := privateKey("an ordinary account")
	public, err := c.Key(ordinary)
	if err != nil {
		return vectors.Vector{}, err
	}
	key := matrix.AccountKey(public)
	for timestamp := int64(firstTimestamp); timestamp < firstTimestamp+2000; timestamp++ {
		event, err := joinEvent(key.UserID(domain), timestamp)
		if err != nil {
			return vectors.Vector{}, err
		}
		signed, message, signature, err := signedEvent(event, key.String(), func(message []byte) ([]byte, error) {
			signature, err := c.Sign(ordinary, message)
			if flip && err == nil {
				signature[40] ^= 1
			}
			return signature, err
		})
		if errors.Is(err, edge.ErrUnfit) {
			continue
		}
		if err != nil {
			return vectors.Vector{}, err
		}
		v := vectors.Vector{
			Input: map[string]string{
				"public_key": hex.EncodeToString(public[:]), "message": string(message),
				"signature": hex.EncodeToString(signature), "event": string(signed),
			},
			Expect: verdict(matrix.VerifyStrict(public[:], message, signature) == nil),
			Rules:  map[string]vectors.Verdict{},
		}
		for _, r := range edge.Rules() {
			v.Rules[r.ID] = verdict(r.Verify(public[:], message, signature))
		}
		return v, nil
	}
	return vectors.Vector{}, edge.ErrUnfit
}

// note says what an attacker gains by a case.
func note(c edge.Case) string {
	has := map[string]bool{}
	for _, flag := range c.Flags() {
		has[flag] = true
	}
	switch {
	case has["s-not-reduced"]:
		return "Anybody who sees an honest signature can make this one of it: where S is not bounded, an event has several valid signatures."
	case has["key-off-curve"], has["r-off-curve"]:
		return "No verifier accepts it. One that does not check for errors may crash."
	case has["key-not-canonical"] && !has["key-small-order"]:
		return "A point in a second encoding. Nobody knows its private key, so that only the reading of keys can differ: as the target " +
			"of an invitation or in the power levels."
	case has["key-small-order"]:
		return "There is no private key: anybody can sign any event for this user, in one attempt or a few. Servers that accept it and servers " +
			"that do not have different rooms from the first such event on."
	case has["only-with-cofactor"] && has["key-mixed-order"]:
		return "The owner of such a key chooses, event by event, which servers accept: those that multiply by the cofactor, or all."
	case has["only-with-cofactor"] && has["r-not-canonical"]:
		return "Only verifiers that accept other encodings of R than the canonical one (ZIP 215) accept it."
	case has["only-with-cofactor"]:
		return "Made with an ordinary private key: checking keys when they join does not help. Verifiers that multiply by the cofactor " +
			"accept it, others do not."
	case has["r-not-canonical"]:
		return "Made with an ordinary private key, as the nonce 0 in a second encoding: accepted by verifiers that decode R and do not insist on " +
			"its encoding (ZIP 215)."
	case has["r-small-order"]:
		return "Made with an ordinary private key and the nonce 0, so that checking keys when they join does not help. It gives the private " +
			"key away."
	case has["key-mixed-order"]:
		return "Accepted by all rules, so that the strict rule accepts it as well; a rule that asks for keys of prime order would not."
	}
	return ""
}
