package matrix

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"filippo.io/edwards25519"
)

// Reasons for which Ed25519 keys and signatures are refused.
var (
	ErrKeyLength       = errors.New("an Ed25519 public key is 32 bytes")
	ErrKeyNotCanonical = errors.New("the public key is not the canonical encoding of a curve point")
	ErrKeySmallOrder   = errors.New("the public key has small order: anyone can sign for it")
	ErrSignatureLength = errors.New("an Ed25519 signature is 64 bytes")
	ErrSignatureR      = errors.New("the signature's R has small order or is not canonically encoded")
	ErrSignature       = errors.New("the signature does not verify")
)

// VerifyStrict checks an Ed25519 signature by the rule that the suite recommends for account keys,
// which attackers choose: the key and R are canonical encodings and not of small order, S is below
// the group order, and the equation holds without multiplying by the cofactor. libsodium up to
// 1.0.22 and dalek's verify_strict agree with it on every event of the edge-case vectors.
func VerifyStrict(key, message, signature []byte) error {
	if err := checkKeyEncoding(key); err != nil {
		return err
	}
	if len(signature) != ed25519.SignatureSize {
		return ErrSignatureLength
	}
	if r := signature[:32]; !canonicalY(r) || smallOrder(r) {
		return ErrSignatureR
	}
	// crypto/ed25519 does the rest: S < L, the key decodes to a point, and a byte comparison of R.
	if !ed25519.Verify(key, message, signature) {
		return ErrSignature
	}
	return nil
}

// CheckPublicKey reports why b cannot be an account key: wrong length, a non-canonical encoding, no
// point of the curve, or a point of small order.
func CheckPublicKey(b []byte) error {
	if err := checkKeyEncoding(b); err != nil {
		return err
	}
	if _, err := new(edwards25519.Point).SetBytes(b); err != nil {
		return ErrKeyNotCanonical
	}
	return nil
}

// checkKeyEncoding is CheckPublicKey without decompressing the point, which ed25519.Verify does
// anyway.
func checkKeyEncoding(b []byte) error {
	switch {
	case len(b) != ed25519.PublicKeySize:
		return ErrKeyLength
	case smallOrder(b):
		return ErrKeySmallOrder
	case !canonicalY(b):
		return ErrKeyNotCanonical
	}
	return nil
}

// canonicalY reports whether the y coordinate (the encoding without its sign bit) is below the field
// prime p = 2^255−19.
func canonicalY(point []byte) bool {
	if point[31]&0x7f != 0x7f || point[0] < 0xed {
		return true
	}
	for _, b := range point[1:31] {
		if b != 0xff {
			return true
		}
	}
	return false
}

// smallOrderY are the y coordinates, canonical or not, of the eight points whose order divides the
// cofactor: 1, −1, 0 and the two of order 8, then p and p+1, which stand for 0 and 1.
var smallOrderY = [...][32]byte{
	{1},
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	{0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
}

func smallOrder(point []byte) bool {
	for i := range smallOrderY {
		y := &smallOrderY[i]
		if point[0] == y[0] && point[31]&0x7f == y[31] && bytes.Equal(point[1:31], y[1:31]) {
			return true
		}
	}
	return false
}
