// Package edge makes signatures on which implementations of Ed25519 disagree, and says by which rule
// which of them are accepted. MSC4243 lets anybody choose an account key, and with it which verifiers
// accept their events ("Impacts on key validity").
package edge

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// Case is an edge case of Ed25519: a signature that some verifiers accept and others do not. The zero
// value is an ordinary signature.
//
// The points of the curve are those of a group of prime order, each of which can have one of eight
// points of small order (the torsion) added. Let B be the base point, T a point of order 8, a and r
// the scalars of the key and of the signature's nonce, k the hash of R, A and the message:
//
//	A = a·B + KeyTorsion·T    R = r·B + RTorsion·T    S = r + k·a
//
// Verifiers that multiply by the cofactor accept all of these; those that do not accept them when
// RTorsion + k·KeyTorsion is a multiple of 8. The master branch of libsodium (7014b204, the 1.0.23 to be)
// accepts them when it is even: the two sides of the equation may differ by a point of order 4, but not 8.
type Case struct {
	// KeyTorsion is the torsion of the key, 0 to 7.
	KeyTorsion int
	// KeyBytes, in hexadecimal, is the key's encoding. It need not be canonical nor on the curve. A key
	// that has no small order has no known private key, and so an arbitrary signature.
	KeyBytes string
	// RTorsion is the torsion of the nonce point, 0 to 7.
	RTorsion int
	// RZero makes the nonce 0, so that R is nothing but its torsion.
	RZero bool
	// RBytes, in hexadecimal, replaces the encoding of R.
	RBytes string
	// Misfit chooses the nonce so that RTorsion + k·KeyTorsion is not a multiple of 8.
	Misfit bool
	// MisfitBy, 1 to 7, asks for that remainder in a misfit: it decides of which order the point is by which
	// the two sides of the equation differ. 0 takes any.
	MisfitBy int
	// Hash asks for a hash that tells apart verifiers which do not reduce it by the group order.
	Hash HashFit
	// AddL adds as many times the group order to S.
	AddL int
}

// HashFit is a property of the hash before and after it is reduced by the group order.
type HashFit int

// The properties of a hash that an edge case can ask for.
const (
	// AnyHash asks for nothing.
	AnyHash HashFit = iota
	// OnlyReducedFits is a multiple of 8 after the reduction and not before.
	OnlyReducedFits
	// OnlyUnreducedFits is a multiple of 8 before the reduction and not after.
	OnlyUnreducedFits
)

// ChangesKey reports whether the edge case is one of the key.
func (c Case) ChangesKey() bool { return c.KeyTorsion != 0 || c.KeyBytes != "" }

// orderEight is a point of order 8.
const orderEight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"

// ErrUnfit is the error of an edge case that this message does not allow; another one may.
var ErrUnfit = errors.New("the message does not allow the edge case")

// maxNonces bounds the search for a nonce; one in eight or sixty-four fits.
const maxNonces = 10000

// edgeKey is a key of an edge case.
type edgeKey struct {
	encoding [32]byte
	scalar   *edwards25519.Scalar // nil when it is not known
	torsion  int
}

// torsion is the multiples of a point of order 8.
func torsion() ([8]*edwards25519.Point, error) {
	var multiples [8]*edwards25519.Point
	raw, err := hex.DecodeString(orderEight)
	if err != nil {
		return multiples, err
	}
	t, err := new(edwards25519.Point).SetBytes(raw)
	if err != nil {
		return multiples, err
	}
	multiples[0] = edwards25519.NewIdentityPoint()
	for i := 1; i < 8; i++ {
		multiples[i] = new(edwards25519.Point).Add(multiples[i-1], t)
	}
	return multiples, nil
}

// privateScalar is the scalar of an ordinary key.
func privateScalar(key ed25519.PrivateKey) (*edwards25519.Scalar, error) {
	h := sha512.Sum512(key.Seed())
	return new(edwards25519.Scalar).SetBytesWithClamping(h[:32])
}

// derive derives the edge case's key from an ordinary one.
func (c Case) derive(ordinary ed25519.PrivateKey) (edgeKey, error) {
	var k edgeKey
	multiples, err := torsion()
	if err != nil {
		return k, err
	}
	if c.KeyBytes != "" {
		raw, err := hex.DecodeString(c.KeyBytes)
		if err != nil || len(raw) != 32 {
			return k, fmt.Errorf("Case.KeyBytes %q is not 32 bytes in hexadecimal", c.KeyBytes)
		}
		copy(k.encoding[:], raw)
		point, err := new(edwards25519.Point).SetBytes(raw)
		if err != nil {
			return k, nil // not on the curve
		}
		for i, t := range multiples {
			if point.Equal(t) == 1 {
				k.scalar, k.torsion = edwards25519.NewScalar(), i
			}
		}
		return k, nil
	}
	if k.scalar, err = privateScalar(ordinary); err != nil {
		return k, err
	}
	k.torsion = c.KeyTorsion & 7
	point := new(edwards25519.Point).ScalarBaseMult(k.scalar)
	copy(k.encoding[:], point.Add(point, multiples[k.torsion]).Bytes())
	return k, nil
}

