package fakeserver

import "net/http"

// meter counts the bytes of a body as the other server takes them in.
type meter struct {
	http.ResponseWriter
	sent int64
}

// Write implements http.ResponseWriter.
func (m *meter) Write(b []byte) (int, error) {
	n, err := m.ResponseWriter.Write(b)
	m.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find what it needs.
func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }
