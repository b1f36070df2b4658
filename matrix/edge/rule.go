package edge

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"

	"filippo.io/edwards25519"
)

// Rule is a way to verify Ed25519 signatures: the choices that RFC 8032 leaves open, or that libraries
// make otherwise. The zero Rule is no rule; see [Rules].
type Rule struct {
	// ID names the rule in reports and file names.
	ID string
	// Sentence says what the rule accepts, and who follows it.
	Sentence string
	// Cofactor is the number by which the difference of the two sides of the equation R = S·B − k·A is
	// multiplied before it is compared with nothing: 1 compares the encoding of R, 8 is the cofactor of
	// the curve.
	Cofactor int
	// SmallOrderKey accepts keys of small order, for which anybody can sign.
	SmallOrderKey bool
	// SmallOrderR accepts an R of small order.
	SmallOrderR bool
	// NonCanonicalKey accepts keys whose encodings are not canonical: y not below p, or a sign of zero.
	NonCanonicalKey bool
	// NonCanonicalR accepts such an R. With Cofactor 1 the comparison of encodings refuses it anyway.
	NonCanonicalR bool
	// LargeS accepts an S that is not below the group order.
	LargeS bool
}

// Strict is the ID of the rule that the suite recommends; see [matrix.VerifyStrict].
const Strict = "strict"

// Rules are the rules that libraries are known to follow, the recommended one first. The libraries that
// follow a rule are measured in countersign/vectors/verify.
func Rules() []Rule {
	return []Rule{
		{ID: Strict, Cofactor: 1,
			Sentence: "Without cofactor; S below the group order, canonical encodings, no key and no R of small order."},
		{ID: "go", Cofactor: 1, SmallOrderKey: true, SmallOrderR: true, NonCanonicalKey: true,
			Sentence: "Without cofactor; S below the group order; any key that decodes, of small order and non-canonical ones included."},
		{ID: "canonical-key", Cofactor: 1, SmallOrderKey: true, SmallOrderR: true,
			Sentence: "Without cofactor; S below the group order; canonical keys, those of small order included."},
		{ID: "unbounded-s", Cofactor: 1, SmallOrderKey: true, SmallOrderR: true, NonCanonicalKey: true, LargeS: true,
			Sentence: "Without cofactor; any S and any key that decodes."},
		{ID: "cofactor-4", Cofactor: 4,
			Sentence: "The two sides may differ by a point of order 1, 2 or 4, but not 8; otherwise as the strict rule."},
		{ID: "cofactored", Cofactor: 8, SmallOrderR: true,
			Sentence: "With cofactor; S below the group order, canonical encodings, no key of small order; an R of small order is good."},
		{ID: "zip215", Cofactor: 8, SmallOrderKey: true, SmallOrderR: true, NonCanonicalKey: true, NonCanonicalR: true,
			Sentence: "With cofactor; S below the group order; every key and every R that decodes."},
	}
}

// RuleByID finds a rule.
func RuleByID(id string) (Rule, bool) {
	for _, r := range Rules() {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}

// Verify reports whether the rule accepts a signature of a message.
func (r Rule) Verify(key, message, signature []byte) bool {
	if len(key) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize {
		return false
	}
	a, ok := decode(key, r.NonCanonicalKey, r.SmallOrderKey)
	if !ok {
		return false
	}
	s, ok := r.scalar(signature[32:])
	if !ok {
		return false
	}
	hash := sha512.New()
	hash.Write(signature[:32])
	hash.Write(key)
	hash.Write(message)
	k, err := new(edwards25519.Scalar).SetUniformBytes(hash.Sum(nil))
	if err != nil {
		return false
	}
	want := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(k, a.Negate(a), s)
	if r.Cofactor == 1 {
		return bytes.Equal(want.Bytes(), signature[:32]) && (r.SmallOrderR || !smallOrder(want))
	}
	nonce, ok := decode(signature[:32], r.NonCanonicalR, r.SmallOrderR)
	if !ok {
		return false
	}
	difference := want.Subtract(nonce, want)
	for times := r.Cofactor; times > 1; times /= 2 {
		difference.Add(difference, difference)
	}
	return difference.Equal(edwards25519.NewIdentityPoint()) == 1
}

// scalar reads S, which B being of the group order may be reduced by it.
func (r Rule) scalar(encoded []byte) (*edwards25519.Scalar, bool) {
	if !r.LargeS {
		s, err := new(edwards25519.Scalar).SetCanonicalBytes(encoded)
		return s, err == nil
	}
	s, err := new(edwards25519.Scalar).SetUniformBytes(append(bytes.Clone(encoded), make([]byte, 32)...))
	return s, err == nil
}

// decode reads a point.
func decode(encoded []byte, nonCanonical, small bool) (*edwards25519.Point, bool) {
	point, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil || !nonCanonical && !bytes.Equal(point.Bytes(), encoded) || !small && smallOrder(point) {
		return nil, false
	}
	return point, true
}

func smallOrder(p *edwards25519.Point) bool {
	return new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1
}

// HasTorsion reports whether a point has a part of small order: whether the group order times the point is
// something else than nothing. What is no point has none.
func HasTorsion(encoded []byte) bool {
	point, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil {
		return false
	}
	// The order is 0 as a scalar, so that it takes the one below and another point.
	minusOne := new(edwards25519.Scalar).Negate(one())
	times := new(edwards25519.Point).ScalarMult(minusOne, point)
	return times.Add(times, point).Equal(edwards25519.NewIdentityPoint()) != 1
}

func one() *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		panic(err) // 1 is below the group order
	}
	return s
}