// Key is the public key of the edge case, for whatever it is worth; ordinary is the private key that it
// is derived from where it has one.
func (c Case) Key(ordinary ed25519.PrivateKey) ([ed25519.PublicKeySize]byte, error) {
	k, err := c.derive(ordinary)
	return k.encoding, err
}

// Sign makes the edge case's signature of a message: always the same one. ordinary is the private key
// that the case's key is derived from where it has one. The error is ErrUnfit when there is none for this
// message.
func (c Case) Sign(ordinary ed25519.PrivateKey, message []byte) ([]byte, error) {
	key, err := c.derive(ordinary)
	if err != nil {
		return nil, err
	}
	if key.scalar == nil {
		return ed25519.Sign(ordinary, message), nil
	}
	multiples, err := torsion()
	if err != nil {
		return nil, err
	}
	for i := range uint32(maxNonces) {
		r := edwards25519.NewScalar()
		if !c.RZero {
			if r, err = c.nonce(ordinary, message, i); err != nil {
				return nil, err
			}
		}
		nonce := new(edwards25519.Point).ScalarBaseMult(r)
		encoded := nonce.Add(nonce, multiples[c.RTorsion&7]).Bytes()
		if c.RBytes != "" {
			if encoded, err = hex.DecodeString(c.RBytes); err != nil || len(encoded) != 32 {
				return nil, fmt.Errorf("Case.RBytes %q is not 32 bytes in hexadecimal", c.RBytes)
			}
		}
		hash := sha512.New()
		hash.Write(encoded)
		hash.Write(key.encoding[:])
		hash.Write(message)
		sum := hash.Sum(nil)
		k, err := new(edwards25519.Scalar).SetUniformBytes(sum)
		if err != nil {
			return nil, err
		}
		if c.fits(key, k, sum) {
			s := new(edwards25519.Scalar).MultiplyAdd(k, key.scalar, r).Bytes()
			return append(encoded, addOrder(s, c.AddL)...), nil
		}
		if c.RZero {
			return nil, ErrUnfit
		}
	}
	return nil, fmt.Errorf("no nonce among %d makes the edge case", maxNonces)
}

func (c Case) fits(key edgeKey, k *edwards25519.Scalar, hash []byte) bool {
	reduced, unreduced := int(k.Bytes()[0]&7), int(hash[0]&7)
	misfit := (c.RTorsion + reduced*key.torsion) % 8
	if c.MisfitBy != 0 && misfit != c.MisfitBy {
		return false
	}
	switch c.Hash {
	case OnlyReducedFits:
		return reduced == 0 && unreduced != 0
	case OnlyUnreducedFits:
		return reduced != 0 && unreduced == 0
	}
	return (misfit != 0) == c.Misfit
}

// nonce is the scalar of an attempt's nonce. Like that of ordinary signatures it follows from the
// private key and the message, and from the case too: two cases must not share one, which would give
// the key away.
func (c Case) nonce(ordinary ed25519.PrivateKey, message []byte, attempt uint32) (*edwards25519.Scalar, error) {
	prefix := sha512.Sum512(ordinary.Seed())
	hash := sha512.New()
	hash.Write(prefix[32:])
	fmt.Fprintf(hash, "%d %s %d %t %s %t %d %d %d ", c.KeyTorsion, c.KeyBytes, c.RTorsion, c.RZero, c.RBytes, c.Misfit, c.MisfitBy, c.Hash, c.AddL)
	hash.Write(binary.BigEndian.AppendUint32(nil, attempt))
	hash.Write(message)
	return new(edwards25519.Scalar).SetUniformBytes(hash.Sum(nil))
}

// groupOrder is the order of the base point, 2^252 + 27742317777372353535851937790883648493, in
// little-endian bytes.
var groupOrder = [32]byte{
	0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
}

// addOrder adds a multiple of the group order without reducing the sum.
func addOrder(s []byte, times int) []byte {
	for range times {
		carry := 0
		for i := range s {
			carry += int(s[i]) + int(groupOrder[i])
			s[i] = byte(carry)
			carry >>= 8
		}
	}
	return s
}
