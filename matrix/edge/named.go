package edge

import "strconv"

// Named is an edge case of Ed25519 with a name.
type Named struct {
	// Name is unique and fit for a test name.
	Name string
	// Edge is the case.
	Edge Case
}

// Encodings of points of small order, canonical and not, in hexadecimal. The first byte is the lowest,
// the highest bit of the last one is the sign.
const (
	identityPoint         = "0100000000000000000000000000000000000000000000000000000000000000"
	identityNegativeZero  = "0100000000000000000000000000000000000000000000000000000000000080"
	identityNonCanonical  = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	identityNonCanonicalN = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	orderTwo              = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	orderTwoNegativeZero  = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	orderFour             = "0000000000000000000000000000000000000000000000000000000000000000"
	orderFourNegative     = "0000000000000000000000000000000000000000000000000000000000000080"
	orderFourNonCanonical = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	orderFourNonCanonNeg  = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
	orderEightNegative    = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"
	orderEightOther       = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
	offCurve              = "0200000000000000000000000000000000000000000000000000000000000000"
	orderEightOtherNeg    = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
)

// SmallOrderKeys are the account keys of small order: the eight points, and the six encodings of them
// that are not canonical, each with a signature that verifiers accept which do not look at the order
// of the key.
func SmallOrderKeys() []Named {
	points := []struct{ name, bytes string }{
		{"identity", identityPoint}, {"order-2", orderTwo}, {"order-4", orderFour}, {"order-4-negative", orderFourNegative},
		{"order-8", orderEight}, {"order-8-negative", orderEightNegative}, {"order-8-other", orderEightOther},
		{"order-8-other-negative", orderEightOtherNeg},
		{"identity-negative-zero", identityNegativeZero}, {"identity-non-canonical", identityNonCanonical},
		{"identity-non-canonical-negative-zero", identityNonCanonicalN}, {"order-2-negative-zero", orderTwoNegativeZero},
		{"order-4-non-canonical", orderFourNonCanonical}, {"order-4-non-canonical-negative", orderFourNonCanonNeg},
	}
	edges := make([]Named, len(points))
	for i, p := range points {
		edges[i] = Named{"key-" + p.name, Case{KeyBytes: p.bytes}}
	}
	return edges
}

// NonCanonicalKeys are the account keys p+3, p+4, ... that are points of large order in an encoding
// that is not canonical. Nobody has their private keys, so their signatures are arbitrary: they show
// how a server reads keys, not how it verifies.
func NonCanonicalKeys() []Named {
	var edges []Named
	for _, above := range []int{3, 4, 5, 6, 9, 10, 14, 15, 16, 18} {
		low := strconv.FormatInt(int64(0xed+above), 16)
		edges = append(edges, Named{
			"key-p-plus-" + strconv.Itoa(above),
			Case{KeyBytes: low + "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		})
	}
	return edges
}

// Cases are the edge cases by which implementations of Ed25519 differ.
func Cases() []Named {
	return []Named{
		{"key-identity-s-zero", Case{KeyBytes: identityPoint, RZero: true}},
		{"key-order-8-s-zero", Case{KeyBytes: orderEight, RZero: true}},
		{"key-order-8-misfit", Case{KeyBytes: orderEight, Misfit: true}},
		{"r-identity", Case{RZero: true}},
		{"r-identity-non-canonical", Case{RZero: true, RBytes: identityNonCanonical}},
		{"r-identity-negative-zero", Case{RZero: true, RBytes: identityNegativeZero}},
		{"r-order-8", Case{RZero: true, RTorsion: 1, Misfit: true}},
		{"r-mixed", Case{RTorsion: 1, Misfit: true}},
		{"r-mixed-order-4", Case{RTorsion: 2, Misfit: true}},
		{"r-mixed-order-2", Case{RTorsion: 4, Misfit: true}},
		{"key-mixed-fit", Case{KeyTorsion: 1}},
		{"key-mixed-misfit", Case{KeyTorsion: 1, Misfit: true, MisfitBy: 1}},
		{"key-and-r-mixed-cancelling", Case{KeyTorsion: 1, RTorsion: 1}},
		{"key-mixed-only-reduced-hash-fits", Case{KeyTorsion: 1, Hash: OnlyReducedFits}},
		{"key-mixed-only-unreduced-hash-fits", Case{KeyTorsion: 1, Hash: OnlyUnreducedFits, MisfitBy: 1}},
		{"s-plus-l", Case{AddL: 1}},
		{"s-plus-7l", Case{AddL: 7}},
		{"s-plus-8l", Case{AddL: 8}},
		{"s-is-l", Case{KeyBytes: identityPoint, RZero: true, AddL: 1}},
		{"key-off-curve", Case{KeyBytes: offCurve}},
		{"r-off-curve", Case{RBytes: offCurve}},
	}
}

// OffCurve is the encoding of the y coordinate 2, which no point of the curve has.
func OffCurve() []byte { return append([]byte{2}, make([]byte, 31)...) }
