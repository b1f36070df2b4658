package fakeserver

import "countersign/matrix/edge"

// Edge is an edge case of Ed25519. The zero value is an ordinary signature.
type Edge = edge.Case

// NamedEdge is an edge case with a name that is fit for a test name.
type NamedEdge = edge.Named

// SmallOrderKeys are the account keys of small order; see [edge.SmallOrderKeys].
func SmallOrderKeys() []NamedEdge { return edge.SmallOrderKeys() }

// NonCanonicalKeys are keys of large order that are not canonically encoded; see
// [edge.NonCanonicalKeys].
func NonCanonicalKeys() []NamedEdge { return edge.NonCanonicalKeys() }

// Edges are the edge cases by which implementations of Ed25519 differ.
func Edges() []NamedEdge { return edge.Cases() }
