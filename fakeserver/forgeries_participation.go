package fakeserver

import (
	"slices"
	"strings"

	"countersign/matrix"
)

// ForgeriesIn is the table of forgeries in rooms of a version: of those with participation, all that the
// catalogue lists for servers that participate, as the version writes them down, and for MSC4348 what it lists
// for portable accounts; of any other, [Forgeries].
func ForgeriesIn(v matrix.RoomVersion) []NamedForgery {
	if !v.HasParticipation() {
		return Forgeries()
	}
	all := slices.Concat(
		requestsNotAuthorised(), requestAuthorisations(), requestsOfOthers(), badServerKeys(v), decisions(v),
		domainSignatures(v), outsiders(v), citations(), replayedParticipations(), requestTemplates(v))
	if v.HasPortableAccounts() {
		all = append(all, portableForgeries()...)
	}
	return all
}

// serverSignature is a deviation of the signature of the server that sends an event: in rooms of MSC4345 it is
// the sender's, in rooms of MSC4348 the co-signing server's.
func serverSignature(v matrix.RoomVersion, c CoSignature) Forgery {
	if v.HasPortableAccounts() {
		return Forgery{CoSignature: c}
	}
	return Forgery{
		OmitSenderSignature: c.Omit, SignWithServer: c.With, SignatureEntity: c.Entity, SignatureKeyID: c.KeyID,
		SignatureJSON: c.JSON, SignatureEncoding: c.Encoding, FlipSignatureBits: c.FlipBits, SecondSignature: c.Second,
	}
}

func requestsNotAuthorised() []NamedForgery {
	return []NamedForgery{
		{"request-names-no-authoriser", "MSC4345-FORGE-01", RequestEvent, Forgery{Edits: []Edit{{"content.request_authorised_via_server", ""}}}},
		{"request-names-a-domain-as-authoriser", "MSC4345-FORGE-01", RequestEvent, Forgery{Edits: []Edit{{"content.request_authorised_via_server", `"{domain}"`}}}},
		{"request-not-signed-by-its-authoriser", "MSC4345-FORGE-02", RequestEvent, Forgery{Authorisation: CoSignature{Omit: true}}},
		{"request-signed-by-another-than-its-authoriser", "MSC4345-FORGE-02", RequestEvent, Forgery{Authorisation: CoSignature{By: OtherServer}}},
		{"request-authorised-by-a-requested-server", "MSC4345-FORGE-03", RequestEvent, Forgery{AuthorisedBy: RequestedServer}},
		{"request-authorised-by-a-revoked-server", "MSC4345-FORGE-04", RequestEvent, Forgery{AuthorisedBy: RevokedServer}},
		{"request-authorised-by-an-unknown-server", "MSC4345-FORGE-05", RequestEvent, Forgery{AuthorisedBy: UnknownServer}},
		{"request-authorised-by-a-server-of-another-room", "MSC4345-FORGE-05", RequestEvent, Forgery{AuthorisedBy: ForeignServer}},
		{"request-authorised-by-itself", "MSC4345-FORGE-06", RequestEvent, Forgery{AuthorisedBy: SubjectServer}},
	}
}

func requestAuthorisations() []NamedForgery {
	row := func(name string, c CoSignature) NamedForgery {
		return NamedForgery{"request-authorised-" + name, "MSC4345-FORGE-07", RequestEvent, Forgery{Authorisation: c}}
	}
	return []NamedForgery{
		row("under-the-domain", CoSignature{Entity: "{domain}"}),
		row("under-the-padded-key", CoSignature{Entity: "{authoriser}="}),
		row("under-the-key-in-the-standard-alphabet", CoSignature{Entity: "{std-authoriser}"}),
		row("under-a-user-id", CoSignature{Entity: "@{name}:{authoriser}"}),
		row("under-key-id-2", CoSignature{KeyID: "ed25519:2"}),
		row("under-key-id-auto", CoSignature{KeyID: "ed25519:auto"}),
		row("under-the-key-as-key-id", CoSignature{KeyID: "ed25519:{authoriser}"}),
		row("with-another-key", CoSignature{With: OtherServer}),
		row("with-the-subjects-key", CoSignature{With: SubjectServer}),
		row("by-a-bad-signature", CoSignature{FlipBits: []int{300}}),
		row("by-a-number", CoSignature{JSON: "5"}),
		row("in-the-url-safe-alphabet", CoSignature{Encoding: URLSafeBase64}),
		row("twice-bad-second", CoSignature{Second: BadSecond}),
		row("twice-bad-first", CoSignature{Second: BadFirst}),
	}
}

