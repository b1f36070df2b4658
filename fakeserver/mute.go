package fakeserver

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"countersign/matrix"
)

// Mute listens where a server's name leads to, and is no homeserver: it never says a word, but counts
// who comes and remembers what they say first. It is safe for concurrent use.
type Mute struct {
	name     matrix.ServerName
	listener net.Listener
	hangUp   bool
	group    sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
	heard  [][]byte
	count  int
}

// maxHeard bounds how many first words a Mute keeps, and maxFirstWord their size.
const (
	maxHeard     = 1000
	maxFirstWord = 4 << 10
)

// StartMute listens. Of the configuration only Host, ListenAddr and Ports matter. With hangUp it
// closes every connection as soon as anything is said; without, it holds the connection and lets the
// other side wait. The error says why the system would not let it listen.
func StartMute(c Config, hangUp bool) (*Mute, error) {
	if c.ListenAddr == "" {
		c.ListenAddr = "127.0.0.1"
	}
	listener, err := listen(c)
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	m := &Mute{
		name: matrix.ServerName(net.JoinHostPort(c.Host, port)), listener: listener,
		hangUp: hangUp, open: map[net.Conn]bool{},
	}
	m.group.Go(m.accept)
	return m, nil
}

// Name is the server name that leads here.
func (m *Mute) Name() matrix.ServerName { return m.name }

// Connections is how many connections were made so far.
func (m *Mute) Connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// Heard are the first bytes of each connection on which anything was said, in no particular order.
func (m *Mute) Heard() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heard)
}

// Close stops listening and closes every connection. Closing twice is harmless.
func (m *Mute) Close() error {
	m.mu.Lock()
	m.closed = true
	for conn := range m.open {
		conn.Close() // whoever waits on it is not to be told anything either way
	}
	m.mu.Unlock()
	err := m.listener.Close()
	m.group.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the listener of %s: %w", m.name, err)
	}
	return nil
}

func (m *Mute) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return // closed
		}
		if !m.take(conn) {
			conn.Close()
			continue
		}
		m.group.Go(func() { m.listenTo(conn) })
	}
}

// take counts a connection, and reports whether to listen to it.
func (m *Mute) take(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	if m.closed {
		return false
	}
	m.open[conn] = true
	return true
}

// listenTo keeps the first bytes. It then closes the connection, or passes over the rest until the
// other side gives up.
func (m *Mute) listenTo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, maxFirstWord)
	for first := true; ; first = false {
		n, err := conn.Read(buffer)
		m.mu.Lock()
		if first && n > 0 && len(m.heard) < maxHeard {
			m.heard = append(m.heard, slices.Clone(buffer[:n]))
		}
		if err != nil || m.hangUp {
			delete(m.open, conn)
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}
