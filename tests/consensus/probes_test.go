package consensus

import (
	"slices"
	"strings"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix/edge"
)

// probe is an event that is sent to the homeserver.
type probe struct {
	// id is the probe's name; events that belong to one requirement differ in the letter at its end.
	id string
	// requirement is the entry of the catalogue that the probe belongs to.
	requirement string
	// expect is what the recommended rule makes of the event.
	expect conform.Outcome
	// forgery is the deviation from an honest event.
	forgery fakeserver.Forgery
	// levels, for power levels, are more entries of their "events" in JSON; the event is honest, then. Other
	// probes are the join of a new user.
	levels string
	// fetched: the event cannot be part of a signed request, so that the homeserver has to ask for it.
	fetched bool
}

// recorded reports whether nothing is expected of the homeserver: what it does is recorded.
func (p probe) recorded() bool {
	switch p.id[:4] {
	case "ED15", "ED16", "ED17", "SG02", "CJ12", "CJ13":
		return true
	}
	return false
}

const (
	accept = conform.Accepted
	reject = conform.Rejected
)

// probes are all probes.
func probes() []probe {
	return slices.Concat(verificationRules(), localparts(), spellings(), entities(), canonicalJSON())
}

// verificationRules tell by which rule a homeserver verifies Ed25519.
func verificationRules() []probe {
	list := []probe{
		{id: "ED01", requirement: "CONSENSUS-ED-01", expect: reject},
		{id: "ED02", requirement: "CONSENSUS-ED-02", expect: reject},
		{id: "ED03", requirement: "CONSENSUS-ED-03", expect: reject},
		{id: "ED04", requirement: "CONSENSUS-ED-04", expect: reject},
		{id: "ED05", requirement: "CONSENSUS-ED-05", expect: reject},
		{id: "ED06", requirement: "CONSENSUS-ED-06", expect: reject},
		{id: "ED07", requirement: "CONSENSUS-ED-07", expect: reject},
		{id: "ED08", requirement: "CONSENSUS-ED-08", expect: reject},
		{id: "ED09", requirement: "CONSENSUS-ED-09", expect: reject},
		{id: "ED10", requirement: "CONSENSUS-ED-10", expect: reject},
		{id: "ED11", requirement: "CONSENSUS-ED-11", expect: reject},
		{id: "ED12", requirement: "CONSENSUS-ED-12", expect: reject},
		{id: "ED13", requirement: "CONSENSUS-ED-13", expect: reject},
		{id: "ED14", requirement: "CONSENSUS-ED-14", expect: reject},
		{id: "ED15", requirement: "CONSENSUS-ED-15", expect: accept},
		{id: "ED16", requirement: "CONSENSUS-ED-16", expect: accept},
		{id: "ED17", requirement: "CONSENSUS-ED-17", expect: accept},
		{id: "ED18", requirement: "CONSENSUS-ED-18", expect: reject},
		{id: "ED19", requirement: "CONSENSUS-ED-19", expect: reject},
		{id: "ED20", requirement: "CONSENSUS-ED-20", expect: reject},
		{id: "ED21", requirement: "CONSENSUS-ED-21", expect: reject},
		{id: "ED22", requirement: "CONSENSUS-ED-22", expect: reject},
		{id: "ED23", requirement: "CONSENSUS-ED-23", expect: reject},
	}
	cases := map[string]edge.Case{}
	for _, e := range edge.Probes() {
		cases[e.ID] = e.Case
	}
	for i := range list {
		list[i].forgery.Edge = cases[list[i].id]
	}
	return list
}

// localpart has an event sent by a user whose localpart is another text than the key's.
func localpart(text string) fakeserver.Forgery {
	return fakeserver.Forgery{Sender: "@" + text + ":{domain}"}
}

// localparts are spellings of account keys.
func localparts() []probe {
	return []probe{
		{id: "LP01", requirement: "CONSENSUS-LP-01", expect: reject, forgery: localpart("{alias-1}")},
		{id: "LP02", requirement: "CONSENSUS-LP-02", expect: reject, forgery: localpart("{alias-2}")},
		{id: "LP03", requirement: "CONSENSUS-LP-03", expect: reject, forgery: localpart("{alias-3}")},
		{id: "LP04", requirement: "CONSENSUS-LP-04", expect: reject, forgery: localpart("{std-key}")},
		{id: "LP05", requirement: "CONSENSUS-LP-05", expect: reject, forgery: localpart("{mixed-key}")},
		{id: "LP06", requirement: "CONSENSUS-LP-06", expect: reject, forgery: localpart("{key}=")},
		{id: "LP07", requirement: "CONSENSUS-LP-07", expect: reject, forgery: localpart("{key}....")},
		{id: "LP08", requirement: "CONSENSUS-LP-08", expect: reject, forgery: localpart("{key}\n")},
		{id: "LP09", requirement: "CONSENSUS-LP-09", expect: reject, forgery: localpart("{key-31}")},
		{id: "LP10", requirement: "CONSENSUS-LP-10", expect: reject, forgery: localpart("{key-33}")},
		{id: "LP11", requirement: "CONSENSUS-LP-11", expect: reject, forgery: localpart("")},
		{id: "LP12", requirement: "CONSENSUS-LP-12", expect: reject, forgery: localpart("{lower-key}")},
	}
}

