package lru

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForgetsWhatWasUsedLongestAgo(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	v, ok := c.Get("a")
	require.True(t, ok)
	require.Equal(t, 1, v)
	c.Put("c", 3)
	_, ok = c.Get("b")
	require.False(t, ok)
	c.Put("a", 4)
	v, _ = c.Get("a")
	require.Equal(t, 4, v)
	c.Delete("a")
	c.Delete("a")
	_, ok = c.Get("a")
	require.False(t, ok)
}
