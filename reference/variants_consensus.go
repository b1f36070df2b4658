package reference

// consensusVariants decide as the libraries do that homeservers are made of, where MSC4243 does not name a
// rule (D-09, D-10) and where the specification is silent. See package vectors.
var consensusVariants = [...]Variant{
	{"VerifyAsGo", "CONSENSUS-ED-01", "verifies Ed25519 as Go, OpenSSL and dalek's verify do: any key that decodes, those of small order included"},
	{"VerifyWithCanonicalKeys", "CONSENSUS-ED-10", "verifies Ed25519 as the JDK does: canonical keys, those of small order included"},
	{"VerifyUpToOrderFour", "CONSENSUS-ED-22", "verifies Ed25519 as libsodium's master branch does: the two sides may differ by a point of order 4"},
	{"VerifyWithCofactor", "CONSENSUS-ED-12", "verifies Ed25519 as newer Bouncy Castle does: with the cofactor, keys of small order excluded"},
	{"VerifyAsZIP215", "CONSENSUS-ED-13", "verifies Ed25519 as noble does: with the cofactor, every encoding of every point"},
	{"RequireKeysOfPrimeOrder", "CONSENSUS-ED-15", "verifies Ed25519 by a rule that is stricter still: keys have no part of small order"},
	{"TakeURLSafeSignatures", "CONSENSUS-SG-01", "decodes signatures in either alphabet of base64"},
	{"RefusePaddedSignatures", "CONSENSUS-SG-02", "refuses padded signatures"},
	{"IgnoreUnusedBitsOfSignatures", "CONSENSUS-SG-03", "decodes signatures whose unused bits are set"},
	{"SkipJunkInSignatures", "CONSENSUS-SG-04", "skips characters of a signature that belong to no alphabet of base64"},
	{"RefuseDeepEvents", "CONSENSUS-CJ-12", "refuses events whose content nests more than 127 deep"},
	{"TakeTheLastOfDuplicateKeys", "CONSENSUS-CJ-13", "takes the last of two values under one key"},
}
