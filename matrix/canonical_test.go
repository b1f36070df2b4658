package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What homeservers in the wild disagree on, and what this package makes of it.
func TestCanonicalJSONCases(t *testing.T) {
	const refused = ""
	for _, c := range []struct{ name, in, strict, lenient string }{
		{"key with a quote", `{"a\"b":1}`, `{"a\"b":1}`, `{"a\"b":1}`},
		{"key with a backslash", `{"a\\b":1}`, `{"a\\b":1}`, `{"a\\b":1}`},
		{"key with a line feed", `{"a\nb":1}`, `{"a\nb":1}`, `{"a\nb":1}`},
		{"key with NUL", `{"a\u0000b":1}`, `{"a\u0000b":1}`, `{"a\u0000b":1}`},
		{"escapes decide the order", `{"b":1,"\u0061":2}`, `{"a":2,"b":1}`, `{"a":2,"b":1}`},
		{"escaped keys are sorted by what they mean", `{"\\":1,"\"":2,"]":3,"\n":4}`, `{"\n":4,"\"":2,"\\":1,"]":3}`, `{"\n":4,"\"":2,"\\":1,"]":3}`},
		{"lone high surrogate", `{"a":"\ud800"}`, refused, refused},
		{"lone low surrogate", `{"a":"\udc00"}`, refused, refused},
		{"surrogates in the wrong order", `{"a":"\udc00\ud800"}`, refused, refused},
		{"high surrogate before another escape", `{"a":"\ud800\n"}`, refused, refused},
		{"high surrogate before a letter's escape", `{"a":"\ud800\u0041"}`, refused, refused},
		{"two high surrogates", `{"a":"\ud800\ud800"}`, refused, refused},
		{"surrogate pair", `{"a":"\ud83d\ude00"}`, `{"a":"😀"}`, `{"a":"😀"}`},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", refused, refused},
		{"CESU-8", "{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}", refused, refused},
		{"overlong", "{\"a\":\"\xc0\xaf\"}", refused, refused},
		{"cut-off rune", "{\"a\":\"\xe6\x97\"}", refused, refused},
		{"0.0", `0.0`, refused, `0`},
		{"-0.0", `-0.0`, refused, `0`},
		{"0e1", `0e1`, refused, `0`},
		{"1E3", `1E3`, refused, `1000`},
		{"1E-3", `1E-3`, refused, `1E-3`},
		{"1.5", `1.5`, refused, `1.5`},
		{"1e400", `1e400`, refused, `1e400`},
		{"-0", `-0`, refused, `0`},
		{"0", `0`, `0`, `0`},
		{"-1", `-1`, `-1`, `-1`},
		{"2^53-1", `9007199254740991`, `9007199254740991`, `9007199254740991`},
		{"-(2^53-1)", `-9007199254740991`, `-9007199254740991`, `-9007199254740991`},
		{"2^53", `9007199254740992`, refused, `9007199254740992`},
		{"-2^53", `-9007199254740992`, refused, `-9007199254740992`},
		{"many digits", `123456789012345678901234567890`, refused, `123456789012345678901234567890`},
		{"leading zero", `01`, refused, refused},
		{"minus alone", `-`, refused, refused},
		{"plus", `+1`, refused, refused},
		{"no digit before the point", `.5`, refused, refused},
		{"no digit behind the point", `1.`, refused, refused},
		{"no digit between point and exponent", `1.e5`, refused, refused},
		{"no digit in the exponent", `1e`, refused, refused},
		{"hexadecimal", `0x10`, refused, refused},
		{"underscore", `1_000`, refused, refused},
		{"NaN", `NaN`, refused, refused},
		{"Infinity", `-Infinity`, refused, refused},
		{"duplicate key", `{"a":1,"a":2}`, refused, `{"a":2}`},
		{"duplicate key apart", `{"a":1,"b":0,"a":2}`, refused, `{"a":2,"b":0}`},
		{"duplicate key, escaped", `{"a":1,"\u0061":2}`, refused, `{"a":2}`},
		{"duplicate nested key", `{"o":{"b":1,"a":{"x":[]},"a":{"y":[]}}}`, refused, `{"o":{"a":{"y":[]},"b":1}}`},
		{"keys that differ in case", `{"sender":1,"SENDER":2,"\u017fender":3}`, `{"SENDER":2,"sender":1,"ſender":3}`, `{"SENDER":2,"sender":1,"ſender":3}`},
		{"code point order is not UTF-16 order", `{"\ufb01":1,"\ud83d\ude00":2}`, `{"ﬁ":1,"😀":2}`, `{"ﬁ":1,"😀":2}`},
		{"empty key", `{"":1}`, `{"":1}`, `{"":1}`},
		{"DEL is not escaped", `"\u007f"`, "\"\x7f\"", "\"\x7f\""},
		{"solidus", `"\/"`, `"/"`, `"/"`},
		{"line separators are not escaped", `"\u2028\u2029"`, "\"\u2028\u2029\"", "\"\u2028\u2029\""},
		{"HTML is not escaped", `"\u003c&>"`, `"<&>"`, `"<&>"`},
		{"short escapes", `"\u0008\u0009\u000a\u000c\u000d\u000b\u001F"`, `"\b\t\n\f\r\u000b\u001f"`, `"\b\t\n\f\r\u000b\u001f"`},
		{"unescaped control character", "\"\x01\"", refused, refused},
		{"unknown escape", `"\x41"`, refused, refused},
		{"short hexadecimal escape", `"\u12"`, refused, refused},
		{"bad hexadecimal escape", `"\u12g4"`, refused, refused},
		{"white space", " {\t\"a\"\r\n: [ 1 , 2 ] } \n", `{"a":[1,2]}`, `{"a":[1,2]}`},
		{"other white space", "\u00a0{}", refused, refused},
		{"byte order mark", "\ufeff{}", refused, refused},
		{"two documents", `{}{}`, refused, refused},
		{"trailing comma", `{"a":1,}`, refused, refused},
		{"trailing comma in array", `[1,]`, refused, refused},
		{"leading comma", `[,1]`, refused, refused},
		{"no colon", `{"a" 1}`, refused, refused},
		{"key without quotes", `{a:1}`, refused, refused},
		{"single quotes", `{'a':1}`, refused, refused},
		{"literals", `[true,false,null]`, `[true,false,null]`, `[true,false,null]`},
		{"cut-off literal", `tru`, refused, refused},
		{"comment", `{}//`, refused, refused},
		{"nothing", ``, refused, refused},
		{"unclosed object", `{"a":1`, refused, refused},
		{"unclosed array", `[1`, refused, refused},
		{"unclosed string", `"a`, refused, refused},
		{"string ends in a backslash", `"a\`, refused, refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, mode := range []struct {
				canonicalise func([]byte) ([]byte, error)
				want         string
			}{{CanonicalJSON, c.strict}, {LenientCanonicalJSON, c.lenient}} {
				got, err := mode.canonicalise([]byte(c.in))
				if mode.want == refused {
					require.ErrorIs(t, err, ErrNotCanonical)
				} else {
					require.NoError(t, err)
					require.Equal(t, mode.want, string(got))
				}
			}
		})
	}
}

func TestCanonicalJSONNesting(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	got, err := CanonicalJSON(nested(MaxNesting))
	require.NoError(t, err)
	require.Equal(t, nested(MaxNesting), got)
	for _, n := range []int{MaxNesting + 1, 12000, 1 << 20} {
		_, err = CanonicalJSON(nested(n))
		require.ErrorIs(t, err, ErrNotCanonical)
	}
	deep := []byte(strings.Repeat(`{"a":`, 1<<18))
	_, err = CanonicalJSON(deep)
	require.ErrorIs(t, err, ErrNotCanonical)
}

func TestCanonicalJSONAppends(t *testing.T) {
	got, err := AppendCanonicalJSON([]byte("before "), []byte(`{"b":1,"a":{"d":1,"c":2}}`))
	require.NoError(t, err)
	require.Equal(t, `before {"a":{"c":2,"d":1},"b":1}`, string(got))
	got, err = AppendCanonicalJSON([]byte("before "), []byte(`{"b":1,"a":}`))
	require.Error(t, err)
	require.Equal(t, "before ", string(got))
}

func TestErrorsGiveTheOffset(t *testing.T) {
	_, err := CanonicalJSON([]byte(`{"a": 1, "b": x}`))
	require.ErrorContains(t, err, "at byte 14")
	_, err = CanonicalJSON([]byte(`{"` + strings.Repeat("k", 5000) + `":1,"` + strings.Repeat("k", 5000) + `":1}`))
	require.ErrorContains(t, err, "duplicate key")
	require.Less(t, len(err.Error()), 200, "an attacker chooses the length of error messages")
}

// plainEncode is canonical JSON of a value of encoding/json, written as the definition has it.
func plainEncode(v any) string {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Slice(keys, func(i, j int) bool { return lessByCodePoint(keys[i], keys[j]) })
		var members []string
		for _, k := range keys {
			members = append(members, plainEncode(k)+":"+plainEncode(v[k]))
		}
		return "{" + strings.Join(members, ",") + "}"
	case []any:
		var elements []string
		for _, e := range v {
			elements = append(elements, plainEncode(e))
		}
		return "[" + strings.Join(elements, ",") + "]"
	case string:
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			panic(err)
		}
		// encoding/json escapes two line separators that canonical JSON does not.
		return strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSuffix(b.String(), "\n"))
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
}

func lessByCodePoint(a, b string) bool {
	x, y := []rune(a), []rune(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return len(x) < len(y)
}

// jsonValue draws a value of encoding/json that canonical JSON can express.
func jsonValue() *rapid.Generator[any] {
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune{'"', '\\', '/', 0, 1, 8, 9, 10, 12, 13, 0x1f, 0x7f, 0x80, 0x2028, 0xd7ff, 0xe000, 0xfb01, 0xfffd, 0xffff, 0x10000, 0x1f600, 0x10ffff, 'a', 'u'})),
		rapid.SampledFrom([]string{"signatures", "unsigned", "hashes", "content", "type"}),
	)
	leaf := rapid.OneOf(
		rapid.Map(text, func(s string) any { return s }),
		rapid.Map(rapid.Int64Range(-MaxSafeInteger, MaxSafeInteger), func(n int64) any { return n }),
		rapid.SampledFrom([]any{true, false, nil, int64(0), int64(MaxSafeInteger), int64(-MaxSafeInteger)}),
	)
	value := leaf
	for range 3 {
		inner := value
		value = rapid.OneOf(leaf,
			rapid.Map(rapid.MapOfN(text, inner, 0, 6), func(m map[string]any) any { return m }),
			rapid.Map(rapid.SliceOfN(inner, 0, 4), func(s []any) any { return s }))
	}
	return value
}

// jsonObject is jsonValue for objects only.
func jsonObject() *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c"\\]{1,3}`)), jsonValue(), 0, 8)
}

