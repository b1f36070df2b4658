package conform

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every subtest is run by exactly one part, and the parts are about equal.
func TestDeal(t *testing.T) {
	const subtests, count = 120, 3
	ran := map[string][]int{}
	of := map[int]int{}
	for part := 1; part <= count; part++ {
		t.Setenv(ShardVariable, fmt.Sprintf("%d/%d", part, count))
		for i := range subtests {
			name := fmt.Sprintf("forgery-%d", i)
			assert.True(t, Deal(t, name, func(*testing.T) { ran[name] = append(ran[name], part); of[part]++ }))
		}
	}
	assert.Len(t, ran, subtests)
	for name, parts := range ran {
		assert.Len(t, parts, 1, name)
	}
	for part := 1; part <= count; part++ {
		assert.Greater(t, of[part], subtests/count/2)
	}

	t.Setenv(ShardVariable, "")
	all := 0
	for i := range subtests {
		Deal(t, fmt.Sprint("all-", i), func(*testing.T) { all++ })
	}
	assert.Equal(t, subtests, all, "a run that is not split runs everything")
}
