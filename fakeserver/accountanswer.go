package fakeserver

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tidwall/sjson"

	"countersign/matrix"
)

// AccountAnswer is how /query/accounts (MSC4243) is answered for an account key. The zero value is
// honest: the account name and the domain, signed by the account key; M_ERASED, signed, for an erased
// user. String fields may hold the templates of [Forgery] that name the account itself, {stranger} and
// {elsewhere}.
//
// What happens below HTTP is not an answer: [Server.Close] makes a server refuse connections,
// [Server.UseCertificate] makes its name doubtful.
type AccountAnswer struct {
	// Omit leaves the key out of the answer.
	Omit bool
	// Entry answers JSON text for the key: another error code than an object would have, or no object
	// at all.
	Entry string
	// Erased answers as if the user had been erased.
	Erased bool
	// Edits change the key's object before the account key signs it.
	Edits []Edit
	// LateEdits change the key's object after it was signed.
	LateEdits []Edit
	// MapKey files the object under another text than the one that was asked for.
	MapKey string

	// OmitSignatures leaves the object's signatures out.
	OmitSignatures bool
	// EmptySignatures answers an empty object of signatures.
	EmptySignatures bool
	// SignWith signs the object with another key, filed as if it were the account key.
	SignWith Key
	// SignWithServerKeyOnly signs the object with the server's key under the server's name.
	SignWithServerKeyOnly bool
	// SignatureEntity replaces the name that the signature is filed under.
	SignatureEntity string
	// SignatureKeyID replaces the key ID that the signature is filed under.
	SignatureKeyID string
	// SignatureJSON replaces the value of the signature by JSON text.
	SignatureJSON string
	// FlipSignatureBits inverts bits of the signature.
	FlipSignatureBits []int

	// Unsolicited adds objects of keys that nobody asked for.
	Unsolicited []Unsolicited
	// IgnoreErasureLimit lists every erased key, whatever limit the request has.
	IgnoreErasureLimit bool
	// AnswerEdits change the whole answer, erasure section and all. {asked-id} is the erasure ID of
	// the request.
	AnswerEdits []Edit
	// Body replaces the whole answer.
	Body string
	// Status is the status of the answer; 0 means 200.
	Status int
	// Header is added to the answer.
	Header http.Header
	// Manner is how the answer is sent.
	Manner Manner
}

// Unsolicited is an object of an account of this server that nobody asked for.
type Unsolicited struct {
	// Name is the account's name. An account that does not exist yet is made.
	Name string
	// Answer is what is said about it.
	Answer AccountAnswer
}

// NamedAnswer is a row of the table of answers.
type NamedAnswer struct {
	// Name is unique, and fit for a test name.
	Name string
	// Case is the row of the catalogue's matrix M2, "S1" to "S25"; "S26" is what a signature does not cover.
	Case string
	// Answer is the answer.
	Answer AccountAnswer
}

