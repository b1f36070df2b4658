//go:build !race

package sample

// Slower is how much slower than usual code may be.
const Slower = 1
