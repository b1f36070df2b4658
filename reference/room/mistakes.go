package room

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/account"
)

// The mistakes that a homeserver can make when it checks who has signed an event. Each is looked at only
// for an event that the honest check has refused, and only where the mistake would let it pass.

// mistaken reports whether an event whose sender has not signed it is to be taken all the same.
func (g *Engine) mistaken(ctx context.Context, e *matrix.Event) bool {
	if g.acceptsEverything() {
		return true
	}
	return e.Version().Identity == matrix.ServerIdentity && g.mistakenServerSignature(e) ||
		e.Version().Identity == matrix.ServerKeyIdentity && g.mistakenServer(e) ||
		e.Version().Identity == matrix.PortableIdentity && g.mistakenAccount(e) ||
		e.Version().Identity == matrix.AccountKeyIdentity && (g.mistakenSigner(e) || g.mistakenEntity(e) || g.mistakenValue(e) || g.mistakenMessage(e) || g.mistakenSender(e) || g.signedOtherwise(e)) ||
		g.mistakenTrust(ctx)
}

func (g *Engine) mistakenServerSignature(e *matrix.Event) bool {
	signed := len(e.SignatureEntities()) > 0
	return signed && g.Defects.Has("V12AcceptAnySignature") || !signed && g.Defects.Has("V12AcceptUnsigned")
}

// mistakenSigner takes somebody else's signature for the sender's.
func (g *Engine) mistakenSigner(e *matrix.Event) bool {
	entities, key := e.SignatureEntities(), e.Sender().Localpart()
	switch {
	case e.Get("third_party_invite").Exists() && g.Defects.Has("ExemptThirdPartyInvites"):
		return true
	case len(entities) == 0:
		return g.Defects.Has("AcceptUnsignedEvents")
	case g.serverSignedUnder(e, string(e.Sender().Domain())):
		return g.Defects.Has("AcceptServerKeySignature")
	case g.serverSignedUnder(e, key):
		return g.Defects.Has("AcceptServerKeyUnderAccountKey")
	case slices.ContainsFunc(entities, func(other string) bool { return other != key && signedByKey(e, other, matrix.AccountKeyID, other) }) || g.memberSigned(e):
		return g.Defects.Has("AcceptAnyAccountKey")
	case g.Directory.Lookup(e.Sender()).Name != "" && g.Defects.Has("TrustVerifiedSenders"):
		return true
	}
	return false
}

// serverSignedUnder reports whether a key of the sender's server, as far as they are known, has signed
// under an entity.
func (g *Engine) serverSignedUnder(e *matrix.Event, entity string) bool {
	for _, key := range g.Keys.KnownKeys(e.Sender().Domain()) {
		for _, id := range e.SignatureKeyIDs(entity) {
			if e.VerifySignature(entity, id, key) == nil {
				return true
			}
		}
	}
	return false
}

// memberSigned reports whether another member of the room has signed in the place of the sender.
func (g *Engine) memberSigned(e *matrix.Event) bool {
	s, err := g.CurrentState(e.RoomID())
	if err != nil {
		return false
	}
	for user := range s.OfType("m.room.member") {
		if signedByKey(e, e.Sender().Localpart(), matrix.AccountKeyID, matrix.UserID(user).Localpart()) {
			return true
		}
	}
	return false
}

// signedByKey reports whether an account key, given as text, has signed under an entity and a key ID.
func signedByKey(e *matrix.Event, entity string, id matrix.KeyID, text string) bool {
	key, err := matrix.ParseAccountKey(text)
	return err == nil && e.VerifySignature(entity, id, key.PublicKey()) == nil
}