// AccountAnswers is the table of answers to /query/accounts, with every case of the catalogue's matrix
// of response forms.
func AccountAnswers() []NamedAnswer {
	edits := func(path, json string) []Edit { return []Edit{{path, json}} }
	rows := []NamedAnswer{
		{"honest", "S1", AccountAnswer{}},
		{"renamed-account", "S2", AccountAnswer{Edits: edits("account_name", `"alice"`)}},
		{"no-signatures", "S3", AccountAnswer{OmitSignatures: true}},
		{"empty-signatures", "S3", AccountAnswer{EmptySignatures: true}},
		{"signed-by-server-key", "S4", AccountAnswer{SignWithServerKeyOnly: true}},
		{"signed-by-server-key-as-account-key", "S4", AccountAnswer{SignWith: ServerKey}},
		{"signed-by-another-account", "S4", AccountAnswer{SignWith: StrangerKey}},
		{"signed-under-another-account", "S4", AccountAnswer{SignWith: StrangerKey, SignatureEntity: "{stranger-key}"}},
		{"signed-under-the-user-id", "S4", AccountAnswer{SignatureEntity: "@{key}:{domain}"}},
		{"signed-under-another-key-id", "S4", AccountAnswer{SignatureKeyID: "ed25519:2"}},
		{"bad-signature", "S4", AccountAnswer{FlipSignatureBits: []int{300}}},
		{"signature-is-a-number", "S4", AccountAnswer{SignatureJSON: "5"}},
		{"name-edited", "S5", AccountAnswer{LateEdits: edits("account_name", `"alice"`)}},
		{"domain-edited", "S5", AccountAnswer{LateEdits: edits("domain", `"{elsewhere}"`)}},
		{"other-domain", "S6", AccountAnswer{Edits: edits("domain", `"{elsewhere}"`)}},
		{"no-domain", "S6", AccountAnswer{Edits: edits("domain", "")}},
		{"extra-property", "S8", AccountAnswer{Edits: edits("displayname", `"Bob"`)}},
		{"extra-property-not-signed", "S9", AccountAnswer{LateEdits: edits("displayname", `"Bob"`)}},
		{"unknown", "S10", AccountAnswer{Entry: `{"errcode":"M_UNKNOWN"}`}},
		{"error-and-name", "S12", AccountAnswer{Edits: edits("errcode", `"M_UNKNOWN"`)}},
		{"erased", "S13", AccountAnswer{Erased: true}},
		{"erased-unsigned", "S14", AccountAnswer{Erased: true, OmitSignatures: true}},
		{"erased-bad-signature", "S14", AccountAnswer{Erased: true, FlipSignatureBits: []int{300}}},
		{"erased-signed-by-server-key", "S14", AccountAnswer{Erased: true, SignWithServerKeyOnly: true}},
		{"erased-at-other-domain", "S15", AccountAnswer{Erased: true, Edits: edits("domain", `"{elsewhere}"`)}},
		{"erased-without-domain", "S15", AccountAnswer{Erased: true, Edits: edits("domain", "")}},
		{"erased-unsolicited", "S16", AccountAnswer{Unsolicited: []Unsolicited{{"countersign-stranger", AccountAnswer{Erased: true}}}}},
		{"erased-unsolicited-without-erasure", "S17", AccountAnswer{
			Unsolicited: []Unsolicited{{"countersign-stranger", AccountAnswer{Erased: true}}}, AnswerEdits: edits("erasure", "")}},
		{"unsolicited", "S18", AccountAnswer{Unsolicited: []Unsolicited{{Name: "countersign-stranger"}}}},
		{"unsolicited-for-other-domain", "S19", AccountAnswer{Unsolicited: []Unsolicited{
			{"countersign-stranger", AccountAnswer{Edits: edits("domain", `"{elsewhere}"`)}}}}},
		{"omit", "S20", AccountAnswer{Omit: true}},
		{"filed-in-the-standard-alphabet", "S21", AccountAnswer{MapKey: "{std-key}"}},
		{"filed-padded", "S21", AccountAnswer{MapKey: "{key}="}},
		{"unsupported", "S22", AccountAnswer{Status: http.StatusNotFound, Body: `{"errcode":"M_UNRECOGNIZED","error":"what is that?"}`}},
		{"rate-limited", "S22", AccountAnswer{Status: http.StatusTooManyRequests, Body: `{"errcode":"M_LIMIT_EXCEEDED","error":"later","retry_after_ms":1000}`}},
		{"html-error", "S22", AccountAnswer{Status: http.StatusBadGateway, Body: "<html>bad gateway</html>", Header: http.Header{"Content-Type": {"text/html"}}}},
		{"garbage", "S23", AccountAnswer{Body: "certainly not JSON"}},
		{"blank-body", "S23", AccountAnswer{Body: " "}},
		{"truncated", "S23", AccountAnswer{Manner: Truncate}},
		{"gzip-bomb", "S23", AccountAnswer{Manner: GzipBomb}},
		{"endless", "S23", AccountAnswer{Manner: Endless}},
		{"trickle", "S23", AccountAnswer{Manner: Trickle}},
		{"reset", "S24", AccountAnswer{Manner: Reset}},
		{"hang", "S24", AccountAnswer{Manner: Hang}},
		{"redirect", "S24", AccountAnswer{Status: http.StatusTemporaryRedirect, Body: "{}", Header: http.Header{
			"Location": {"https://elsewhere.invalid/_matrix/federation/v1/query/accounts"}}}},
		{"unsigned-beside", "S26", AccountAnswer{LateEdits: edits("unsigned", `{"age":1}`)}},
		{"signed-by-others-too", "S26", AccountAnswer{LateEdits: edits("signatures.{elsewhere}", `{"ed25519:auto":"AAAA"}`)}},
		{"erasure-missing", "S25", AccountAnswer{AnswerEdits: edits("erasure", "")}},
		{"erasure-id-regresses", "S25", AccountAnswer{AnswerEdits: edits("erasure.id", "-1")}},
		{"erasure-without-progress", "S25", AccountAnswer{AnswerEdits: []Edit{{"erasure.id", "{asked-id}"}, {"erasure.has_more", "true"}}}},
		{"erasure-beyond-the-limit", "S25", AccountAnswer{IgnoreErasureLimit: true}},
	}
	for _, name := range []struct{ name, json string }{
		{"empty", `""`}, {"colon", `"a:b"`}, {"nul", `"a\u0000b"`}, {"newline", `"a\nb"`}, {"user-id", `"@{name}:{domain}"`},
		{"long", quoted(longDomain(300))}, {"a-number", "5"}, {"an-object", "{}"}, {"right-to-left", `"a\u202eb"`},
	} {
		rows = append(rows, NamedAnswer{"name-" + name.name, "S7", AccountAnswer{Edits: edits("account_name", name.json)}})
	}
	for _, entry := range []struct{ name, json string }{
		{"null", "null"}, {"array", "[]"}, {"string", `"bob"`}, {"other-error", `{"errcode":"M_FORBIDDEN"}`},
		{"error-a-number", `{"errcode":5}`}, {"empty-object", "{}"},
	} {
		rows = append(rows, NamedAnswer{"entry-" + entry.name, "S11", AccountAnswer{Entry: entry.json}})
	}
	for _, status := range []int{400, 403, 404, 500, 503} {
		rows = append(rows, NamedAnswer{fmt.Sprintf("status-%d", status), "S22", AccountAnswer{Status: status, Body: "{}"}})
	}
	for _, body := range []struct{ name, json string }{
		{"array", "[]"}, {"null", "null"}, {"keys-an-array", `{"account_keys":[]}`}, {"keys-a-string", `{"account_keys":"x"}`}, {"no-keys", "{}"},
	} {
		rows = append(rows, NamedAnswer{"body-" + body.name, "S23", AccountAnswer{Body: body.json}})
	}
	return rows
}

