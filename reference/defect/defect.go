// Package defect is how the reference homeserver is told to err on purpose: a Set names the one
// decision that a server takes otherwise than its honest code would. The names, with what each breaks,
// are the tables of package reference; a unit test there holds them and the decisions together.
//
// A decision is an `if` where the honest code is about to take the other branch:
//
//	if err := e.VerifyAccountKey(e.Sender()); err != nil && !g.Defects.Has("AcceptUnsignedEvents") {
//		return err
//	}
//
// Asking as late as that is more than style: a test in which the question is never asked cannot tell
// the defective server from the honest one, and need not be run against it.
package defect

// Set is what a server does wrong: nothing, or one named thing. The zero Set is honest. It does not
// change, and may be copied and used by several goroutines.
type Set struct {
	name    string
	reached func(name string)
}

// Only is the Set with one defect, or with none when name is empty. reached, unless it is nil, is
// called with the name of every defect that the server could have shown, whenever it could have; it
// must be safe for concurrent use.
func Only(name string, reached func(name string)) Set { return Set{name: name, reached: reached} }

// None reports whether the Set is the zero Set. What must be computed only to know whether a defect could
// show need not be computed then.
func (s Set) None() bool { return s.name == "" && s.reached == nil }

// Has reports whether a decision is to be taken wrongly. The name is a literal, so that it can be found.
func (s Set) Has(name string) bool {
	if s.reached != nil {
		s.reached(name)
	}
	return s.name == name
}
