package fakeserver

import (
	"fmt"
	"strings"
)

// NamedForgery is a row of the table of forgeries.
type NamedForgery struct {
	// Name is unique, and fit for a test name.
	Name string
	// Requirement is the entry of the requirement catalogue whose case it is.
	Requirement string
	// On is the kind of event that the forgery is committed in.
	On Kind
	// Forgery is the deviation.
	Forgery Forgery
}

// Kind is a kind of event that a forgery is about.
type Kind int

// The kinds of events.
const (
	// AnyEvent is an event of any type; where the content matters, a message.
	AnyEvent Kind = iota
	// JoinEvent is the join of the sender.
	JoinEvent
	// RestrictedJoinEvent is a join that another user of the same server authorises and co-signs.
	RestrictedJoinEvent
	// InviteEvent is an invitation that its target co-signs.
	InviteEvent
	// PowerLevelsEvent sets the power levels.
	PowerLevelsEvent
	// JoinRulesEvent sets the join rules.
	JoinRulesEvent
	// CreateEvent makes a room.
	CreateEvent
	// StateEvent is any state event that is not a membership.
	StateEvent
	// LeaveEvent is the leave of a sender who is in the room.
	LeaveEvent
	// TemplateEvent is the answer to make_join, which another server completes.
	TemplateEvent
	// RequestEvent is the request of a server to participate; see [Room.Asks].
	RequestEvent
	// AcceptEvent is the acceptance of a server that has requested; see [Room.Accepts].
	AcceptEvent
	// RevokeEvent is the revocation of another accepted server; see [Room.Revokes].
	RevokeEvent
	// RequestTemplateEvent is the answer to make_participation, which another server completes.
	RequestTemplateEvent
)

// Forgeries is the table of forgeries of events: all that the catalogue lists for account keys, and
// what rooms of version 12 have in common with them. The control rows, whose events are good and must
// be accepted, have requirements that say so.
func Forgeries() []NamedForgery {
	var all []NamedForgery
	for _, group := range [][]NamedForgery{
		missingSignatures(), wrongSigners(), wrongEntities(), wrongKeyIDs(), badSignatures(), alteredEvents(),
		otherBytes(), otherIdentities(), badIdentities(), edgeForgeries(), coSignatures(), contents(), templates(),
	} {
		all = append(all, group...)
	}
	return all
}

func missingSignatures() []NamedForgery {
	const id = "MSC4243-FORGE-01"
	return []NamedForgery{
		{"no-signatures", id, AnyEvent, Forgery{OmitSignatures: true}},
		{"empty-signatures", id, AnyEvent, Forgery{EmptySignatures: true}},
		{"empty-entity", id, AnyEvent, Forgery{EmptyEntity: true}},
	}
}

func wrongSigners() []NamedForgery {
	return []NamedForgery{
		{"server-key-only", "MSC4243-FORGE-02", AnyEvent, Forgery{SignWithServerKeyOnly: true}},
		{"server-key-as-account-key", "MSC4243-FORGE-03", AnyEvent, Forgery{SignWith: ServerKey}},
		{"own-key-for-the-victim", "MSC4243-FORGE-04", AnyEvent, Forgery{Sender: "{victim}"}},
		{"signature-filed-under-another-user", "MSC4243-FORGE-05", AnyEvent, Forgery{SignatureEntity: "{other-key}"}},
		{"signed-by-another-user", "MSC4243-FORGE-05", AnyEvent, Forgery{SignWith: OtherKey, SignatureEntity: "{other-key}"}},
		{"another-users-key-as-own", "MSC4243-FORGE-05", AnyEvent, Forgery{SignWith: OtherKey}},
		{"unknown-key-as-own", "MSC4243-FORGE-05", AnyEvent, Forgery{SignWith: StrangerKey}},
		{"account-key-in-place-of-the-server-key", "RV12-REJECT-02", AnyEvent, Forgery{SignWith: AccountKey}},
	}
}

