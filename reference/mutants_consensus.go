package reference

// consensusMutants err as the libraries do that homeservers are made of, where a text is clear (see package
// vectors), and break down at what they do not expect.
var consensusMutants = [...]Mutant{
	{"VerifyWithAnyS", "CONSENSUS-ED-19", "verifies Ed25519 as TweetNaCl does, whose S is not bounded"},
	{"SkipJunkInLocalparts", "CONSENSUS-LP-07", "skips characters of a localpart that belong to no alphabet of base64"},
	{"ReadNumbersLeniently", "CONSENSUS-CJ-04", "makes integers of -0, 0.0 and 1E3 before it hashes an event"},
	{"RepairText", "CONSENSUS-CJ-08", "puts U+FFFD in place of surrogates that are not one of a pair"},
	{"RefuseWhatOthersSigned", "CONSENSUS-SE-05", "refuses events with a signature of somebody else that is not base64"},
	{"WriteKeysUnescaped", "CONSENSUS-CJ-01", "does not escape what has to be escaped before it checks a signature"},
	{"SortKeysByUTF16", "CONSENSUS-CJ-10", "sorts keys by UTF-16 before it checks a signature"},
	{"FoldPropertyNames", "CONSENSUS-CJ-11", "takes SENDER for sender"},
	{"ClampLargeNumbers", "CONSENSUS-CJ-07", "reads 2^53 as the largest number that canonical JSON has"},
	{"AcceptWhatIsNoKey", "CONSENSUS-LP-09", "takes whom it finds no account key of for somebody whose signature need not be checked"},
	{"PanicAtOddKeys", "CONSENSUS-LIVE-01", "panics at an account key that has not 32 bytes"},
	{"HangAtLongKeys", "CONSENSUS-LIVE-01", "never answers a request with an account key of 33 bytes"},
}