// mistakenEntity takes the sender's signature under a name or a key ID that it does not count under.
func (g *Engine) mistakenEntity(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	for _, entity := range e.SignatureEntities() {
		for _, id := range e.SignatureKeyIDs(entity) {
			if !signedByKey(e, entity, id, text) {
				continue
			}
			_, notAKey := matrix.ParseAccountKey(entity)
			domain := string(e.Sender().Domain())
			switch {
			case entity == text && id.Algorithm() == "ed25519" || entity == text && id == "ed25519":
				return g.Defects.Has("AcceptAnyKeyID")
			case entity == text:
				return g.Defects.Has("AcceptAnyAlgorithm")
			case entity == string(e.Sender()):
				return g.Defects.Has("AcceptFullUserIDEntity")
			case entity == domain:
				return g.Defects.Has("AcceptDomainEntity")
			case entity == standardAlphabet(text):
				return g.Defects.Has("AcceptStandardBase64Entity")
			case entity == text+"=":
				return g.Defects.Has("AcceptPaddedEntity")
			case sameBytes(entity, text):
				return g.Defects.Has("AcceptOtherSpellingOfEntity")
			case notAKey == nil:
				return g.Defects.Has("AcceptUnderAnothersKey")
			}
		}
	}
	return false
}

func standardAlphabet(text string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(text)
}

// lenientBytes decodes base64 as many libraries do: both alphabets, padding, unused bits.
func lenientBytes(text string) ([]byte, bool) {
	text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	b, err := base64.RawURLEncoding.DecodeString(text)
	return b, err == nil
}

func sameBytes(a, b string) bool {
	x, okX := lenientBytes(a)
	y, okY := lenientBytes(b)
	return okX && okY && bytes.Equal(x, y)
}

// mistakenValue takes a value under the sender's key that is no signature.
func (g *Engine) mistakenValue(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	value := gjson.GetBytes(e.JSON(), "signatures."+gjson.Escape(text)+"."+gjson.Escape(string(matrix.AccountKeyID)))
	if !value.Exists() {
		return false
	}
	key, err := matrix.ParseAccountKey(text)
	if err != nil {
		return false
	}
	signature, ok := lenientBytes(value.Str)
	switch {
	case value.Type != gjson.String || !ok:
		return g.Defects.Has("AcceptUnreadableSignature")
	case len(signature) > ed25519.SignatureSize && matrix.VerifyStrict(key.PublicKey(), e.SigningBytes(), signature[:ed25519.SignatureSize]) == nil,
		len(signature) < ed25519.SignatureSize && len(signature) > 0:
		return g.Defects.Has("IgnoreSignatureLength")
	case len(signature) != ed25519.SignatureSize:
		return false
	case matrix.VerifyStrict(key.PublicKey(), e.SigningBytes(), withBit(signature, 7)) == nil,
		matrix.VerifyStrict(key.PublicKey(), e.SigningBytes(), withBit(signature, 256)) == nil:
		return g.Defects.Has("AcceptAnyValueOfASignature")
	}
	return false
}

func withBit(signature []byte, bit int) []byte {
	c := slices.Clone(signature)
	c[bit/8] ^= 1 << (bit % 8)
	return c
}

// mistakenMessage takes a signature of the sender over something else than the event.
func (g *Engine) mistakenMessage(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	key, err := matrix.ParseAccountKey(text)
	if err != nil {
		return false
	}
	if matrix.VerifyJSON(e.JSON(), text, matrix.AccountKeyID, key.PublicKey()) == nil {
		return g.Defects.Has("VerifyUnredactedEvents")
	}
	if len(e.SignatureKeyIDs(text)) == 0 {
		return false
	}
	return e.HashOK() && g.Defects.Has("TrustTheContentHash") || !e.HashOK() && g.Defects.Has("TrustWhatIsSignedAtAll")
}

// mistakenSender takes a localpart for an account key that is none, when the key that it seems to mean
// has signed.
func (g *Engine) mistakenSender(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	if _, err := matrix.ParseAccountKey(text); err == nil {
		return false
	}
	signed := func(b []byte) bool {
		return len(b) == ed25519.PublicKeySize && e.VerifySignature(text, matrix.AccountKeyID, b) == nil
	}
	url, isBase64 := lenientBytes(text)
	inHex, _ := hex.DecodeString(text)
	switch {
	case signed(inHex):
		return g.Defects.Has("AcceptHexadecimalLocalpart")
	case isBase64 && strings.HasSuffix(text, "=") && signed(url):
		return g.Defects.Has("AcceptPaddedLocalpart")
	case isBase64 && strings.ContainsAny(text, "+/") && signed(url):
		return g.Defects.Has("AcceptStandardBase64Localpart")
	case isBase64 && signed(url):
		return g.Defects.Has("AcceptUnusedBitsInLocalpart")
	case isBase64 && len(url) > ed25519.PublicKeySize && signed(url[:ed25519.PublicKeySize]):
		return g.Defects.Has("TruncateLongLocalparts")
	}
	return false
}