func wrongEntities() []NamedForgery {
	return []NamedForgery{
		{"entity-is-the-full-user-id", "MSC4243-FORGE-06", AnyEvent, Forgery{SignatureEntity: "@{key}:{domain}"}},
		{"entity-is-the-domain", "MSC4243-FORGE-07", AnyEvent, Forgery{SignatureEntity: "{domain}"}},
		{"entity-is-the-account-name", "MSC4243-FORGE-07", AnyEvent, Forgery{SignatureEntity: "{name}"}},
		{"entity-is-the-account-name-user-id", "MSC4243-FORGE-07", AnyEvent, Forgery{SignatureEntity: "@{name}:{domain}"}},
		{"entity-in-the-standard-alphabet", "MSC4243-FORGE-08", AnyEvent, Forgery{SignatureEntity: "{std-key}"}},
		{"entity-is-padded", "MSC4243-FORGE-09", AnyEvent, Forgery{SignatureEntity: "{key}="}},
		{"entity-has-trailing-bits", "MSC4243-FORGE-10", AnyEvent, Forgery{SignatureEntity: "{alias-1}"}},
	}
}

func wrongKeyIDs() []NamedForgery {
	row := func(name, requirement, keyID string) NamedForgery {
		return NamedForgery{"key-id-" + name, requirement, AnyEvent, Forgery{SignatureKeyID: keyID}}
	}
	return []NamedForgery{
		row("2", "MSC4243-FORGE-11", "ed25519:2"),
		row("0", "MSC4243-FORGE-11", "ed25519:0"),
		row("auto", "MSC4243-FORGE-11", "ed25519:auto"),
		row("account-key", "MSC4243-FORGE-11", "ed25519:{key}"),
		row("empty-name", "MSC4243-FORGE-11", "ed25519:"),
		row("no-name", "MSC4243-FORGE-11", "ed25519"),
		row("rsa", "MSC4243-FORGE-12", "rsa:1"),
		row("upper-case", "MSC4243-FORGE-12", "Ed25519:1"),
		row("prehashed", "MSC4243-FORGE-12", "ed25519ph:1"),
	}
}

// bogus is a well-formed signature of nothing: R is the base point, S is 1.
const bogus = `"WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmYBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`

func badSignatures() []NamedForgery {
	var rows []NamedForgery
	value := func(name, json string) {
		rows = append(rows, NamedForgery{"signature-is-" + name, "MSC4243-FORGE-14", AnyEvent, Forgery{SignatureJSON: json}})
	}
	value("not-base64", `"!!"`)
	value("empty", `""`)
	value("a-number", `5`)
	value("null", `null`)
	value("an-array", `["{sig}"]`)
	value("an-object", `{"sig":"{sig}"}`)
	value("a-boolean", `true`)
	return append(rows, []NamedForgery{
		{"extra-signature-by-another-key-id", "MSC4243-FORGE-13", AnyEvent, Forgery{ExtraSignatures: []Signature{{"{key}", "ed25519:2", bogus}}}},
		{"extra-signature-by-the-server", "MSC4243-SIG-03", AnyEvent, Forgery{ExtraSignatures: []Signature{{"{domain}", "{server-key-id}", bogus}}}},
		{"extra-signature-by-a-stranger", "MSC4243-SIG-03", AnyEvent, Forgery{ExtraSignatures: []Signature{{"{stranger-key}", "ed25519:1", bogus}}}},
		{"extra-signature-not-base64", "MSC4243-SIG-03", AnyEvent, Forgery{ExtraSignatures: []Signature{{"x", "ed25519:1", `"!"`}}}},
		{"extra-signature-a-number", "MSC4243-SIG-03", AnyEvent, Forgery{ExtraSignatures: []Signature{{"x", "ed25519:1", "5"}}}},
		{"extra-signature-an-array", "MSC4243-SIG-03", AnyEvent, Forgery{ExtraSignatures: []Signature{{"x", "ed25519:1", "[]"}}}},
		{"signature-of-63-bytes", "MSC4243-FORGE-15", AnyEvent, Forgery{SignatureCut: 1}},
		{"signature-of-65-bytes", "MSC4243-FORGE-15", AnyEvent, Forgery{SignatureAdd: 1}},
		{"signature-of-0-bytes", "MSC4243-FORGE-15", AnyEvent, Forgery{SignatureCut: 64}},
		{"signature-of-128-bytes", "MSC4243-FORGE-15", AnyEvent, Forgery{SignatureAdd: 64}},
		{"signature-is-url-safe", "MSC4243-FORGE-16", AnyEvent, Forgery{SignatureEncoding: URLSafeBase64}},
		{"signature-is-padded", "MSC4243-FORGE-17", AnyEvent, Forgery{SignatureEncoding: PaddedBase64}},
		{"signature-has-trailing-bits", "MSC4243-FORGE-16", AnyEvent, Forgery{SignatureEncoding: TrailingBitsBase64}},
		{"signature-has-dots", "MSC4243-FORGE-16", AnyEvent, Forgery{SignatureEncoding: DotsInBase64}},
		{"signature-has-a-newline", "MSC4243-FORGE-16", AnyEvent, Forgery{SignatureEncoding: NewlineInBase64}},
		{"bit-flipped-in-r", "MSC4243-FORGE-18", AnyEvent, Forgery{FlipSignatureBits: []int{7}}},
		{"bit-flipped-in-s", "MSC4243-FORGE-18", AnyEvent, Forgery{FlipSignatureBits: []int{256}}},
		{"two-signatures-bad-second", "MSC4243-FORGE-59", AnyEvent, Forgery{SecondSignature: BadSecond}},
		{"two-signatures-bad-first", "MSC4243-FORGE-59", AnyEvent, Forgery{SecondSignature: BadFirst}},
	}...)
}

