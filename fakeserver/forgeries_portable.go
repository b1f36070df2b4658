package fakeserver

import "slices"

// portableForgeries are the forgeries of events of portable accounts (MSC4348).
func portableForgeries() []NamedForgery {
	return slices.Concat(
		halfSigned(), coSigners(), coSignatureSpellings(), accountSigners(), portableIdentities(), severalSigners(), portableReplays())
}

func halfSigned() []NamedForgery {
	var rows []NamedForgery
	for _, event := range []struct {
		name string
		on   Kind
	}{{"message", AnyEvent}, {"state", StateEvent}, {"join", JoinEvent}, {"power-levels", PowerLevelsEvent}, {"request", RequestEvent}, {"accept", AcceptEvent}} {
		rows = append(rows,
			NamedForgery{event.name + "-not-co-signed", "MSC4348-FORGE-01", event.on, Forgery{CoSignature: CoSignature{Omit: true}}},
			NamedForgery{event.name + "-not-signed-by-the-account", "MSC4348-FORGE-02", event.on, Forgery{OmitSenderSignature: true}})
	}
	return append(rows,
		NamedForgery{"empty-account-entity", "MSC4348-FORGE-02", AnyEvent, Forgery{EmptyEntity: true}},
		NamedForgery{"co-signature-stripped-on-the-way", "MSC4348-FORGE-10", AnyEvent, Forgery{LateEdits: []Edit{{"signatures.{server-key}", ""}}}})
}

// coSigners are events that one server sends, by what they cite, and another has co-signed.
func coSigners() []NamedForgery {
	by := func(name string, p Party) NamedForgery {
		return NamedForgery{"co-signed-by-" + name, "MSC4348-FORGE-03", AnyEvent, Forgery{CoSignature: CoSignature{By: p}}}
	}
	return []NamedForgery{
		by("an-unknown-server", UnknownServer), by("a-requested-server", RequestedServer), by("a-revoked-server", RevokedServer),
		by("the-account-as-a-server", AccountAsServer),
		{"re-co-signed-by-another-accepted-server", "MSC4348-FORGE-09", AnyEvent, Forgery{CoSignature: CoSignature{By: OtherServer}}},
		{"co-signed-with-another-servers-key", "MSC4348-FORGE-03", AnyEvent, Forgery{CoSignature: CoSignature{With: OtherServer}}},
		{"co-signed-with-the-domains-key", "MSC4348-FORGE-03", AnyEvent, Forgery{CoSignature: CoSignature{With: DomainKey}}},
		{"co-signed-by-another-accepted-server-as-well", "MSC4348-FORGE-09", AnyEvent, Forgery{CoSignature: CoSignature{Also: OtherServer}}},
		{"co-signed-by-a-revoked-server-as-well", "MSC4348-FORGE-09", AnyEvent, Forgery{CoSignature: CoSignature{Also: RevokedServer}}},
		{"cites-several-participations", "MSC4348-COSIG-05", AnyEvent, Forgery{Cite: BothParticipations}},
		{"account-is-its-own-server", "MSC4348-FORGE-08", AnyEvent, Forgery{Through: AccountAsServer}},
		{"join-of-an-account-that-is-its-own-server", "MSC4348-FORGE-08", JoinEvent, Forgery{Through: AccountAsServer}},
	}
}

func coSignatureSpellings() []NamedForgery {
	row := func(name string, c CoSignature) NamedForgery {
		return NamedForgery{"co-signature-" + name, "MSC4348-FORGE-05", AnyEvent, Forgery{CoSignature: c}}
	}
	return []NamedForgery{
		row("under-the-domain", CoSignature{Entity: "{domain}"}),
		row("under-the-padded-key", CoSignature{Entity: "{server-key}="}),
		row("under-the-key-in-the-standard-alphabet", CoSignature{Entity: "{std-server-key}"}),
		row("under-the-key-with-trailing-bits", CoSignature{Entity: "{server-alias-1}"}),
		row("under-a-user-id", CoSignature{Entity: "@{name}:{server-key}"}),
		row("under-key-id-2", CoSignature{KeyID: "ed25519:2"}),
		row("under-key-id-auto", CoSignature{KeyID: "ed25519:auto"}),
		row("bad", CoSignature{FlipBits: []int{300}}),
		row("in-the-url-safe-alphabet", CoSignature{Encoding: URLSafeBase64}),
		row("a-number", CoSignature{JSON: "5"}),
		row("twice-bad-second", CoSignature{Second: BadSecond}),
		row("twice-bad-first", CoSignature{Second: BadFirst}),
		{"signatures-swapped", "MSC4348-FORGE-05", AnyEvent, Forgery{SwapSignatures: true}},
	}
}

