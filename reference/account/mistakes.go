package account

// mistakenTransition reports whether what a domain says of a key is taken over although it must not be.
func (d *Directory) mistakenTransition(old, said Entry) bool {
	switch {
	case old.State == Erased && said.State == Verified:
		return d.Defects.Has("ForgetErasure")
	case old.State == Verified && said.State == Verified && said.Name != old.Name:
		return d.Defects.Has("TakeOverNewNames")
	}
	return false
}

// mistakenProof reports whether what a key has not signed is believed.
func (d *Directory) mistakenProof(said Entry) bool {
	if said.State == Erased {
		return d.Defects.Has("BelieveUnsignedErasures")
	}
	return d.Defects.Has("BelieveUnsignedNames")
}