// alteredEvents change a protected property after signing: once with the hash as it was, and once with
// the hash computed anew. Nothing but the signature speaks against what comes of it: the author may do
// that, too.
func alteredEvents() []NamedForgery {
	var rows []NamedForgery
	alter := func(name string, on Kind, path, json string) {
		edits := []Edit{{path, json}}
		rows = append(rows,
			NamedForgery{"altered-" + name, "MSC4243-FORGE-19", on, Forgery{LateEdits: edits}},
			NamedForgery{"altered-" + name + "-rehashed", "MSC4243-FORGE-19", on, Forgery{LateEdits: edits, Rehash: true}})
	}
	alter("type", AnyEvent, "type", `"org.countersign.other"`)
	alter("state-key", StateEvent, "state_key", `"other"`)
	alter("membership", LeaveEvent, "content.membership", `"join"`)
	alter("users-power", PowerLevelsEvent, "content.users.{other}", `10`)
	alter("join-rules", JoinRulesEvent, "content.allow", `[]`)
	alter("depth", AnyEvent, "depth", `1000000`)
	alter("prev-events", AnyEvent, "prev_events.-1", `"{last-auth-event}"`)
	alter("auth-events", AnyEvent, "auth_events", `["{last-auth-event}","{auth-event}"]`)
	alter("time", AnyEvent, "origin_server_ts", `1`)
	return append(rows, []NamedForgery{
		{"altered-hashes", "MSC4243-FORGE-19", AnyEvent, Forgery{LateEdits: []Edit{{"hashes.sha256", `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`}}}},
		{"altered-body-rehashed", "MSC4243-FORGE-20", AnyEvent, Forgery{LateEdits: []Edit{{"content.body", `"altered"`}}, Rehash: true}},
		{"altered-body", "MSC4243-SIG-04", AnyEvent, Forgery{LateEdits: []Edit{{"content.body", `"altered"`}}}},
		{"redacted-copy", "MSC4243-SIG-05", AnyEvent, Forgery{Redacted: true}},
		{"other-domain-in-sender", "MSC4243-FORGE-24", AnyEvent, Forgery{LateEdits: []Edit{{"sender", `"@{key}:{elsewhere}"`}}}},
		{"replayed-in-another-room", "MSC4243-FORGE-26", AnyEvent, Forgery{LateEdits: []Edit{{"room_id", `"{other-room}"`}}}},
		{"not-an-object", "MSC4243-SIG-13", AnyEvent, Forgery{RawEdit: func(event []byte) []byte { return fmt.Appendf(nil, "[%s]", event) }}},
	}...)
}