// trustKey marks the context of events that come by one way, and its value is the mutant that trusts
// them.
type trustKey struct{}

// trusting is the context of events that a mutant does not check.
func trusting(ctx context.Context, mutant string) context.Context {
	return context.WithValue(ctx, trustKey{}, mutant)
}

// mistakenTrust takes unsigned events that come by a way on which they are not checked.
func (g *Engine) mistakenTrust(ctx context.Context) bool {
	mutant, ok := ctx.Value(trustKey{}).(string)
	return ok && g.Defects.Has(mutant)
}

// mistakenSigners are what signs for a local user: the account key, unless a mutant has it otherwise.
func (g *Engine) mistakenSigners(account matrix.Signer) []matrix.Signer {
	switch {
	case g.Defects.Has("SignWithTheServerKey"):
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

// overlyStrict refuses events that are as they should be.
func (g *Engine) overlyStrict(ctx context.Context, e *matrix.Event) error {
	if g.Defects.None() {
		return nil
	}
	if e.Version().Identity != matrix.AccountKeyIdentity {
		return g.overlyStrictOfParticipants(ctx, e)
	}
	if err := g.refusedElsewhere(e); err != nil {
		return err
	}
	age := g.Clock().Sub(time.UnixMilli(e.OriginServerTS())).Abs()
	switch {
	case age > 7*24*time.Hour && g.Defects.Has("RefuseOldEvents"):
		return errors.New("the key of the sender was not valid at the time of the event")
	case len(e.SignatureKeyIDs(e.Sender().Localpart())) > 1 && g.Defects.Has("RefuseOtherKeyIDs"):
		return errors.New("there is a signature that cannot be checked")
	case len(e.SignatureEntities()) > 1 && e.Type() != "m.room.member" && g.Defects.Has("RefuseForeignSignatures"):
		return errors.New("there is a signature by somebody else")
	case g.Defects.Has("AskForServerKeys"):
		_, err := g.Keys.VerifyKey(ctx, e.Sender().Domain(), matrix.AccountKeyID, e.OriginServerTS())
		g.Logger.Debug("the keys of a server were asked for", "error", err)
	}
	return nil
}

// signWhatIsAsked completes a template without looking at what it is for.
func (g *Engine) signWhatIsAsked(t gjson.Result, v matrix.RoomVersion, roomID string, a actor) (*matrix.Event, error) {
	e, err := matrix.ProtoEvent{
		Type: t.Get("type").Str, StateKey: matrix.StateKey(t.Get("state_key").Str), Sender: matrix.UserID(t.Get("sender").Str),
		RoomID: t.Get("room_id").Str, Content: []byte(t.Get("content").Raw), Depth: t.Get("depth").Int(),
		OriginServerTS: g.Clock().UnixMilli(), PrevEvents: stringsOf(t.Get("prev_events")), AuthEvents: stringsOf(t.Get("auth_events")),
	}.Build(v, a.signers...)
	if err != nil {
		return nil, err
	}
	return matrix.ParseEvent(v, e.JSON())
}

// signsOthers reports whether the endpoint for invites, or that for bans, signs something else.
func (g *Engine) signsOthers(e *matrix.Event, membership string) bool {
	if _, isState := e.StateKey(); !isState {
		return false
	}
	if membership == "ban" {
		return g.Defects.Has("SignOthersThanBans")
	}
	return g.Defects.Has("SignOthersThanInvites")
}

// mistakenSubstitute is what a mutant returns for an invite or a ban of its user.
func (g *Engine) mistakenSubstitute(e *matrix.Event, a actor) (*matrix.Event, bool) {
	changed := func(stateKey string, signers ...matrix.Signer) (*matrix.Event, bool) {
		out, err := matrix.ProtoEvent{
			Type: e.Type(), StateKey: &stateKey, Sender: e.Sender(), RoomID: e.RoomID(), Content: e.Content(),
			PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
		}.Build(e.Version(), signers...)
		return out, err == nil
	}
	asked, _ := e.StateKey()
	switch {
	case e.Version().Identity != matrix.AccountKeyIdentity:
	case g.Defects.Has("ReturnTheAccountName"):
		return changed(asked, a.personal())
	case e.Membership() == "invite" && g.Defects.Has("ReturnInvitesUnsigned"):
		return changed(string(a.user))
	case e.Membership() == "ban" && g.Defects.Has("ReturnBansUnsigned"):
		return changed(string(a.user))
	case g.Defects.Has("SignInvitesWithTheServerKey"):
		return changed(string(a.user), g.ServerKey)
	case g.Defects.Has("KeepTheHashesOfInvites"):
		raw, err := sjson.SetBytes(e.JSON(), "state_key", string(a.user))
		if err != nil {
			return nil, false
		}
		out, err := matrix.ParseEvent(e.Version(), raw)
		if err != nil {
			return nil, false
		}
		return out.WithSignature(a.personal()), true
	}
	return nil, false
}

// mistakenState is a state event as a joining server is given it.
func (g *Engine) mistakenState(e *matrix.Event) json.RawMessage {
	if e.Version().Identity == matrix.AccountKeyIdentity && e.Sender().Domain() != g.ServerName && g.Defects.Has("SignTheStateAnew") {
		return e.WithSignature(g.ServerKey).JSON()
	}
	return e.JSON()
}

// isUnverified reports whether nobody has confirmed the sender of an event.
func (g *Engine) isUnverified(e *matrix.Event) bool {
	return e.Version().Identity == matrix.AccountKeyIdentity && g.Directory.Lookup(e.Sender()).State == account.Unverified
}

// InvitedOfOld answers the first version of the invite endpoint, as a mutant does: it takes the room to be
// of the version with account keys, and asks for no room state.
func (g *Engine) InvitedOfOld(ctx context.Context, origin matrix.ServerName, roomID string, event []byte) (json.RawMessage, error) {
	v, e, err := g.admitCosign(origin, roomID, "invite", CosignRequest{Event: event, RoomVersion: matrix.RoomVersionMSC4243().ID})
	if err != nil {
		return nil, err
	}
	signed, err := g.substitute(v, e)
	if err != nil {
		return nil, err
	}
	return signed.JSON(), g.noteMembership(signed, nil, origin)
}

// acceptsEverything reports whether an event that is to be refused is accepted all the same. A server that
// crashes on such events does so now.
func (g *Engine) acceptsEverything() bool {
	if g.Defects.Has("CrashesOnAForgery") && g.Crash != nil {
		g.Crash()
	}
	return g.Defects.Has("AcceptsEveryEvent")
}

// citesTooMuch reports whether a mutant does not see that its own auth events are wrong.
func (g *Engine) citesTooMuch() bool {
	return g.Defects.Has("CiteNoParticipation") || g.Defects.Has("CiteTheCreateEvent") || g.Defects.Has("CiteTheJoinRulesAlways")
}

// neglects reports whether an event is not built upon because its sender is unverified.
func (g *Engine) neglects(e *matrix.Event) bool {
	return g.isUnverified(e) && g.Defects.Has("DoNotBuildOnUnverifiedUsers")
}

// mistakenRefusal is what a mutant makes of the check of an event against the current state. It looks
// accounts up, and is no part of a transaction.
func (g *Engine) mistakenRefusal(e *matrix.Event, refusal error) error {
	switch {
	case refusal == nil && g.isUnverified(e) && g.Defects.Has("SoftFailUnverifiedUsers"):
		return errors.New("the sender is unverified")
	case refusal == nil:
		return nil
	case g.acceptsEverything() || g.Defects.Has("NeverSoftFail") || g.takesLate(refusal),
		g.isUnverified(e) && g.Defects.Has("NeverSoftFailUnverifiedUsers"):
		return nil
	}
	return refusal
}

// oldest is the state that was stored first.
func oldest(states []State) State {
	return slices.MinFunc(states, func(a, b State) int { return cmp.Compare(a.group-1, b.group-1) }) // 0 is not stored yet
}
