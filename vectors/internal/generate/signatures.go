package main

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/vectors"
)

// spelt is an honest event of room version org.matrix.12.4243 in parts: everything but its signatures, and
// the value of its author's signature, which has characters in which the alphabets of base64 differ.
type spelt struct {
	author          matrix.Account
	event           []byte
	value           string
	sender, message string
}

func newSpelt() (spelt, error) {
	s := spelt{author: bothAlphabets()}
	key := s.author.Key()
	s.sender = string(key.UserID(domain))
	for timestamp := int64(firstTimestamp); ; timestamp++ {
		event, err := joinEvent(matrix.UserID(s.sender), timestamp)
		if err != nil {
			return s, err
		}
		_, message, signature, err := signedEvent(event, key.String(), func(message []byte) ([]byte, error) {
			return ed25519.Sign(s.author.Signer().Key, message), nil
		})
		if err != nil {
			return s, err
		}
		s.value = matrix.EncodeBase64(signature)
		if strings.Contains(s.value, "+") && strings.Contains(s.value, "/") {
			s.message = string(message)
			s.event, err = matrix.PutContentHash(event)
			return s, err
		}
	}
}

// with is the event with a signatures object, put in as it is written.
func (s spelt) with(signatures string) (string, error) {
	event, err := matrix.PutSignature(s.event, "{", "{", "{")
	if err != nil {
		return "", err
	}
	placeholder := gjson.GetBytes(event, "signatures").Raw
	return strings.Replace(string(event), placeholder, signatures, 1), nil
}

func quote(text string) string {
	b, _ := json.Marshal(text) // strings always marshal
	return string(b)
}

func signatures() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "signatures",
		Title: "Spellings of signatures, and the maps that they are filed in",
		About: "Is the event validly signed by its sender's account key? All vectors are one event of room version org.matrix.12.4243, with one " +
			"signature: only its spelling, where it is filed and what is filed beside it differ. The event ID does not cover signatures, so that " +
			"any server on the way can change them. Expected is what the recommended rule says: a signature is unpadded canonical base64 in the standard " +
			"alphabet, filed under the key's text and ed25519:1, and what others have filed does not matter. The specification asks readers to accept " +
			"padding wherever possible (appendices, \"Unpadded Base64\"), and so the padded one is accepted.",
		Fields: map[string]string{
			"event":   "the complete event, in canonical JSON",
			"message": "what the signature covers",
			"value":   "the value of the sender's signature as it is spelt in the event, where it is a string",
		},
	}
	s, err := newSpelt()
	if err != nil {
		return nil, err
	}
	entity := s.author.Key().String()
	const relay = "Any server on the way can spell the signature like this, and so choose who accepts the event."
	add := func(name, title, probe, note, signatures, value string) {
		event, putErr := s.with(signatures)
		if putErr != nil {
			err = fmt.Errorf("signatures.json: %s: %w", name, putErr)
			return
		}
		v := vectors.Vector{
			ID: name, Title: title, Probe: probe, Note: note, Expect: vectors.Reject,
			Input: map[string]string{"event": event, "message": s.message},
		}
		if value != "" {
			v.Input["value"] = value
		}
		if e, parseErr := matrix.ParseEvent(matrix.RoomVersionMSC4243(), []byte(event)); parseErr == nil && e.VerifyAccountKey(e.Sender()) == nil {
			v.Expect = vectors.Accept
		}
		f.Vectors = append(f.Vectors, v)
	}
	filed := func(entity, keyID, value string) string {
		return fmt.Sprintf(`{%s:{%s:%s}}`, quote(entity), quote(keyID), value)
	}
	spelling := func(name, title, probe, value string) {
		add(name, title, probe, relay, filed(entity, "ed25519:1", quote(value)), value)
	}
	spelling("honest", "as the specification has it", "", s.value)
	spelling("url-safe", "in the URL-safe alphabet", "SG01", toURLSafe.Replace(s.value))
	spelling("padded", "padded to 88 characters", "SG02", s.value+"==")
	spelling("padded-once", "with one of two padding characters", "", s.value+"=")
	spelling("trailing-bits", "an unused bit of the last character is set", "SG03", toStandard.Replace(withTrailingBits(toURLSafe.Replace(s.value), 1)))
	spelling("dots", "with four dots in the middle", "SG04", s.value[:43]+"...."+s.value[43:])
	spelling("newline", "with a line feed in the middle", "SG05", s.value[:43]+"\n"+s.value[43:])
	raw, err := matrix.DecodeBase64(s.value)
	if err != nil {
		return nil, err
	}
	spelling("63-bytes", "the last byte is missing", "SG06a", matrix.EncodeBase64(raw[:63]))
	spelling("65-bytes", "with a byte too many", "SG06b", matrix.EncodeBase64(append(raw[:64:64], 0)))
	spelling("hexadecimal", "in hexadecimal", "", fmt.Sprintf("%x", raw))
	filing := func(name, title, probe, entity, keyID string) {
		add(name, title, probe, "A server that looks the signature up in another way accepts what others do not.", filed(entity, keyID, quote(s.value)), "")
	}
	filing("entity-user-id", "filed under the user ID", "SE01", s.sender, "ed25519:1")
	filing("entity-standard-alphabet", "filed under the key in the standard alphabet", "SE02", toStandard.Replace(entity), "ed25519:1")
	filing("entity-domain", "filed under the domain", "SE03", domain, "ed25519:1")
	filing("key-id-2", "filed under the key ID ed25519:2", "SE04", entity, "ed25519:2")
	filing("key-id-upper-case", "filed under the key ID Ed25519:1", "", entity, "Ed25519:1")
	const beside = "Any server on the way can add it. Servers that refuse the event for it lose what others keep."
	both := func(name, title, probe, extra string) {
		members := []string{quote(entity) + `:{"ed25519:1":` + quote(s.value) + `}`, quote("x.example") + ":" + extra}
		add(name, title, probe, beside, "{"+strings.Join(members, ",")+"}", "")
	}
	both("beside-bad-value", "beside a value of another entity that is not base64", "SE05", `{"ed25519:1":"!"}`)
	both("beside-number-value", "beside a number as the value of another entity", "SE06", `{"ed25519:1":5}`)
	both("beside-number", "beside a number in place of another entity's signatures", "", `5`)
	both("beside-array", "beside an array in place of another entity's signatures", "SE07", `[]`)
	add("no-signatures", "without signatures", "", "", `{}`, "")
	add("value-number", "a number in place of the value", "", relay, filed(entity, "ed25519:1", "5"), "")
	add("value-array", "the value within an array", "", relay, filed(entity, "ed25519:1", "["+quote(s.value)+"]"), "")
	return f, err
}