func otherBytes() []NamedForgery {
	return []NamedForgery{
		{"signed-unredacted", "MSC4243-FORGE-21", AnyEvent, Forgery{SignOver: WholeEvent}},
		{"signed-with-unsigned", "MSC4243-FORGE-22", AnyEvent, Forgery{SignOver: WithUnsigned}},
		{"signed-with-event-id", "MSC4243-FORGE-22", AnyEvent, Forgery{SignOver: WithEventID}},
		{"signed-with-unsorted-keys", "MSC4243-FORGE-22", AnyEvent, Forgery{SignOver: UnsortedKeys}},
		{"signed-another-event", "MSC4243-FORGE-18", AnyEvent, Forgery{SignOver: OtherEvent}},
	}
}

// otherIdentities are well-formed events by, or about, somebody else than they seem.
func otherIdentities() []NamedForgery {
	stateKey := func(name, key string) NamedForgery {
		return NamedForgery{"state-key-is-" + name, "MSC4243-FORGE-57", StateEvent, Forgery{StateKey: key}}
	}
	return []NamedForgery{
		{"stolen-key-at-another-domain", "MSC4243-FORGE-23", AnyEvent, Forgery{Sender: "@{key}:{elsewhere}"}},
		{"delivered-by-another-server", "MSC4243-FORGE-25", AnyEvent, Forgery{Courier: true}},
		{"cites-events-of-another-room", "MSC4243-FORGE-26", AnyEvent, Forgery{Edits: []Edit{{"prev_events", `["{other-event}"]`}, {"auth_events", `["{other-event}"]`}}}},
		{"create-by-another-user", "MSC4243-FORGE-27", CreateEvent, Forgery{Sender: "{other}", SignWith: OtherKey}},
		{"join-submitted-for-another-domain", "MSC4243-FORGE-58", JoinEvent, Forgery{Sender: "@{key}:{elsewhere}"}},
		stateKey("own-account-name", "@{name}:{domain}"),
		stateKey("the-victim", "{victim}"),
		stateKey("own-key-at-another-domain", "@{key}:{elsewhere}"),
		stateKey("an-alias-of-the-own-key", "@{alias-1}:{domain}"),
	}
}

