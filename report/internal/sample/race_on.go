//go:build race

package sample

// Slower is how much slower than usual code may be: the race detector watches it.
const Slower = 10
