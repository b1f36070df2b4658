package matrix

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"crypto/ed25519"
)

// ErrRequestAuth is wrapped by the errors of requests that are not signed as they should be; the
// answer to them is 401.
var ErrRequestAuth = errors.New("request authentication")

// FederationRequest is what a federation request's signature covers (server-server API, "Request
// Authentication").
type FederationRequest struct {
	Method string
	// URI is the path and query as they are on the wire, from "/_matrix/..." on.
	URI                 string
	Origin, Destination ServerName
	// Content is the JSON body; nil for a request without one.
	Content []byte
}

// message is the object that is signed, in canonical JSON.
func (r FederationRequest) message() ([]byte, error) {
	b := newObject(len(r.Content) + len(r.URI) + 160)
	if r.Content != nil {
		content, err := LenientCanonicalJSON(r.Content)
		if err != nil {
			return nil, fmt.Errorf("request body: %w", err)
		}
		b.key("content")
		b.buf = append(b.buf, content...)
	}
	for _, m := range [...][2]string{
		{"destination", string(r.Destination)}, {"method", r.Method}, {"origin", string(r.Origin)}, {"uri", r.URI},
	} {
		if m[0] == "destination" && m[1] == "" {
			continue // requests of old servers do not name their destination
		}
		b.key(m[0])
		b.buf = appendString(b.buf, m[1])
	}
	return b.close(), nil
}

// Authorization returns the value of the Authorization header for the request, signed by the origin's
// server key. The error wraps ErrNotCanonical when the body is not JSON.
func (r FederationRequest) Authorization(s Signer) (string, error) {
	m, err := r.message()
	if err != nil {
		return "", err
	}
	return XMatrix{r.Origin, r.Destination, s.KeyID, EncodeBase64(ed25519.Sign(s.Key, m))}.String(), nil
}

// XMatrix is a parsed Authorization header of the X-Matrix scheme.
type XMatrix struct {
	Origin ServerName
	// Destination is empty in requests of old servers.
	Destination ServerName
	KeyID       KeyID
	Signature   string
}

// String is the header value, as old servers understand it too: one space, lower-case names, every
// value in quotes, and backslashes only where a value demands them.
func (x XMatrix) String() string {
	var b strings.Builder
	b.WriteString("X-Matrix ")
	for _, p := range [...][2]string{
		{"origin", string(x.Origin)}, {"destination", string(x.Destination)}, {"key", string(x.KeyID)}, {"sig", x.Signature},
	} {
		if p[0] == "destination" && p[1] == "" {
			continue
		}
		if p[0] != "origin" {
			b.WriteByte(',')
		}
		b.WriteString(p[0])
		b.WriteString(`="`)
		for i := 0; i < len(p[1]); i++ {
			if p[1][i] == '"' || p[1][i] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(p[1][i])
		}
		b.WriteByte('"')
	}
	return b.String()
}

// ParseXMatrix reads an Authorization header value: the scheme, then name=value pairs separated by
// commas; values may be quoted, names are in any case, unknown names are ignored. Errors wrap
// ErrRequestAuth.
func ParseXMatrix(header string) (XMatrix, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "X-Matrix") {
		return XMatrix{}, fmt.Errorf("%w: the Authorization header's scheme is not X-Matrix", ErrRequestAuth)
	}
	var x XMatrix
	for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
		name, after, ok := strings.Cut(rest, "=")
		if !ok || strings.IndexByte(name, ',') >= 0 {
			return XMatrix{}, fmt.Errorf("%w: X-Matrix parameter without a value", ErrRequestAuth)
		}
		value, tail, err := headerValue(strings.TrimLeft(after, " \t"))
		if err != nil {
			return XMatrix{}, err
		}
		if rest = strings.TrimLeft(tail, " \t"); rest != "" && rest[0] != ',' {
			return XMatrix{}, fmt.Errorf("%w: no comma behind a quoted X-Matrix value", ErrRequestAuth)
		}
		switch strings.ToLower(strings.TrimRight(name, " \t")) {
		case "origin":
			x.Origin = ServerName(value)
		case "destination":
			x.Destination = ServerName(value)
		case "key":
			x.KeyID = KeyID(value)
		case "sig", "signature":
			x.Signature = value
		}
	}
	if x.Origin == "" || x.KeyID == "" || x.Signature == "" {
		return XMatrix{}, fmt.Errorf("%w: X-Matrix needs origin, key and sig", ErrRequestAuth)
	}
	if err := checkServerName(string(x.Origin)); err != nil {
		return XMatrix{}, fmt.Errorf("%w: origin: %w", ErrRequestAuth, err)
	}
	return x, nil
}

// headerValue reads a quoted string or a token and returns what follows it.
func headerValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexByte(s, ','); i >= 0 {
			return strings.TrimRight(s[:i], " \t"), s[i:], nil
		}
		return strings.TrimRight(s, " \t"), "", nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("%w: unclosed quote in X-Matrix", ErrRequestAuth)
}

// RequestAuth returns the parsed X-Matrix header of an HTTP request. Errors wrap ErrRequestAuth.
func RequestAuth(h http.Header) (XMatrix, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return XMatrix{}, fmt.Errorf("%w: no Authorization header", ErrRequestAuth)
	}
	return ParseXMatrix(values[0])
}

// Verify checks the signature of a request that carried x. The request's Origin and Destination are
// taken from x; destination is the name of the server that received it, which x must name if it
// names one. Errors wrap ErrRequestAuth.
func (x XMatrix) Verify(r FederationRequest, destination ServerName, key ed25519.PublicKey) error {
	if x.Destination != "" && x.Destination != destination {
		return fmt.Errorf("%w: the request is for %q, this is %q", ErrRequestAuth, x.Destination, destination)
	}
	r.Origin, r.Destination = x.Origin, x.Destination
	m, err := r.message()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRequestAuth, err)
	}
	signature, err := DecodeBase64Padded(x.Signature)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRequestAuth, err)
	}
	if err := VerifyStrict(key, m, signature); err != nil {
		return fmt.Errorf("%w: %w", ErrRequestAuth, err)
	}
	return nil
}
