package must_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/helpers/must"
)

// recorder stands in for the test that an assertion stops.
type recorder struct {
	testing.TB
	message string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns the message that an assertion stops with; empty when it passes.
func failure(assert func(t testing.TB)) string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert(r)
	}()
	<-done
	return r.message
}

type answer struct {
	status int
	body   string
}

func (a answer) StatusCode() int { return a.status }
func (a answer) JSON() gjson.Result {
	if !gjson.Valid(a.body) {
		return gjson.Result{}
	}
	return gjson.Parse(a.body)
}
func (a answer) String() string { return fmt.Sprintf("GET /x -> %d %s", a.status, a.body) }

func TestWords(t *testing.T) {
	object := gjson.Parse(`{"s":"text","n":3,"b":true,"empty":""}`)
	forbidden := answer{403, `{"errcode":"M_FORBIDDEN"}`}
	for _, c := range []struct {
		name   string
		assert func(t testing.TB)
		// fails is a part of the message; empty when the assertion passes.
		fails string
	}{
		{"succeed", func(t testing.TB) { must.Succeed(t, answer{200, `{}`}) }, ""},
		{"succeed: refused", func(t testing.TB) { must.Succeed(t, forbidden) }, "GET /x -> 403"},
		{"succeed: not JSON", func(t testing.TB) { must.Succeed(t, answer{200, `<html>`}) }, "<html>"},
		{"refuse", func(t testing.TB) { must.Refuse(t, forbidden, 403, "M_OTHER", "M_FORBIDDEN") }, ""},
		{"refuse: any code", func(t testing.TB) { must.Refuse(t, forbidden, 403) }, ""},
		{"refuse: status", func(t testing.TB) { must.Refuse(t, forbidden, 400) }, "status 400"},
		{"refuse: code", func(t testing.TB) { must.Refuse(t, forbidden, 403, "M_OTHER") }, "errcode M_OTHER"},
		{"refuse: success", func(t testing.TB) { must.Refuse(t, answer{200, `{}`}, 403) }, "refusal"},
		{"refuse any", func(t testing.TB) { must.RefuseAny(t, forbidden) }, ""},
		{"refuse any: server error", func(t testing.TB) { must.RefuseAny(t, answer{500, `{"errcode":"M_UNKNOWN"}`}) }, "400 to 499"},
		{"refuse any: no errcode", func(t testing.TB) { must.RefuseAny(t, answer{404, `not found`}) }, "errcode"},
		{"equal", func(t testing.TB) { must.Equal(t, "count", 3, 3) }, ""},
		{"equal: not", func(t testing.TB) { must.Equal(t, "count", 3, 4) }, "count: expected 4, got 3"},
		{"be", func(t testing.TB) { must.Be(t, true, "truth") }, ""},
		{"be: not", func(t testing.TB) { must.Be(t, false, "%d members", 3) }, "expected 3 members"},
		{"field: string", func(t testing.TB) { must.Field(t, object, "s", "text") }, ""},
		{"field: number", func(t testing.TB) { must.Field(t, object, "n", 3) }, ""},
		{"field: long number", func(t testing.TB) { must.Field(t, object, "n", int64(3)) }, ""},
		{"field: boolean", func(t testing.TB) { must.Field(t, object, "b", true) }, ""},
		{"field: other value", func(t testing.TB) { must.Field(t, object, "s", "other") }, `got "text" in`},
		{"field: other type", func(t testing.TB) { must.Field(t, object, "n", "3") }, "got 3 in"},
		{"field: absent is not zero", func(t testing.TB) { must.Field(t, object, "x", 0) }, "got nothing in"},
		{"field: absent is not empty", func(t testing.TB) { must.Field(t, object, "x", "") }, "got nothing in"},
		{"field: empty", func(t testing.TB) { must.Field(t, object, "empty", "") }, ""},
		{"have", func(t testing.TB) { must.Have(t, object, "s") }, ""},
		{"have: not", func(t testing.TB) { must.Have(t, object, "x") }, `field "x"`},
		{"lack", func(t testing.TB) { must.Lack(t, object, "x") }, ""},
		{"lack: not", func(t testing.TB) { must.Lack(t, object, "s") }, `no field "s"`},
		{"contain", func(t testing.TB) { must.Contain(t, "list", []string{"a"}, "a") }, ""},
		{"contain: not", func(t testing.TB) { must.Contain(t, "list", []string{"a"}, "b") }, `"b" to be among`},
		{"not contain", func(t testing.TB) { must.NotContain(t, "list", []string{"a"}, "b") }, ""},
		{"not contain: not", func(t testing.TB) { must.NotContain(t, "list", []string{"a"}, "a") }, `"a" not to be`},
		{"same set", func(t testing.TB) { must.SameSet(t, "set", []string{"a", "b"}, []string{"b", "a"}) }, ""},
		{"same set: not", func(t testing.TB) { must.SameSet(t, "set", []string{"a", "a"}, []string{"a", "b"}) }, "set: expected"},
		{"no error", func(t testing.TB) { must.NoError(t, "working", nil) }, ""},
		{"no error: not", func(t testing.TB) { must.NoError(t, "working", fmt.Errorf("broken")) }, "while working: broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			message := failure(c.assert)
			if c.fails == "" {
				require.Empty(t, message)
				return
			}
			require.Contains(t, message, c.fails)
		})
	}
}