// badIdentities are senders whose localpart is not an account key as MSC4243 writes one. The signature
// is good, and filed under the localpart as it is written.
func badIdentities() []NamedForgery {
	row := func(name, requirement, sender string) NamedForgery {
		return NamedForgery{"localpart-" + name, requirement, JoinEvent, Forgery{Sender: sender}}
	}
	rows := []NamedForgery{
		row("with-trailing-bits-1", "MSC4243-FORGE-28", "@{alias-1}:{domain}"),
		row("with-trailing-bits-2", "MSC4243-FORGE-28", "@{alias-2}:{domain}"),
		row("with-trailing-bits-3", "MSC4243-FORGE-28", "@{alias-3}:{domain}"),
		row("padded", "MSC4243-FORGE-29", "@{key}=:{domain}"),
		row("in-the-standard-alphabet", "MSC4243-FORGE-30", "@{std-key}:{domain}"),
		row("in-both-alphabets", "MSC4243-FORGE-30", "@{mixed-key}:{domain}"),
		row("empty", "MSC4243-FORGE-31", "@:{domain}"),
		row("of-one-character", "MSC4243-FORGE-31", "@A:{domain}"),
		row("of-16-bytes", "MSC4243-FORGE-31", "@{key-16}:{domain}"),
		row("of-31-bytes", "MSC4243-FORGE-31", "@{key-31}:{domain}"),
		row("of-33-bytes", "MSC4243-FORGE-31", "@{key-33}:{domain}"),
		row("of-64-bytes", "MSC4243-FORGE-31", "@{key-64}:{domain}"),
		row("of-200-bytes", "MSC4243-FORGE-31", "@{key-200}:{domain}"),
		row("is-the-account-name", "MSC4243-FORGE-32", "@{name}:{domain}"),
		row("is-a-name-of-43-characters", "MSC4243-FORGE-32", "@{name-43}:{domain}"),
		row("off-the-curve", "MSC4243-FORGE-33", "@{off-curve}:{domain}"),
		row("in-hexadecimal", "MSC4243-FORGE-39", "@{hex-key}:{domain}"),
		row("in-base58", "MSC4243-FORGE-39", "@{base58-key}:{domain}"),
		row("in-lower-case", "MSC4243-FORGE-40", "@{lower-key}:{domain}"),
		row("of-a-user-id-without-domain", "MSC4243-FORGE-41", "@{key}"),
		row("of-a-user-id-with-empty-domain", "MSC4243-FORGE-41", "@{key}:"),
		row("of-a-user-id-with-a-bad-port", "MSC4243-FORGE-41", "@{key}:{domain}:x"),
		row("at-a-domain-of-211-bytes", "MSC4243-ID-05", "@{key}:{long-domain-211}"),
		row("at-a-domain-of-210-bytes", "MSC4243-ID-05", "@{key}:{long-domain-210}"),
	}
	for _, junk := range []struct{ name, text string }{
		{"space", " "}, {"newline", "\n"}, {"carriage-return", "\r"}, {"nul", "\x00"}, {"exclamation-mark", "!"}, {"dots", "...."}, {"percent-escape", "%2D"},
	} {
		rows = append(rows, row("followed-by-"+junk.name, "MSC4243-FORGE-38", "@{key}"+junk.text+":{domain}"))
	}
	return append(rows, []NamedForgery{
		{"localpart-padded-with-both-entities", "MSC4243-FORGE-29", JoinEvent, Forgery{
			Sender: "@{key}=:{domain}", ExtraSignatures: []Signature{{"{key}", "ed25519:1", `"{sig}"`}}}},
		{"localpart-is-the-account-name-signed-by-the-server", "MSC4243-FORGE-32", JoinEvent, Forgery{
			Sender: "@{name}:{domain}", SignWithServerKeyOnly: true}},
		{"localpart-in-lower-case-entity-not", "MSC4243-FORGE-40", JoinEvent, Forgery{
			Sender: "@{lower-key}:{domain}", SignatureEntity: "{key}"}},
	}...)
}

func edgeForgeries() []NamedForgery {
	var rows []NamedForgery
	add := func(requirement string, edges []NamedEdge) {
		for _, e := range edges {
			rows = append(rows, NamedForgery{"ed25519-" + e.Name, requirement, JoinEvent, Forgery{Edge: e.Edge}})
		}
	}
	add("MSC4243-FORGE-34", SmallOrderKeys())
	add("MSC4243-FORGE-35", NonCanonicalKeys())
	for _, e := range Edges() {
		requirement := "MSC4243-FORGE-37"
		if strings.HasPrefix(e.Name, "s-") {
			requirement = "MSC4243-FORGE-36"
		}
		add(requirement, []NamedEdge{e})
	}
	return rows
}