func requestsOfOthers() []NamedForgery {
	participation := func(p string) []Edit { return []Edit{{"content.participation", p}} }
	return []NamedForgery{
		{"request-filed-by-another-server", "MSC4345-FORGE-08", RequestEvent, Forgery{Through: OtherServer}},
		{"request-about-another-key", "MSC4345-FORGE-08", RequestEvent, Forgery{StateKey: "{unknown-server}"}},
		{"self-accept-without-a-request", "MSC4345-FORGE-10", RequestEvent, Forgery{Edits: participation(`"accepted"`)}},
		{"self-accept-after-a-request", "MSC4345-FORGE-10", AcceptEvent, Forgery{Through: RequestedServer}},
		{"request-with-an-unknown-participation", "MSC4345-FORGE-10", RequestEvent, Forgery{Edits: participation(`"invited"`)}},
		{"request-without-participation", "MSC4345-FORGE-10", RequestEvent, Forgery{Edits: participation("")}},
		{"revocation-in-place-of-a-request", "MSC4345-FORGE-22", RequestEvent, Forgery{Edits: participation(`"revoked"`)}},
		{"another-event-in-place-of-a-request", "MSC4345-FORGE-22", RequestEvent, Forgery{Edits: []Edit{{"type", `"org.countersign.other"`}}}},
		{"authoriser-altered", "MSC4345-FORGE-20", RequestEvent, Forgery{
			LateEdits: []Edit{{"content.request_authorised_via_server", `"{other-server}"`}}}},
		{"authoriser-altered-rehashed", "MSC4345-FORGE-20", RequestEvent, Forgery{
			LateEdits: []Edit{{"content.request_authorised_via_server", `"{other-server}"`}}, Rehash: true}},
	}
}

// badServerKeys are requests of server keys that are not written, or are not, as keys are. The signature is good
// and filed under the key as it is written.
func badServerKeys(v matrix.RoomVersion) []NamedForgery {
	var rows []NamedForgery
	for _, key := range []struct{ name, text string }{
		{"padded", "{server-key}="}, {"in-the-standard-alphabet", "{std-server-key}"}, {"with-trailing-bits", "{server-alias-1}"},
		{"of-31-bytes", "{server-key-31}"}, {"of-33-bytes", "{server-key-33}"}, {"off-the-curve", "{off-curve}"},
		{"that-is-the-domain", "{domain}"},
	} {
		rows = append(rows, NamedForgery{"request-of-a-key-" + key.name, "MSC4345-FORGE-09", RequestEvent, Forgery{Subject: key.text}})
	}
	small := serverSignature(v, CoSignature{JSON: bogus}) // which any key of order 1 has made
	small.Subject = "{small-order}"
	rows = append(rows, NamedForgery{"request-of-a-key-of-small-order", "MSC4345-FORGE-09", RequestEvent, small})
	for _, key := range []struct{ name, text string }{
		{"padded", "{server-key}="}, {"in-the-standard-alphabet", "{std-server-key}"}, {"with-trailing-bits", "{server-alias-1}"},
	} {
		rows = append(rows, NamedForgery{"request-with-a-state-key-" + key.name, "MSC4345-FORGE-09", RequestEvent, Forgery{StateKey: key.text}})
	}
	return rows
}

