package reference

// A Variant is a permitted alternative: a homeserver that takes one decision differently, and within
// its rights. A fair suite lets it pass.
type Variant struct {
	// Name says what the variant does, and is what the decision asks for: defects.Has("Name").
	Name string
	// Permitted is where it is allowed: the ID of a requirement, or of a defect of a proposal, or a
	// section of the specification.
	Permitted string
	// Differs is one sentence: what it does differently.
	Differs string
}

// Variants are all variants.
func Variants() []Variant { return variants[:] }

var variants = [...]Variant{}
