package reference

import "slices"

// A Mutant is a deliberate defect: a homeserver that takes one decision wrongly and is honest
// otherwise. It shows whether the suite notices.
type Mutant struct {
	// Name says what the mutant does, and is what the decision asks for: defects.Has("Name").
	Name string
	// Requirement is the ID of the requirement that it breaks.
	Requirement string
	// Wrong is one sentence: what it does wrong.
	Wrong string
}

// Mutants are all mutants, by area.
func Mutants() []Mutant {
	return slices.Concat(signingMutants[:], ruleMutants[:], accountMutants[:], inviteMutants[:], joinMutants[:],
		visibilityMutants[:], translationMutants[:], ephemeralMutants[:], serverMutants[:],
		participationMutants[:], serverKeyMutants[:],
		portableMutants[:], companyMutants[:], standingMutants[:], v12Mutants[:], consensusMutants[:], retrofitMutants[:])
}

// IsDefect reports whether a mutant, a variant or a dead server has the name.
func IsDefect(name string) bool {
	return slices.ContainsFunc(Mutants(), func(m Mutant) bool { return m.Name == name }) ||
		slices.ContainsFunc(Variants(), func(v Variant) bool { return v.Name == name }) ||
		slices.ContainsFunc(DeadServers(), func(d DeadServer) bool { return d.Name == name })
}
