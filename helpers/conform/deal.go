package conform

import (
	"fmt"
	"hash/fnv"
	"os"
	"testing"
)

// ShardVariable is the environment variable by which the command line asks for one part of the
// subtests that are dealt out: "2/3" is the second of three.
const ShardVariable = "COUNTERSIGN_SHARD"

// Deal runs a subtest as t.Run does, unless the run is one part of several and the subtest belongs to
// another part; then it does nothing and returns true. It is for test functions with so many subtests
// that the parts would be uneven if each function belonged to one part as a whole:
//
//	for _, row := range fakeserver.Forgeries() {
//		conform.Deal(t, row.Name, func(t *testing.T) {
//			conform.Covers(t, row.Requirement)
//			...
//		})
//	}
//
// The name decides, so the same subtest is always in the same part. What the function does beside its
// subtests is done in every part.
func Deal(t *testing.T, name string, subtest func(t *testing.T)) bool {
	t.Helper()
	part := os.Getenv(ShardVariable)
	if part == "" {
		return t.Run(name, subtest)
	}
	var index, count uint32
	if n, err := fmt.Sscanf(part, "%d/%d", &index, &count); n != 2 || err != nil || index < 1 || index > count {
		HarnessError(t, "%s is %q: write 2/3 for the second of three parts", ShardVariable, part)
	}
	if dealtTo(name, count) != index {
		return true
	}
	return t.Run(name, subtest)
}

// dealtTo is the part, counted from 1, that a subtest belongs to.
func dealtTo(name string, count uint32) uint32 {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name)) // a hash takes everything
	return hash.Sum32()%count + 1
}