func accountSigners() []NamedForgery {
	const id = "MSC4348-FORGE-04"
	return []NamedForgery{
		{"account-signature-by-another-user", id, AnyEvent, Forgery{SignWith: OtherKey}},
		{"account-signature-by-a-stranger", id, AnyEvent, Forgery{SignWith: StrangerKey}},
		{"account-signature-filed-under-another-user", id, AnyEvent, Forgery{SignWith: OtherKey, SignatureEntity: "{other-key}"}},
		{"account-signature-by-another-server", id, AnyEvent, Forgery{SignWithServer: OtherServer}},
		{"own-signature-for-the-victim", id, AnyEvent, Forgery{Sender: "{victim}"}},
		{"account-signature-bad", id, AnyEvent, Forgery{FlipSignatureBits: []int{300}}},
	}
}

func portableIdentities() []NamedForgery {
	rows := []NamedForgery{
		{"sender-with-a-domain", "MSC4348-FORGE-06", AnyEvent, Forgery{Sender: "@{key}:{domain}"}},
		{"sender-with-a-server-key", "MSC4348-FORGE-06", AnyEvent, Forgery{Sender: "@{key}:{server-key}"}},
		{"join-with-a-domain", "MSC4348-FORGE-06", JoinEvent, Forgery{Sender: "@{key}:{domain}"}},
		{"join-about-a-user-id-with-a-domain", "MSC4348-FORGE-06", JoinEvent, Forgery{StateKey: "@{key}:{domain}"}},
		{"join-about-a-user-id-with-a-server-key", "MSC4348-FORGE-06", JoinEvent, Forgery{StateKey: "@{key}:{server-key}"}},
	}
	for _, key := range []struct{ name, text string }{
		{"with-trailing-bits", "{alias-1}"}, {"padded", "{key}="}, {"in-the-standard-alphabet", "{std-key}"},
		{"in-both-alphabets", "{mixed-key}"}, {"of-31-bytes", "{key-31}"}, {"of-33-bytes", "{key-33}"},
		{"off-the-curve", "{off-curve}"}, {"in-lower-case", "{lower-key}"}, {"that-is-a-name", "{name}"},
	} {
		rows = append(rows, NamedForgery{"join-of-an-account-key-" + key.name, "MSC4348-FORGE-07", JoinEvent, Forgery{Sender: "@" + key.text}})
	}
	for _, e := range SmallOrderKeys() {
		switch e.Name { // a few stand for all, which are tried on every path in rooms of MSC4243
		case "key-identity", "key-order-2", "key-order-8", "key-identity-non-canonical":
			rows = append(rows, NamedForgery{"ed25519-" + e.Name, "MSC4348-FORGE-07", JoinEvent, Forgery{Edge: e.Edge}})
		}
	}
	return rows
}

func severalSigners() []NamedForgery {
	const id = "MSC4348-FORGE-11"
	return []NamedForgery{
		{"restricted-join-not-signed-by-its-authoriser", id, RestrictedJoinEvent, Forgery{OmitCoSignature: true}},
		{"restricted-join-not-co-signed", id, RestrictedJoinEvent, Forgery{CoSignature: CoSignature{Omit: true}}},
		{"restricted-join-not-signed-by-the-account", id, RestrictedJoinEvent, Forgery{OmitSenderSignature: true}},
		{"restricted-join-authorised-by-a-strangers-key", id, RestrictedJoinEvent, Forgery{CoSignWith: StrangerKey}},
		{"invite-not-co-signed", id, InviteEvent, Forgery{CoSignature: CoSignature{Omit: true}}},
		{"invite-not-signed-by-the-account", id, InviteEvent, Forgery{OmitSenderSignature: true}},
	}
}

func portableReplays() []NamedForgery {
	const id = "MSC4348-FORGE-12"
	moved := []Edit{{"room_id", `"{other-room}"`}}
	return []NamedForgery{
		{"replayed-in-another-room", id, AnyEvent, Forgery{LateEdits: moved}},
		{"replayed-in-another-room-with-a-new-co-signer", id, AnyEvent, Forgery{LateEdits: moved, Rehash: true, RecosignedBy: OtherServer}},
		{"join-replayed-in-another-room-with-a-new-co-signer", id, JoinEvent, Forgery{LateEdits: moved, Rehash: true, RecosignedBy: OtherServer}},
	}
}