// decisions are acceptances and revocations by those who may not, or about those whom nobody may decide about.
func decisions(v matrix.RoomVersion) []NamedForgery {
	elsewhere := Forgery{CoSignature: CoSignature{By: OtherServer}}
	if !v.HasPortableAccounts() {
		elsewhere = Forgery{SignWithServer: OtherServer, SignatureEntity: "{other-server}"}
	}
	both := func(name, requirement string, f Forgery) []NamedForgery {
		return []NamedForgery{{"accept-" + name, requirement, AcceptEvent, f}, {"revocation-" + name, requirement, RevokeEvent, f}}
	}
	rows := slices.Concat(
		both("by-a-user-without-power", "MSC4345-FORGE-11", Forgery{ByOther: true}),
		both("signed-with-another-servers-key", "MSC4345-FORGE-11", serverSignature(v, CoSignature{With: OtherServer})),
		both("signed-by-another-server", "MSC4345-FORGE-11", elsewhere),
		both("with-a-bad-signature", "MSC4345-FORGE-24", serverSignature(v, CoSignature{FlipBits: []int{300}})),
		both("through-an-unknown-server", "MSC4345-FORGE-24", Forgery{Through: UnknownServer}),
	)
	return append(rows, []NamedForgery{
		{"accept-after-revocation", "MSC4345-FORGE-18", AcceptEvent, Forgery{StateKey: "{revoked-server}"}},
		{"self-accept-after-revocation", "MSC4345-FORGE-18", AcceptEvent, Forgery{Through: RevokedServer, StateKey: "{revoked-server}"}},
		{"request-after-revocation", "MSC4345-FORGE-18", RequestEvent, Forgery{Through: RevokedServer, StateKey: "{revoked-server}"}},
		{"revocation-of-the-victims-server", "MSC4345-FORGE-19", RevokeEvent, Forgery{StateKey: "{victim-server}"}},
	}...)
}

func domainSignatures(v matrix.RoomVersion) []NamedForgery {
	rows := []NamedForgery{
		{"signed-by-the-domain", "MSC4345-FORGE-12", AnyEvent, Forgery{SignWithServerKeyOnly: true}},
		{"signed-by-the-domain-under-key-id-auto", "MSC4345-FORGE-12", AnyEvent, Forgery{SignWithServerKeyOnly: true, SignatureKeyID: "ed25519:auto"}},
		{"signed-with-the-domains-key", "MSC4345-FORGE-12", AnyEvent, serverSignature(v, CoSignature{With: DomainKey})},
		{"accept-signed-by-the-domain", "MSC4345-FORGE-12", AcceptEvent, Forgery{SignWithServerKeyOnly: true}},
		{"request-signed-by-the-domain", "MSC4345-FORGE-12", RequestEvent, serverSignature(v, CoSignature{With: DomainKey})},
		{"sender-at-the-domain", "MSC4345-FORGE-13", AnyEvent, Forgery{Sender: "@{name}:{domain}", SignWithServerKeyOnly: true}},
	}
	if v.HasPortableAccounts() {
		return rows
	}
	return append(rows,
		NamedForgery{"sender-at-the-padded-key", "MSC4345-FORGE-13", AnyEvent, Forgery{Sender: "@{name}:{server-key}="}},
		NamedForgery{"sender-at-the-key-in-the-standard-alphabet", "MSC4345-FORGE-13", AnyEvent, Forgery{Sender: "@{name}:{std-server-key}"}},
		NamedForgery{"sender-at-the-victims-server", "MSC4345-FORGE-13", AnyEvent, Forgery{Sender: "{victim}"}},
		NamedForgery{"not-signed-by-the-server", "MSC4345-FORGE-12", AnyEvent, Forgery{OmitSenderSignature: true}},
		NamedForgery{"signed-under-the-domain", "MSC4345-FORGE-07", AnyEvent, Forgery{SignatureEntity: "{domain}"}},
		NamedForgery{"signed-under-the-padded-key", "MSC4345-FORGE-07", AnyEvent, Forgery{SignatureEntity: "{server-key}="}},
		NamedForgery{"signed-under-key-id-2", "MSC4345-FORGE-07", AnyEvent, Forgery{SignatureKeyID: "ed25519:2"}})
}

// outsiders are events through servers that were not accepted, honest in everything else.
func outsiders(v matrix.RoomVersion) (rows []NamedForgery) {
	for _, server := range []struct {
		name, requirement string
		party             Party
	}{
		{"an-unknown-server", "MSC4345-FORGE-14", UnknownServer}, {"a-requested-server", "MSC4345-FORGE-15", RequestedServer},
		{"a-revoked-server", "MSC4345-FORGE-16", RevokedServer},
	} {
		if v.HasPortableAccounts() {
			server.requirement = "MSC4348-FORGE-03"
		}
		for _, event := range []struct {
			name string
			on   Kind
		}{{"message", AnyEvent}, {"state", StateEvent}, {"join", JoinEvent}, {"invite", InviteEvent}, {"power-levels", PowerLevelsEvent}} {
			name := event.name + "-through-" + server.name
			rows = append(rows, NamedForgery{name, server.requirement, event.on, Forgery{Through: server.party}})
		}
	}
	return rows
}

