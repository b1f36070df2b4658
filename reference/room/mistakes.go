package room

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
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