// untidy writes a value as JSON with its keys in any order, white space anywhere, and characters
// escaped at whim.
func untidy(t *rapid.T, v any) string {
	space := func() string { return rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\r "}).Draw(t, "space") }
	var b strings.Builder
	b.WriteString(space())
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		b.WriteString("{" + space())
		for i, k := range rapid.Permutation(keys).Draw(t, "key order") {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(untidy(t, k) + ":" + untidy(t, v[k]))
		}
		b.WriteString("}")
	case []any:
		b.WriteString("[" + space())
		for i, e := range v {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(untidy(t, e))
		}
		b.WriteString("]")
	case string:
		b.WriteString(`"`)
		for _, r := range v {
			switch choice := rapid.IntRange(0, 2).Draw(t, "escape"); {
			case choice == 0 && r >= 0x10000:
				high, low := utf16.EncodeRune(r)
				fmt.Fprintf(&b, `\u%04x\u%04X`, high, low)
			case choice == 0:
				fmt.Fprintf(&b, `\u%04X`, r)
			case r == '/' && choice == 1:
				b.WriteString(`\/`)
			default:
				quoted := plainEncode(string(r))
				b.WriteString(quoted[1 : len(quoted)-1])
			}
		}
		b.WriteString(`"`)
	default:
		b.WriteString(plainEncode(v))
	}
	b.WriteString(space())
	return b.String()
}