func citations() []NamedForgery {
	const id = "MSC4345-FORGE-17"
	return []NamedForgery{
		{"cites-no-participation", id, StateEvent, Forgery{Cite: NoParticipation}},
		{"cites-a-request-of-its-server", id, StateEvent, Forgery{Cite: RequestOnly}},
		{"cites-the-participation-of-another-server", id, StateEvent, Forgery{Cite: OthersParticipation}},
		{"cites-an-acceptance-that-was-revoked", id, StateEvent, Forgery{Through: RevokedServer, Cite: StaleParticipation}},
		{"cites-an-acceptance-that-never-was", id, StateEvent, Forgery{Through: UnknownServer, Cite: MadeUpParticipation}},
		{"join-cites-an-acceptance-that-never-was", id, JoinEvent, Forgery{Through: UnknownServer, Cite: MadeUpParticipation}},
		{"join-cites-an-acceptance-that-was-revoked", id, JoinEvent, Forgery{Through: RevokedServer, Cite: StaleParticipation}},
	}
}

func replayedParticipations() []NamedForgery {
	replay := Forgery{LateEdits: []Edit{{"room_id", `"{other-room}"`}}}
	return []NamedForgery{
		{"request-replayed-in-another-room", "MSC4345-FORGE-21", RequestEvent, replay},
		{"accept-replayed-in-another-room", "MSC4345-FORGE-21", AcceptEvent, replay},
		{"revocation-replayed-in-another-room", "MSC4345-FORGE-21", RevokeEvent, replay},
	}
}

// requestTemplates are answers to make_participation for which nobody must sign.
func requestTemplates(v matrix.RoomVersion) []NamedForgery {
	const via = "content.request_authorised_via_server"
	const strange = `"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"`
	row := func(name string, edits ...Edit) NamedForgery {
		return NamedForgery{"request-template-" + name, "MSC4345-FORGE-23", RequestTemplateEvent, Forgery{TemplateEdits: edits}}
	}
	sender := `"@admin:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"`
	if v.HasPortableAccounts() {
		sender = `"@AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"`
	}
	return []NamedForgery{
		row("about-another-server", Edit{"state_key", strange}),
		row("about-the-resident-server", Edit{"state_key", `"{server-key}"`}),
		row("accepted", Edit{"content.participation", `"accepted"`}),
		row("revoked", Edit{"content.participation", `"revoked"`}),
		row("of-another-domain", Edit{"content.unverified_domain", `"{elsewhere}"`}),
		row("of-another-type", Edit{"type", `"m.room.power_levels"`}),
		row("of-another-room", Edit{"room_id", `"!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`}),
		row("of-another-sender", Edit{"sender", sender}),
		row("without-authoriser", Edit{via, ""}),
		row("authorised-by-the-domain", Edit{via, `"{domain}"`}),
		row("authorised-by-a-padded-key", Edit{via, `"{server-key}="`}),
		row("authorised-by-another-server", Edit{via, strange}),
	}
}

// Parties are the servers of the cast that a row needs, apart from those that the room provides of itself
// (see [Cast]): for a test that has to bring them into the room first.
func (row NamedForgery) Parties() (parties []Party) {
	f := row.Forgery
	text := []string{f.Sender, f.StateKey, f.Subject, f.SignatureEntity, f.CoSignature.Entity, f.Authorisation.Entity}
	for _, e := range slices.Concat(f.Edits, f.LateEdits) {
		text = append(text, e.Path, e.JSON)
	}
	named := []Party{
		f.Through, f.AuthorisedBy, f.SignWithServer, f.RecosignedBy,
		f.CoSignature.With, f.CoSignature.By, f.CoSignature.Also, f.Authorisation.With, f.Authorisation.By, f.Authorisation.Also,
	}
	switch row.On {
	case AcceptEvent:
		named = append(named, RequestedServer)
	case RevokeEvent:
		named = append(named, OtherServer)
	}
	if f.Cite == OthersParticipation || f.Cite == BothParticipations {
		named = append(named, OtherServer)
	}
	for _, p := range []Party{OtherServer, RequestedServer, RevokedServer, ForeignServer} {
		if slices.Contains(named, p) || strings.Contains(strings.Join(text, " "), p.String()) {
			parties = append(parties, p)
		}
	}
	return parties
}
