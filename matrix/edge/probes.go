package edge

import (
	"bytes"
	"encoding/hex"

	"filippo.io/edwards25519"
)

// Probe is an edge case by which one verification rule is told from another.
type Probe struct {
	// ID is the probe's name in reports, such as ED01.
	ID string
	// Title says what is odd, in a few words.
	Title string
	// Case is the edge case.
	Case Case
}

// Probes are the edge cases that a server is probed with: few enough to be sent to it, and enough to
// tell any two of [Rules] apart. No two have the same key, unless it is an ordinary one: each has a place of its own in
// the state of a room.
func Probes() []Probe {
	return []Probe{
		{"ED01", "the key is the identity", Case{KeyBytes: identityPoint}},
		{"ED02", "the key is 32 zero bytes, of order 4", Case{KeyBytes: orderFour}},
		{"ED03", "the key has order 2", Case{KeyBytes: orderTwo}},
		{"ED04", "the key has order 8, and 8 divides the hash", Case{KeyBytes: orderEight}},
		{"ED05", "the key has order 8, and S is 0", Case{KeyBytes: orderEightNegative, RZero: true}},
		{"ED06", "the key has order 8, and 8 does not divide the hash", Case{KeyBytes: orderEightOther, Misfit: true}},
		{"ED07", "the key is the identity, encoded as p + 1", Case{KeyBytes: identityNonCanonical}},
		{"ED08", "the key is the identity, with the sign of a zero", Case{KeyBytes: identityNegativeZero}},
		{"ED09", "the key has order 4, encoded as p", Case{KeyBytes: orderFourNonCanonical}},
		{"ED10", "R is the identity; the key is ordinary", Case{RZero: true}},
		{"ED11", "R has order 8; the key is ordinary", Case{RZero: true, RTorsion: 1, Misfit: true}},
		{"ED12", "R has a part of order 8; the key is ordinary", Case{RTorsion: 1, Misfit: true}},
		{"ED13", "R is the identity, encoded as p + 1; the key is ordinary", Case{RZero: true, RBytes: identityNonCanonical}},
		{"ED14", "the key has a part of order 8, which the hash does not cancel", Case{KeyTorsion: 1, Misfit: true, MisfitBy: 1}},
		{"ED15", "the key has a part of order 8, which the hash cancels", Case{KeyTorsion: 1}},
		{"ED16", "the key and R have parts of order 8, which cancel", Case{KeyTorsion: 1, RTorsion: 1}},
		{"ED17", "8 divides the hash only after it is reduced", Case{KeyTorsion: 1, Hash: OnlyReducedFits}},
		{"ED18", "8 divides the hash only before it is reduced", Case{KeyTorsion: 1, Hash: OnlyUnreducedFits, MisfitBy: 1}},
		{"ED19", "S is an ordinary one plus the group order", Case{AddL: 1}},
		{"ED20", "S is the group order; the key has order 4", Case{KeyBytes: orderFourNegative, RZero: true, AddL: 1}},
		{"ED21", "the key is no point of the curve", Case{KeyBytes: offCurve}},
		{"ED22", "R has a part of order 4; the key is ordinary", Case{RTorsion: 2, Misfit: true}},
		{"ED23", "R has a part of order 2; the key is ordinary", Case{RTorsion: 4, Misfit: true}},
	}
}

// Flags name what is odd about the case, in words that a list of vectors can be searched for.
func (c Case) Flags() []string {
	var flags []string
	add := func(on bool, flag string) {
		if on {
			flags = append(flags, flag)
		}
	}
	point := func(what, encoded string) {
		if encoded == "" {
			return
		}
		raw, _ := hex.DecodeString(encoded) // what cannot be decoded is refused where it is used
		p, err := new(edwards25519.Point).SetBytes(raw)
		add(err != nil, what+"-off-curve")
		add(err == nil && smallOrder(p), what+"-small-order")
		add(err == nil && !bytes.Equal(p.Bytes(), raw), what+"-not-canonical")
	}
	point("key", c.KeyBytes)
	add(c.KeyTorsion != 0, "key-mixed-order")
	point("r", c.RBytes)
	add(c.RZero && c.RBytes == "", "r-small-order")
	add(!c.RZero && c.RTorsion != 0, "r-mixed-order")
	add(c.Misfit || c.Hash == OnlyUnreducedFits, "only-with-cofactor")
	add(c.Hash != AnyHash, "hash-not-reduced")
	add(c.AddL != 0, "s-not-reduced")
	return flags
}
