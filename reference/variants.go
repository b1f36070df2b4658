package reference

import "slices"

// A Variant is a permitted alternative: a homeserver that takes one decision differently, and within
// its rights. A fair suite lets it pass. Some are mutants, too: they depart from the recommended reading of
// an ambiguous text, which fails a server only in a strict run.
type Variant struct {
	// Name says what the variant does, and is what the decision asks for: defects.Has("Name").
	Name string
	// Permitted is the ID of the requirement that leaves the choice.
	Permitted string
	// Differs is one sentence: what it does differently.
	Differs string
}

// Variants are all variants.
func Variants() []Variant {
	return slices.Concat(variants[:], participationVariants[:], consensusVariants[:], habitVariants[:])
}

var variants = [...]Variant{
	{"MintKeysAtRegistration", "MSC4243-KEY-04", "makes account keys when accounts are made, not when they are first needed"},
	{"AddFieldsToAnswers", "MSC4243-QA-02", "adds a field that nobody knows to answers about keys"},
	{"AddFieldsToQuestions", "MSC4243-QC-20", "adds a field that nobody knows to questions about keys"},
	{"AddFieldsToUnsigned", "MSC4243-CS-03", "adds a field that nobody knows to unsigned"},
	{"TellFewErasuresAtOnce", "MSC4243-ERASE-05", "tells two erased keys at most in one answer, whatever the limit"},
	{"AskInSmallBatches", "MSC4243-QC-02", "asks for a hundred keys at once, not for 2048"},
	{"ForgetWhomToAskAtRestart", "MSC4243-SM-12", "does not ask again after a restart for users who are unverified, until they are heard from"},
	{"NeverAskAgain", "MSC4243-QC-09", "asks for every key once only, and again when it is restarted"},
	{"CallUnknownKeysNotFound", "MSC4243-QA-04", "answers for unknown keys with M_NOT_FOUND"},
	{"RefuseStrangersWithForbidden", "MSC4243-INV-13", "refuses invites of names that it does not have with 403"},
	{"SendOneEventAtATime", "RV12-MSG-01", "sends one event in each transaction"},
	{"CountDepthInTens", "RV12-MSG-01", "counts depth in steps of ten"},
	{"ServeRejectedEvents", "RV12-REJECT-01", "hands out events that it has rejected when they are asked for by ID"},
	{"ReverseTheState", "RV12-JOIN-01", "gives the state to a joining server in another order"},
	{"BackfillLess", "RV12-BACKFILL-01", "answers /backfill with fewer events than it could"},
	{"PageLess", "MSC4243-VIS-11", "ends a page of /messages before the limit, with a token that leads on"},
	{"WantSignedRequests", "MSC4243-INV-05", "wants requests to invite or to ban to be signed"},
	{"RefuseSecondKeys", "MSC4243-INV-11", "refuses an invite that comes back with another key than the one it knows"},
	{"SignOrdinaryJoins", "MSC4243-SIG-11", "adds the server's signature to every join that is handed in"},
	{"IgnoreHiddenRedactions", "MSC4243-VIS-14", "does not carry out redactions by users who are unverified"},
	{"RefuseEmptyQuestions", "MSC4243-QA-08", "refuses requests without keys"},
	{"AnswerForOtherSpellings", "MSC4243-QA-10", "answers for keys in standard base64"},
	{"AskForKnownKeysOnBans", "MSC4243-BAN-05", "asks the server of a user for a key that it knows"},
	{"FallBackToTheFirstInviteEndpoint", "MSC4243-INV-20", "tries the first version of the invite endpoint when the second fails"},
	{"DropHiddenLevels", "MSC4243-CS-07", "drops the levels of hidden users when a client writes what it has read"},
}