// spellings are spellings of signatures.
func spellings() []probe {
	return []probe{
		{id: "SG01", requirement: "CONSENSUS-SG-01", expect: reject, forgery: fakeserver.Forgery{SignatureEncoding: fakeserver.URLSafeBase64}},
		{id: "SG02", requirement: "CONSENSUS-SG-02", expect: accept, forgery: fakeserver.Forgery{SignatureEncoding: fakeserver.PaddedBase64}},
		{id: "SG03", requirement: "CONSENSUS-SG-03", expect: reject, forgery: fakeserver.Forgery{SignatureEncoding: fakeserver.TrailingBitsBase64}},
		{id: "SG04", requirement: "CONSENSUS-SG-04", expect: reject, forgery: fakeserver.Forgery{SignatureEncoding: fakeserver.DotsInBase64}},
		{id: "SG05", requirement: "CONSENSUS-SG-05", expect: reject, forgery: fakeserver.Forgery{SignatureEncoding: fakeserver.NewlineInBase64}},
		{id: "SG06a", requirement: "CONSENSUS-SG-06", expect: reject, forgery: fakeserver.Forgery{SignatureCut: 1}},
		{id: "SG06b", requirement: "CONSENSUS-SG-06", expect: reject, forgery: fakeserver.Forgery{SignatureAdd: 1}},
	}
}

// beside files a value of somebody else beside the sender's signature.
func beside(value string) fakeserver.Forgery {
	return fakeserver.Forgery{ExtraSignatures: []fakeserver.Signature{{Entity: "x", KeyID: "ed25519:1", JSON: value}}}
}

// entities are places where a signature is filed, and what is filed beside it.
func entities() []probe {
	return []probe{
		{id: "SE01", requirement: "CONSENSUS-SE-01", expect: reject, forgery: fakeserver.Forgery{SignatureEntity: "@{key}:{domain}"}},
		{id: "SE02", requirement: "CONSENSUS-SE-02", expect: reject, forgery: fakeserver.Forgery{SignatureEntity: "{std-key}"}},
		{id: "SE03", requirement: "CONSENSUS-SE-03", expect: reject, forgery: fakeserver.Forgery{SignatureEntity: "{domain}"}},
		{id: "SE04", requirement: "CONSENSUS-SE-04", expect: reject, forgery: fakeserver.Forgery{SignatureKeyID: "ed25519:2"}},
		{id: "SE05", requirement: "CONSENSUS-SE-05", expect: accept, forgery: beside(`"!"`)},
		{id: "SE06", requirement: "CONSENSUS-SE-06", expect: accept, forgery: beside(`5`)},
		{id: "SE07", requirement: "CONSENSUS-SE-07", expect: accept, forgery: fakeserver.Forgery{LateEdits: []fakeserver.Edit{{Path: "signatures.x", JSON: "[]"}}}},
	}
}

// content gives an event a property of its content as it is written.
func content(json string) fakeserver.Forgery {
	return fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.n", JSON: json}}}
}

// nested are arrays in one another.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// canonicalJSON are documents whose canonical form differs between implementations, or that have none.
func canonicalJSON() []probe {
	return []probe{
		{id: "CJ01", requirement: "CONSENSUS-CJ-01", expect: accept, levels: `"a\"b":0`},
		{id: "CJ02", requirement: "CONSENSUS-CJ-02", expect: accept, levels: `"a\\b":0`},
		{id: "CJ03", requirement: "CONSENSUS-CJ-03", expect: accept, levels: `"a\nb":0`},
		{id: "CJ04", requirement: "CONSENSUS-CJ-04", expect: reject, forgery: content("-0")},
		{id: "CJ05", requirement: "CONSENSUS-CJ-05", expect: reject, forgery: content("0.0")},
		{id: "CJ06", requirement: "CONSENSUS-CJ-06", expect: reject, forgery: content("1E3")},
		{id: "CJ07", requirement: "CONSENSUS-CJ-07", expect: reject, forgery: content("9007199254740992")},
		{id: "CJ08", requirement: "CONSENSUS-CJ-08", expect: reject, forgery: content(`"\ud800"`), fetched: true},
		{id: "CJ09", requirement: "CONSENSUS-CJ-09", expect: reject, forgery: content("\"\xff\""), fetched: true},
		{id: "CJ10", requirement: "CONSENSUS-CJ-10", expect: accept, levels: "\"\U00010000\":0,\"\uffff\":0"},
		{id: "CJ11", requirement: "CONSENSUS-CJ-11", expect: accept, forgery: fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "SENDER", JSON: `"{victim}"`}}}},
		{id: "CJ12a", requirement: "CONSENSUS-CJ-12", expect: accept, forgery: content(nested(100))},
		{id: "CJ12b", requirement: "CONSENSUS-CJ-12", expect: accept, forgery: content(nested(200))},
		{id: "CJ12c", requirement: "CONSENSUS-CJ-12", expect: reject, forgery: content(nested(1000)), fetched: true},
		{id: "CJ13", requirement: "CONSENSUS-CJ-13", expect: reject, forgery: content(`1,"n":2`)},
	}
}

// batches deals the probes into batches. A homeserver's next event cites only so many others, and the
// state at it is where a probe is looked for; so a batch is small. Power levels take one place in the
// state, and what cannot be sent comes on another path, so that these are batches of one.
func batches(all []probe) [][]probe {
	const size = 6
	var dealt [][]probe
	var open []probe
	for _, p := range all {
		if p.levels != "" || p.fetched {
			dealt = append(dealt, []probe{p})
			continue
		}
		if open = append(open, p); len(open) == size {
			dealt, open = append(dealt, open), nil
		}
	}
	if len(open) > 0 {
		dealt = append(dealt, open)
	}
	return dealt
}