func coSignatures() []NamedForgery {
	return []NamedForgery{
		{"restricted-join-without-co-signature", "MSC4243-FORGE-42", RestrictedJoinEvent, Forgery{OmitCoSignature: true}},
		{"restricted-join-co-signed-with-an-unknown-key", "MSC4243-FORGE-42", RestrictedJoinEvent, Forgery{CoSignWith: StrangerKey}},
		{"restricted-join-co-signed-under-the-full-user-id", "MSC4243-RJ-02", RestrictedJoinEvent, Forgery{CoSignatureEntity: "{cosigner}"}},
		{"restricted-join-co-signed-under-another-key-id", "MSC4243-RJ-02", RestrictedJoinEvent, Forgery{CoSignatureKeyID: "ed25519:2"}},
		{"restricted-join-co-signed-by-the-server-only", "MSC4243-FORGE-43", RestrictedJoinEvent, Forgery{CoSignWithServerKey: true}},
		{"restricted-join-co-signed-by-another-user", "MSC4243-FORGE-44", RestrictedJoinEvent, Forgery{CoSignAsOther: true}},
		{"restricted-join-authorised-by-a-stranger", "MSC4243-FORGE-45", RestrictedJoinEvent, Forgery{Authoriser: "{stranger}"}},
		{"restricted-join-authorised-at-another-domain", "MSC4243-FORGE-45", RestrictedJoinEvent, Forgery{Authoriser: "@{other-key}:{elsewhere}"}},
		{"restricted-join-authorised-by-an-account-name", "MSC4243-FORGE-46", RestrictedJoinEvent, Forgery{Authoriser: "@{other-name}:{domain}"}},
		{"join-names-an-authoriser-who-has-not-signed", "MSC4243-FORGE-47", JoinEvent, Forgery{
			Edits: []Edit{{"content.join_authorised_via_users_server", `"{other}"`}}}},
		{"invite-without-co-signature", "MSC4243-FORGE-48", InviteEvent, Forgery{OmitCoSignature: true}},
		{"invite-with-bad-co-signature", "MSC4243-FORGE-49", InviteEvent, Forgery{CoSignatureJSON: bogus}},
		{"third-party-invite-without-signature", "MSC4243-FORGE-50", InviteEvent, Forgery{
			OmitSignatures: true, Edits: []Edit{{"content.third_party_invite",
				`{"display_name":"x","signed":{"mxid":"{stranger}","token":"no-such-token","signatures":{"identity.invalid":{"ed25519:0":` + bogus + `}}}}`}}}},
	}
}

func contents() []NamedForgery {
	odd := func(name, json string) NamedForgery {
		return NamedForgery{"content-" + name, "MSC4243-SIG-13", AnyEvent, Forgery{Edits: []Edit{{"content.n", json}}}}
	}
	return []NamedForgery{
		{"spoofed-sender-account", "MSC4243-FORGE-55", AnyEvent, Forgery{
			Unsigned: `{"sender_account":{"key":"{stranger-key}","user_id":"@admin:{victim-domain}"}}`}},
		{"raises-own-power", "MSC4243-FORGE-56", PowerLevelsEvent, Forgery{Edits: []Edit{{"content.users.{sender}", "100"}}}},
		{"duplicate-content-key", "MSC4243-FORGE-59", AnyEvent, Forgery{Edits: []Edit{{"content.n", `1,"n":2`}}}},
		odd("fraction", "1.5"),
		odd("zero-fraction", "0.0"),
		odd("exponent", "1E3"),
		odd("negative-zero", "-0"),
		odd("integer-beyond-2-53", "9007199254740992"),
		odd("lone-surrogate", `"\ud800"`),
		odd("not-utf-8", "\"\xff\""),
		{"far-past", "MSC4243-KEY-07", AnyEvent, Forgery{Edits: []Edit{{"origin_server_ts", "1"}}}},
		{"far-future", "MSC4243-KEY-07", AnyEvent, Forgery{Edits: []Edit{{"origin_server_ts", "9007199254740991"}}}},
	}
}

func templates() []NamedForgery {
	row := func(name string, edits ...Edit) NamedForgery {
		return NamedForgery{"template-" + name, "MSC4243-FORGE-54", TemplateEvent, Forgery{TemplateEdits: edits}}
	}
	both := func(id string) []Edit { return []Edit{{"sender", id}, {"state_key", id}} }
	return []NamedForgery{
		row("for-another-user", both(`"@AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE:{requested-domain}"`)...),
		row("for-another-domain", both(`"@{requested-key}:{domain}"`)...),
		row("of-another-sender", Edit{"sender", `"@AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE:{requested-domain}"`}),
		row("about-another-user", Edit{"state_key", `"@AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE:{requested-domain}"`}),
		row("of-another-type", Edit{"type", `"m.room.power_levels"`}),
		row("of-another-room", Edit{"room_id", `"!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`}),
		row("ban", Edit{"content.membership", `"ban"`}),
		row("invite", Edit{"content.membership", `"invite"`}),
	}
}
