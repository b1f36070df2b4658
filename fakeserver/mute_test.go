package fakeserver_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

func startMute(t *testing.T, hangUp bool) (*fakeserver.Mute, net.Conn) {
	t.Helper()
	m, err := fakeserver.StartMute(fakeserver.Config{Host: "localhost"}, hangUp)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	_, port := m.Name().HostPort()
	conn, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return m, conn
}

func TestMute_HangsUp(t *testing.T) {
	m, conn := startMute(t, true)
	_, err := conn.Write([]byte("hello?"))
	require.NoError(t, err)
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, m.Connections())
	require.Equal(t, "hello?", string(m.Heard()[0]))
}

func TestMute_ListensAndSaysNothing(t *testing.T) {
	m, conn := startMute(t, false)
	_, err := conn.Write([]byte("GET / HTTP/1.1"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(m.Heard()) == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, "GET / HTTP/1.1", string(m.Heard()[0]))

	require.NoError(t, m.Close(), "while somebody waits")
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, m.Close())
}

func TestCrowd_IsAChainOfJoinsOfADomain(t *testing.T) {
	s := newWorld(t).server(t)
	r, err := s.CreateRoom(user(t, s, "fay"), fakeserver.RoomOptions{Version: matrix.RoomVersionMSC4243()})
	require.NoError(t, err)
	joins, err := r.Crowd("elsewhere.invalid", 3)
	require.NoError(t, err)
	require.Len(t, joins, 3)
	for i, e := range joins {
		require.True(t, e.IsState("m.room.member", string(e.Sender())))
		require.Equal(t, matrix.ServerName("elsewhere.invalid"), e.Sender().Domain())
		require.NoError(t, e.VerifyAccountKey(e.Sender()))
		require.Equal(t, "join", r.Membership(e.Sender()))
		if i > 0 {
			require.Equal(t, []string{joins[i-1].ID()}, e.PrevEvents())
		}
	}
	require.Contains(t, r.Peers(), matrix.ServerName("elsewhere.invalid"))
}
