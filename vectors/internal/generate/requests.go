package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"

	"countersign/matrix"
	"countersign/vectors"
)

func requests() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "requests",
		Title: "Signed federation requests",
		About: "Is the request signed by its origin (server-server API, \"Request Authentication\")? The seed's key is the one that origin.example " +
			"publishes as ed25519:1; the request is answered by destination.example. A signer must make the authorization of the accepted vectors " +
			"from the other members. In rooms of all versions requests are signed by the domain's ordinary key.",
		Fields: map[string]string{
			"method":        "the HTTP method",
			"uri":           "path and query as they are on the wire",
			"content":       "the body, where there is one",
			"seed":          "the origin's private key: the seed of 32 bytes in hexadecimal",
			"authorization": "the value of the Authorization header",
			"signed":        "the canonical JSON that the signature covers",
		},
	}
	const origin, destination = "origin.example", "destination.example"
	key := privateKey("a server")
	signer := matrix.Signer{Entity: origin, KeyID: "ed25519:1", Key: key}
	var failed error
	add := func(name, title, note string, r matrix.FederationRequest, change func(header string, r *matrix.FederationRequest) string) {
		r.Origin, r.Destination = origin, destination
		header, err := r.Authorization(signer)
		if err != nil {
			failed = fmt.Errorf("requests.json: %s: %w", name, err)
			return
		}
		if change != nil {
			header = change(header, &r)
		}
		v := vectors.Vector{
			ID: name, Title: title, Note: note, Expect: vectors.Reject,
			Input: map[string]string{"method": r.Method, "uri": r.URI, "seed": hex.EncodeToString(key.Seed()), "authorization": header},
		}
		if r.Content != nil {
			v.Input["content"] = string(r.Content)
		}
		if x, err := matrix.ParseXMatrix(header); err == nil && x.Verify(r, destination, key.Public().(ed25519.PublicKey)) == nil {
			signed, err := signedRequest(r)
			if err != nil {
				failed = fmt.Errorf("requests.json: %s: %w", name, err)
				return
			}
			v.Expect, v.Output = vectors.Accept, map[string]string{"signed": signed}
		}
		f.Vectors = append(f.Vectors, v)
	}
	get := matrix.FederationRequest{Method: "GET", URI: "/_matrix/federation/v1/event/%24abc?x=%2F&y=1"}
	put := matrix.FederationRequest{Method: "PUT", URI: "/_matrix/federation/v1/send/1", Content: []byte(`{"pdus":[],"origin":"origin.example","origin_server_ts":1700000000000}`)}
	replace := func(old, new string) func(string, *matrix.FederationRequest) string {
		return func(header string, _ *matrix.FederationRequest) string { return strings.Replace(header, old, new, 1) }
	}
	add("get", "without a body; the escapes of the path and the query are signed as they are", "", get, nil)
	add("put", "with a body, whose keys are sorted in what is signed", "", put, nil)
	add("empty-object", "with an empty object as the body", "Not the same as a request without a body.",
		matrix.FederationRequest{Method: "POST", URI: "/_matrix/federation/v1/query/accounts", Content: []byte(`{}`)}, nil)
	add("unicode", "with a body in another spelling than canonical JSON", "",
		matrix.FederationRequest{Method: "POST", URI: "/_matrix/key/v2/query", Content: []byte("{ \"b\" : \"\\u65e5\", \"a\" : [ 1, 2 ] }")}, nil)
	add("unquoted", "a header without quotation marks", "The grammar is that of RFC 9110; tokens need no quotation marks.", get, func(header string, _ *matrix.FederationRequest) string {
		return strings.ReplaceAll(header, `key="ed25519:1"`, `key=ed25519:1`)
	})
	add("other-order", "the parameters in another order, with white space", "", get, func(header string, _ *matrix.FederationRequest) string {
		parameters := strings.Split(strings.TrimPrefix(header, "X-Matrix "), ",")
		return "X-Matrix " + strings.Join([]string{parameters[3], parameters[2], parameters[1], parameters[0]}, " , ")
	})
	add("scheme-case", "the scheme in lower case", "", get, replace("X-Matrix ", "x-matrix "))
	add("other-method", "made for another method", "", get, func(header string, r *matrix.FederationRequest) string { r.Method = "POST"; return header })
	add("other-uri", "made for another path", "", get, func(header string, r *matrix.FederationRequest) string {
		r.URI = "/_matrix/federation/v1/event/%24abd?x=%2F&y=1"
		return header
	})
	add("decoded-uri", "the path decoded", "", get, func(header string, r *matrix.FederationRequest) string {
		r.URI = "/_matrix/federation/v1/event/$abc?x=/&y=1"
		return header
	})
	add("other-body", "made for another body", "", put, func(header string, r *matrix.FederationRequest) string {
		r.Content = []byte(strings.Replace(string(r.Content), "[]", "[{}]", 1))
		return header
	})
	add("other-destination", "made for another server", "A request that was recorded by one server must not be good at another.", get, replace(destination, "other.example"))
	add("bad-signature", "one character of the signature is another", "", get, func(header string, _ *matrix.FederationRequest) string {
		i := strings.Index(header, `sig="`) + 10
		return header[:i] + map[bool]string{true: "B", false: "A"}[header[i] == 'A'] + header[i+1:]
	})
	add("no-signature", "without a signature", "", get, func(header string, _ *matrix.FederationRequest) string {
		return header[:strings.Index(header, ",sig=")]
	})
	return f, failed
}

// signedRequest is what the signature of a request covers.
func signedRequest(r matrix.FederationRequest) (string, error) {
	var b strings.Builder
	b.WriteString("{")
	if r.Content != nil {
		content, err := matrix.CanonicalJSON(r.Content)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, `"content":%s,`, content)
	}
	fmt.Fprintf(&b, `"destination":%s,"method":%s,"origin":%s,"uri":%s}`, quote(string(r.Destination)), quote(r.Method), quote(string(r.Origin)), quote(r.URI))
	return b.String(), nil
}