// entry is what is said about an account, and the text that it is filed under.
func (a AccountAnswer) entry(u *User, asked string, cast Cast) (key string, object json.RawMessage, err error) {
	n := Proto{Author: u, Version: matrix.RoomVersionMSC4243(), Cast: cast}.templateNames()
	key = asked
	if a.MapKey != "" {
		if key, err = n.expand(a.MapKey); err != nil {
			return "", nil, err
		}
	}
	if a.Entry != "" {
		text, err := n.expand(a.Entry)
		return key, json.RawMessage(text), err
	}
	properties := map[string]string{"domain": string(u.server.name)}
	if u.isErased() || a.Erased {
		properties["errcode"] = "M_ERASED"
	} else {
		properties["account_name"] = u.name
	}
	if object, err = json.Marshal(properties); err != nil {
		return "", nil, err
	}
	if object, err = applyEdits(object, a.Edits, n); err != nil {
		return "", nil, err
	}
	if object, err = a.sign(u, object, cast, n); err != nil {
		return "", nil, err
	}
	object, err = applyEdits(object, a.LateEdits, n)
	return key, object, err
}

// sign signs an account's object, honestly or not.
func (a AccountAnswer) sign(u *User, object []byte, cast Cast, n names) ([]byte, error) {
	message, err := matrix.CanonicalJSON(object)
	if err != nil {
		return nil, err
	}
	signer := u.account.Signer()
	if a.SignWithServerKeyOnly {
		signer = u.server.signer
	}
	b := builder{Proto: Proto{Author: u, Cast: cast}}
	key, err := b.key(a.SignWith, signer.Key)
	if err != nil {
		return nil, err
	}
	f, err := spelling{entity: a.SignatureEntity, keyID: a.SignatureKeyID, json: a.SignatureJSON, flip: a.FlipSignatureBits}.
		file(n, signer.Entity, signer.KeyID, ed25519.Sign(key, message))
	if err != nil {
		return nil, err
	}
	switch {
	case a.OmitSignatures:
		return message, nil
	case a.EmptySignatures:
		return sjson.SetRawBytes(message, "signatures", []byte("{}"))
	}
	return sjson.SetRawBytes(message, "signatures", []byte(writeSignatures([]filed{f})))
}
