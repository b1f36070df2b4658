package room

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/matrix/edge"
)

// What other homeservers accept because the libraries that they are made of do: other rules of Ed25519
// (D-10), other spellings of base64 (D-08, D-09), and other readings of JSON. Each is looked at only for an
// event that the honest check has refused, or is about to accept, and only where it would come to another
// outcome.

// readEvent reads an event that another server has sent.
func (g *Engine) readEvent(v matrix.RoomVersion, pdu []byte) (*matrix.Event, error) {
	e, err := matrix.ParseEvent(v, pdu)
	if errors.Is(err, matrix.ErrNotCanonical) {
		if read, ok := g.readOtherwise(pdu, err); ok {
			return matrix.ParseEvent(v, read)
		}
	}
	return e, err
}

// readOtherwise makes canonical JSON of an event that has none, as parsers do that are not strict.
func (g *Engine) readOtherwise(pdu []byte, refusal error) ([]byte, bool) {
	if read, err := matrix.LenientCanonicalJSON(pdu); err == nil {
		if _, err := matrix.CanonicalJSON(read); err != nil {
			// The number that the probe has; a parser would do it with any.
			clamped := bytes.ReplaceAll(read, []byte(":9007199254740992"), []byte(":9007199254740991"))
			return clamped, !bytes.Equal(clamped, read) && g.Defects.Has("ClampLargeNumbers")
		}
		if strings.Contains(refusal.Error(), "duplicate key") {
			return read, g.Defects.Has("TakeTheLastOfDuplicateKeys")
		}
		return read, g.Defects.Has("ReadNumbersLeniently")
	}
	if read, err := matrix.CanonicalJSON(repaired(pdu)); err == nil {
		return read, g.Defects.Has("RepairText")
	}
	return nil, false
}

// repaired is a document in which what is no text has become U+FFFD, as encoding/json has it.
func repaired(document []byte) []byte {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return text
}

// signedOtherwise reports whether the sender's signature is good by another rule.
func (g *Engine) signedOtherwise(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	value := gjson.GetBytes(e.JSON(), "signatures."+gjson.Escape(text)+"."+gjson.Escape(string(matrix.AccountKeyID)))
	if value.Type != gjson.String {
		return false
	}
	if _, err := matrix.ParseAccountKey(text); err != nil && g.Defects.Has("AcceptWhatIsNoKey") {
		return true
	}
	key, err := matrix.DecodeURLBase64(text)
	if err != nil {
		return g.signedByJunk(e, text)
	}
	signature, err := matrix.DecodeBase64Padded(value.Str)
	if err != nil {
		return g.speltOtherwise(e, key, value.Str)
	}
	good := func(rule string) bool {
		r, known := edge.RuleByID(rule)
		return known && r.Verify(key, e.SigningBytes(), signature)
	}
	return good("go") && g.Defects.Has("VerifyAsGo") ||
		good("canonical-key") && g.Defects.Has("VerifyWithCanonicalKeys") ||
		good("unbounded-s") && g.Defects.Has("VerifyWithAnyS") ||
		good("cofactor-4") && g.Defects.Has("VerifyUpToOrderFour") ||
		good("cofactored") && g.Defects.Has("VerifyWithCofactor") ||
		good("zip215") && g.Defects.Has("VerifyAsZIP215")
}

// speltOtherwise reports whether a signature is good when it is decoded leniently.
func (g *Engine) speltOtherwise(e *matrix.Event, key []byte, value string) bool {
	good := func(text string) bool {
		signature, ok := lenientBytes(text)
		return ok && matrix.VerifyStrict(key, e.SigningBytes(), signature) == nil
	}
	kept := onlyBase64(value)
	switch {
	case kept != value && good(kept):
		return g.Defects.Has("SkipJunkInSignatures")
	case strings.ContainsAny(value, "-_") && good(value):
		return g.Defects.Has("TakeURLSafeSignatures")
	case good(value):
		return g.Defects.Has("IgnoreUnusedBitsOfSignatures")
	}
	return false
}

