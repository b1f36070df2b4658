package room

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// The mistakes that a homeserver can make with its own events: who signs them, and what they cite.

// mistakenSigners are what signs for a local user: the account key, unless a mutant has it otherwise.
func (g *Engine) mistakenSigners(local matrix.UserID, account matrix.Signer) []matrix.Signer {
	switch {
	case strings.HasPrefix(local.Localpart(), "guest-") && g.Defects.Has("SignForGuestsWithTheServerKey"),
		g.Defects.Has("SignWithTheServerKey"):
		return []matrix.Signer{g.ServerKey}
	case g.Defects.Has("SignWithTheServerKeyToo"):
		return []matrix.Signer{g.ServerKey, account}
	case g.Defects.Has("SignUnderTheDomain"):
		account.Entity = string(g.ServerName)
	case g.Defects.Has("SignUnderAnotherKeyID"):
		account.KeyID = "ed25519:auto"
	case g.Defects.Has("SignUnderStandardBase64"):
		account.Entity = standardAlphabet(account.Entity)
	}
	return []matrix.Signer{account}
}

// inURLSafeBase64 is an event with its signatures in the base64 of keys.
func (g *Engine) inURLSafeBase64(e *matrix.Event) (*matrix.Event, error) {
	raw := e.JSON()
	for _, entity := range e.SignatureEntities() {
		for _, id := range e.SignatureKeyIDs(entity) {
			value := gjson.GetBytes(raw, "signatures."+gjson.Escape(entity)+"."+gjson.Escape(string(id))).Str
			changed, err := matrix.PutSignature(raw, entity, id, strings.NewReplacer("+", "-", "/", "_").Replace(value))
			if err != nil {
				return nil, err
			}
			raw = changed
		}
	}
	return matrix.ParseEvent(e.Version(), raw)
}

// mistakenAuthEvents are the auth events of an event of ours, with more or fewer than are needed.
func (g *Engine) mistakenAuthEvents(r *liveRoom, p matrix.ProtoEvent) []string {
	if p.StateKey == nil && g.Defects.Has("CiteTheCreateEvent") {
		return append(slices.Clone(p.AuthEvents), r.create.ID())
	}
	if r.version.Identity == matrix.ServerKeyIdentity && p.Type != matrix.ParticipationType && p.Type != "m.room.member" && g.Defects.Has("CiteNoParticipation") {
		own := r.current.Get(matrix.ParticipationPlace(p.Sender.Domain()))
		return slices.DeleteFunc(slices.Clone(p.AuthEvents), func(id string) bool { return id == own })
	}
	rules := r.current.Get(matrix.StateTuple{Type: "m.room.join_rules"})
	if p.Type != "m.room.member" && rules != "" && g.Defects.Has("CiteTheJoinRulesAlways") {
		return append(slices.Clone(p.AuthEvents), rules)
	}
	return p.AuthEvents
}

// citesTooMuch reports whether a mutant does not see that its own auth events are wrong.
func (g *Engine) citesTooMuch() bool {
	return g.Defects.Has("CiteNoParticipation") || g.Defects.Has("CiteTheCreateEvent") || g.Defects.Has("CiteTheJoinRulesAlways")
}

// signersOf are what signs an event of a local user.
func (g *Engine) signersOf(v matrix.RoomVersion, a actor, eventType string) []matrix.Signer {
	switch {
	case eventType == matrix.ParticipationType:
		return a.signers // nobody would come into the room without these
	case v.Identity == matrix.ServerKeyIdentity:
		return g.mistakenServerSigners(a.signers[0])
	case v.HasPortableAccounts():
		return g.mistakenPortableSigners(a.signers[0], a.signers[1])
	}
	return a.signers
}

// mistakenServerSigners are what signs for users of a room of MSC4345: the server key.
func (g *Engine) mistakenServerSigners(server matrix.Signer) []matrix.Signer {
	switch {
	case g.Defects.Has("SignWithTheDomainsKey"):
		return []matrix.Signer{g.ServerKey}
	case g.Defects.Has("SignWithTheDomainsKeyToo"):
		return []matrix.Signer{server, g.ServerKey}
	case g.Defects.Has("FileServerSignaturesUnderTheDomain"):
		server.Entity = string(g.ServerName)
	case g.Defects.Has("GiveServerKeysAnotherID"):
		server.KeyID = "ed25519:auto"
	}
	return []matrix.Signer{server}
}

// mistakenPortableSigners are what signs for users of a room of MSC4348: the server key and the account key.
func (g *Engine) mistakenPortableSigners(server, account matrix.Signer) []matrix.Signer {
	switch {
	case g.Defects.Has("LeaveTheAccountOut"):
		return []matrix.Signer{server}
	case g.Defects.Has("LeaveTheServerOut"):
		return []matrix.Signer{account}
	case g.Defects.Has("GiveAccountKeysAnotherID"):
		account.KeyID = "ed25519:auto"
	case g.Defects.Has("CosignWithTheDomainsKey"):
		return []matrix.Signer{g.ServerKey, account}
	}
	return []matrix.Signer{server, account}
}

// cosignedWhole is an event whose server signature covers everything, not its redacted form.
func (g *Engine) cosignedWhole(e *matrix.Event, server matrix.Signer) (*matrix.Event, error) {
	signed, err := matrix.SignJSON(e.JSON(), server)
	if err != nil {
		return nil, err
	}
	return matrix.ParseEvent(e.Version(), signed)
}
