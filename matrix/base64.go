package matrix

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// strictStd and strictURL refuse non-zero trailing bits. They still skip carriage returns and line
// feeds, which the decoding functions below refuse themselves.
var (
	strictStd = base64.RawStdEncoding.Strict()
	strictURL = base64.RawURLEncoding.Strict()
)

// EncodeBase64 is the specification's unpadded base64 in the standard alphabet: signatures, content
// hashes and server keys.
func EncodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// EncodeURLBase64 is unpadded base64 in the URL-safe alphabet: event IDs, room IDs, account keys.
func EncodeURLBase64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// DecodeBase64 decodes unpadded standard base64. It accepts exactly the texts that EncodeBase64
// produces: no padding, no line breaks, no other alphabet, no set trailing bits.
func DecodeBase64(s string) ([]byte, error) { return decodeStrict(strictStd, "standard", s) }

// DecodeURLBase64 is DecodeBase64 for the URL-safe alphabet.
func DecodeURLBase64(s string) ([]byte, error) { return decodeStrict(strictURL, "URL-safe", s) }

// DecodeBase64Padded is DecodeBase64 that also accepts correct padding, as the specification asks of
// readers "wherever possible" (appendices, "Unpadded Base64").
func DecodeBase64Padded(s string) ([]byte, error) {
	if trimmed := strings.TrimRight(s, "="); len(trimmed) != len(s) {
		if len(s)%4 != 0 || len(s)-len(trimmed) > 2 {
			return nil, errors.New("base64 with wrong padding")
		}
		s = trimmed
	}
	return DecodeBase64(s)
}

// DecodeBase64Loose is DecodeBase64Padded that also ignores set trailing bits. The seed of the
// specification's own cryptographic test vectors has such bits. It is for configuration, never for
// what a peer sends.
func DecodeBase64Loose(s string) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, fmt.Errorf("not standard base64: %w", err)
	}
	return b, nil
}

func decodeStrict(enc *base64.Encoding, alphabet, s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("base64 with a line break")
	}
	b, err := enc.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("not unpadded %s base64: %w", alphabet, err)
	}
	return b, nil
}
