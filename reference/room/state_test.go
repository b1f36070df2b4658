package room

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// TestStateBehavesLikeAMap changes a state and a map in step and compares them, and every difference
// between two of the states with the difference between the maps.
func TestStateBehavesLikeAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s State
	m := map[matrix.StateTuple]string{}
	oldState, oldMap := s, maps.Clone(m)
	for i := range 3000 {
		place := matrix.StateTuple{Type: fmt.Sprint("t", random.IntN(4)), StateKey: fmt.Sprint("k", random.IntN(60))}
		id := ""
		if random.IntN(4) > 0 {
			id = fmt.Sprint("$", random.IntN(50))
		}
		s = s.with(place, id)
		if m[place] = id; id == "" {
			delete(m, place)
		}
		require.Equal(t, id, s.Get(place))
		require.Equal(t, len(m), s.Len())
		if i%50 == 0 {
			require.Equal(t, m, s.toMap())
			requireDiff(t, oldMap, m, oldState, s)
			requireDiff(t, m, oldMap, s, oldState)
			ofType := map[string]string{}
			maps.Insert(ofType, s.OfType("t2"))
			for p, id := range m {
				if p.Type == "t2" {
					require.Equal(t, id, ofType[p.StateKey])
					delete(ofType, p.StateKey)
				}
			}
			require.Empty(t, ofType)
		}
		if i%400 == 0 {
			oldState, oldMap = s, maps.Clone(m)
		}
	}
}

func requireDiff(t *testing.T, a, b map[matrix.StateTuple]string, x, y State) {
	t.Helper()
	want := map[matrix.StateTuple][2]string{}
	for p, id := range a {
		if b[p] != id {
			want[p] = [2]string{id, b[p]}
		}
	}
	for p, id := range b {
		if a[p] != id {
			want[p] = [2]string{a[p], id}
		}
	}
	got := map[matrix.StateTuple][2]string{}
	maps.Insert(got, Diff(x, y))
	require.Equal(t, want, got)
}

// TestEqualStatesHaveOneShape builds one state in two orders.
func TestEqualStatesHaveOneShape(t *testing.T) {
	var a, b State
	for i := range 100 {
		a = a.with(matrix.StateTuple{Type: "t", StateKey: fmt.Sprint(i)}, "$x")
		b = b.with(matrix.StateTuple{Type: "t", StateKey: fmt.Sprint(99 - i)}, "$x")
	}
	require.Equal(t, a.root, b.root)
}
