//go:build race

package conform

// UnderRaceDetector says that the race detector watches this process. It makes everything about ten
// times as slow, and what it finds does not depend on the rows of a table but on the code that they
// pass through: a table of hundreds of similar rows may then run one of each kind.
const UnderRaceDetector = true
