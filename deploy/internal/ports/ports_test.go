package ports

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPortsAreFreeDifferentAndOutOfTheWay(t *testing.T) {
	addrs, err := Free(20)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, addr := range addrs {
		require.False(t, seen[addr])
		seen[addr] = true
		_, port, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		require.Less(t, number, 32768, "outgoing connections must not be able to take it")
		require.NoError(t, Check(addr))
	}
}

func TestCheckSaysThatAPortIsTaken(t *testing.T) {
	l, err := Listen()
	require.NoError(t, err)
	defer l.Close()
	err = Check(l.Addr().String())
	require.ErrorContains(t, err, "cannot listen at "+l.Addr().String())
	require.ErrorContains(t, err, "address already in use")
}