// Whatever the spelling, the canonical form is the definition's; it is its own canonical form; and
// encoding/json reads the same value from it.
func TestCanonicalJSONProperties(t *testing.T) {
	value := jsonValue()
	rapid.Check(t, func(t *rapid.T) {
		v := value.Draw(t, "value")
		doc := []byte(untidy(t, v))
		got, err := CanonicalJSON(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		if want := plainEncode(v); want != string(got) {
			t.Fatalf("%s\nbecame\n%s\nnot\n%s", doc, got, want)
		}
		again, err := CanonicalJSON(got)
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("%s is not its own canonical form: %s, %v", got, again, err)
		}
		lenient, err := LenientCanonicalJSON(doc)
		if err != nil || !bytes.Equal(got, lenient) {
			t.Fatalf("lenient: %s, %v", lenient, err)
		}
		if !sameJSON(t, doc, got) {
			t.Fatalf("encoding/json reads another value from %s than from %s", got, doc)
		}
	})
}

// sameJSON compares two documents as encoding/json reads them.
func sameJSON(t interface{ Fatalf(string, ...any) }, a, b []byte) bool {
	var texts [2]string
	for i, doc := range [][]byte{a, b} {
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("encoding/json: %v in %s", err, doc)
		}
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		texts[i] = string(out)
	}
	return texts[0] == texts[1]
}
