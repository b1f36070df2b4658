package stateres

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// fork is a room of 1,000 members on two forks, with 300 conflicted keys: on each fork an admin has
// changed the power levels and banned 20 of the same members, and 279 others have changed their
// display names.
func fork(t testing.TB) (*dag, []StateMap) {
	const members = 1000
	d, last := begin(t, `{"users":{"@alice:one":100,"@bob:two":90}}`, alice, bob)
	name := func(i int) string { return fmt.Sprintf("@member%04d:three", i) }
	for i := range members {
		last = d.join(name(i), last)
	}
	var sets []StateMap
	for f, admin := range []string{alice, bob} {
		e := d.power(admin, fmt.Sprintf(`{"users":{"@alice:one":100,"@bob:two":90},"kick":%d}`, 60+f), last)
		for i := range 20 {
			e = d.member(admin, name(i), "ban", e)
		}
		for i := range 279 {
			e = d.send(name(20+i), "m.room.member", name(20+i), fmt.Sprintf(`{"membership":"join","displayname":"fork %d"}`, f), e)
		}
		sets = append(sets, d.after[e.ID()])
	}
	_, conflicted := partition(sets)
	require.Len(t, conflicted, 600)
	return d, sets
}

// resolveBudget is how long resolving the fork may take on the machine that the project is developed
// on, two cores of 2.5 GHz or so.
const resolveBudget = 12 * time.Millisecond

func BenchmarkResolveFork(b *testing.B) {
	d, sets := fork(b)
	b.ResetTimer()
	for range b.N {
		if _, err := Resolve(d.room, sets, d); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(resolveBudget), "x-budget")
}

// TestResolveForkIsFast fails when resolution is slower than budgeted by an order of magnitude, as it
// is when it walks whole auth chains again and again.
func TestResolveForkIsFast(t *testing.T) {
	d, sets := fork(t)
	best := time.Hour
	for range 3 {
		start := time.Now()
		state, err := Resolve(d.room, sets, d)
		require.NoError(t, err)
		require.Equal(t, "ban", d.events[state[matrix.StateTuple{Type: "m.room.member", StateKey: "@member0000:three"}]].Membership())
		best = min(best, time.Since(start))
	}
	if best > 10*resolveBudget {
		t.Fatalf("resolving took %v, budget %v", best, resolveBudget)
	}
}
