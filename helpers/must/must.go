// Package must holds the words that a conformance test asserts with. Each takes the test first,
// marks itself as a helper, and stops the test with a message that carries what was asked of the
// server and what it answered.
//
// The words read JSON as it was on the wire. None knows the structures of a homeserver.
package must

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// An Answer is something that a server sent, with enough around it to explain a failure: a
// response of the client-server API, or one of the federation API.
type Answer interface {
	// StatusCode is the HTTP status.
	StatusCode() int
	// JSON is the body, or an absent value when the body is not JSON.
	JSON() gjson.Result
	// String shows the request and the response.
	String() string
}

// Succeed asserts that the answer has status 200 and a JSON body, and returns the body.
func Succeed(t testing.TB, answer Answer) gjson.Result {
	t.Helper()
	if answer.StatusCode() != 200 || !answer.JSON().Exists() {
		t.Fatalf("expected status 200 and a JSON body, got:\n%s", answer)
	}
	return answer.JSON()
}

// Refuse asserts that the answer is a standard error with the given status and, when codes are
// given, one of those error codes.
func Refuse(t testing.TB, answer Answer, status int, codes ...string) {
	t.Helper()
	got := answer.JSON().Get("errcode")
	if answer.StatusCode() != status || got.Type != gjson.String {
		t.Fatalf("expected a refusal with status %d and an errcode, got:\n%s", status, answer)
	}
	if len(codes) > 0 && !slices.Contains(codes, got.Str) {
		t.Fatalf("expected errcode %s, got:\n%s", strings.Join(codes, " or "), answer)
	}
}

// RefuseAny asserts that the answer is a client error, whichever, with an errcode: for refusals
// for which the specification names no status.
func RefuseAny(t testing.TB, answer Answer) {
	t.Helper()
	if status := answer.StatusCode(); status < 400 || status > 499 || answer.JSON().Get("errcode").Type != gjson.String {
		t.Fatalf("expected a refusal with a status of 400 to 499 and an errcode, got:\n%s", answer)
	}
}

// Equal asserts that two values are equal. What names the value.
func Equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: expected %#v, got %#v", what, want, got)
	}
}

// Be asserts that a condition holds. The message says what was expected.
func Be(t testing.TB, holds bool, format string, args ...any) {
	t.Helper()
	if !holds {
		t.Fatalf("expected %s", fmt.Sprintf(format, args...))
	}
}

// Field asserts that the value at a gjson path equals a string, number or boolean.
func Field[T string | int | int64 | bool](t testing.TB, object gjson.Result, path string, want T) {
	t.Helper()
	value := object.Get(path)
	var got any
	switch any(want).(type) {
	case string:
		if value.Type == gjson.String {
			got = value.Str
		}
	case bool:
		if value.IsBool() {
			got = value.Bool()
		}
	case int:
		if value.Type == gjson.Number {
			got = int(value.Int())
		}
	case int64:
		if value.Type == gjson.Number {
			got = value.Int()
		}
	}
	if got != any(want) {
		t.Fatalf("field %q: expected %#v, got %s in:\n%s", path, want, shown(value), object.Raw)
	}
}

// Have asserts that there is a value at a gjson path, and returns it.
func Have(t testing.TB, object gjson.Result, path string) gjson.Result {
	t.Helper()
	value := object.Get(path)
	if !value.Exists() {
		t.Fatalf("expected a field %q in:\n%s", path, object.Raw)
	}
	return value
}

// Lack asserts that there is no value at a gjson path.
func Lack(t testing.TB, object gjson.Result, path string) {
	t.Helper()
	if value := object.Get(path); value.Exists() {
		t.Fatalf("expected no field %q, got %s in:\n%s", path, value.Raw, object.Raw)
	}
}

// Contain asserts that a list of strings has an element.
func Contain(t testing.TB, what string, list []string, element string) {
	t.Helper()
	if !slices.Contains(list, element) {
		t.Fatalf("%s: expected %q to be among %q", what, element, list)
	}
}

// NotContain asserts that a list of strings does not have an element.
func NotContain(t testing.TB, what string, list []string, element string) {
	t.Helper()
	if slices.Contains(list, element) {
		t.Fatalf("%s: expected %q not to be among %q", what, element, list)
	}
}

// SameSet asserts that two lists have the same elements, in any order.
func SameSet(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Fatalf("%s: expected, in any order, %q, got %q", what, want, got)
	}
}

// NoError asserts that the harness itself could do something. Doing completes "while ...".
func NoError(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("while %s: %v", doing, err)
	}
}

func shown(value gjson.Result) string {
	if !value.Exists() {
		return "nothing"
	}
	return value.Raw
}