// signedByJunk reports whether a localpart is an account key once other characters are left out.
func (g *Engine) signedByJunk(e *matrix.Event, text string) bool {
	key, ok := lenientBytes(onlyBase64(text))
	return ok && onlyBase64(text) != text && e.VerifySignature(text, matrix.AccountKeyID, key) == nil &&
		g.Defects.Has("SkipJunkInLocalparts")
}

// onlyBase64 leaves out what belongs to no alphabet of base64.
func onlyBase64(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("+/-_=", r)) {
			return r
		}
		return -1
	}, text)
}

// refusedElsewhere refuses events that are as they should be, and that some implementations cannot read.
func (g *Engine) refusedElsewhere(e *matrix.Event) error {
	own := "signatures." + gjson.Escape(e.Sender().Localpart()) + "." + gjson.Escape(string(matrix.AccountKeyID))
	switch {
	case ofMixedOrder(e.Sender()) && g.Defects.Has("RequireKeysOfPrimeOrder"):
		return errors.New("the sender's key has a part of small order")
	case badlySignedByOthers(e) && g.Defects.Has("RefuseWhatOthersSigned"):
		return errors.New("a signature of somebody else is not base64")
	case strings.HasSuffix(gjson.GetBytes(e.JSON(), own).Str, "=") && g.Defects.Has("RefusePaddedSignatures"):
		return errors.New("the signature is padded")
	case bytes.Contains(e.SigningBytes(), []byte(`\`)) && g.Defects.Has("WriteKeysUnescaped"):
		return errors.New("the signature covers other bytes")
	case bytes.ContainsFunc(e.SigningBytes(), func(r rune) bool { return r > 0xffff }) && g.Defects.Has("SortKeysByUTF16"):
		return errors.New("the signature covers other bytes")
	case gjson.GetBytes(e.JSON(), "SENDER").Exists() && g.Defects.Has("FoldPropertyNames"):
		return errors.New("the sender is somebody else")
	case depth(e.Content()) > 127 && g.Defects.Has("RefuseDeepEvents"):
		return errors.New("the event nests too deep")
	}
	return nil
}

// ofMixedOrder reports whether an account key has a part of small order.
func ofMixedOrder(u matrix.UserID) bool {
	key, err := u.AccountKey()
	return err == nil && edge.HasTorsion(key[:])
}

// badlySignedByOthers reports whether what is filed beside the sender's signature is no signature.
func badlySignedByOthers(e *matrix.Event) (bad bool) {
	gjson.GetBytes(e.JSON(), "signatures").ForEach(func(_, entity gjson.Result) bool {
		bad = bad || !entity.IsObject()
		entity.ForEach(func(_, value gjson.Result) bool {
			_, err := matrix.DecodeBase64Padded(value.Str)
			bad = bad || value.Type != gjson.String || err != nil
			return true
		})
		return true
	})
	return bad
}

// depth is how deep canonical JSON nests.
func depth(document []byte) (deepest int) {
	open, text := 0, false
	for i, c := range document {
		switch {
		case c == '"' && (i == 0 || document[i-1] != '\\'):
			text = !text
		case text:
		case c == '[' || c == '{':
			open++
			deepest = max(deepest, open)
		case c == ']' || c == '}':
			open--
		}
	}
	return deepest
}

// breakDown is what becomes of a server whose code expects every account key to have 32 bytes.
func (g *Engine) breakDown(ctx context.Context, e *matrix.Event) {
	key, ok := lenientBytes(e.Sender().Localpart())
	if !ok || len(key) == 32 || !e.Version().HasAccountKeys() {
		return
	}
	if g.Defects.Has("PanicAtOddKeys") {
		panic("an account key has not 32 bytes")
	}
	if len(key) == 33 && g.Defects.Has("HangAtLongKeys") {
		<-ctx.Done()
	}
}
