package matrix

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxSafeInteger is the largest magnitude that canonical JSON allows for a number, 2^53-1.
const MaxSafeInteger = 1<<53 - 1

// MaxNesting is how deep arrays and objects may nest before a document is refused. The
// specification sets no limit; without one a peer chooses how much stack a server spends.
const MaxNesting = 512

// ErrNotCanonical is wrapped by every error that says why bytes have no canonical JSON form.
var ErrNotCanonical = errors.New("not canonicalisable JSON")

// CanonicalJSON returns the canonical form of one JSON document: shortest UTF-8 encoding, no
// insignificant white space, object keys sorted by code point (specification appendices, "Canonical
// JSON"). It is strict, as room versions 6 and later demand of events: it refuses fractions,
// exponents, negative zero, integers beyond ±(2^53−1), duplicate keys, invalid UTF-8, unpaired
// surrogates and trailing data. Errors wrap ErrNotCanonical and give the byte offset.
func CanonicalJSON(doc []byte) ([]byte, error) {
	return AppendCanonicalJSON(make([]byte, 0, len(doc)), doc)
}

// AppendCanonicalJSON appends the canonical form of doc to dst. See CanonicalJSON.
func AppendCanonicalJSON(dst, doc []byte) ([]byte, error) {
	return appendCanonical(dst, doc, false)
}

// LenientCanonicalJSON is CanonicalJSON for documents that are not events: a number with an
// integral value within range becomes that integer ("1e10", "-0"), any other number stays as it is
// written, and of duplicate keys the last one counts. Signed requests are checked over this form, so
// that a request which carries a malformed event fails for that event alone.
func LenientCanonicalJSON(doc []byte) ([]byte, error) {
	return appendCanonical(make([]byte, 0, len(doc)), doc, true)
}

func appendCanonical(dst, doc []byte, lenient bool) ([]byte, error) {
	c := canonicaliser{src: doc, dst: dst, lenient: lenient}
	var stack [48]canonicalMember // enough for an ordinary event, and off the heap
	c.members = stack[:0]
	err := c.value(0)
	if err == nil {
		c.skipSpace()
		if c.pos != len(c.src) {
			err = c.fail("data after the end of the document")
		}
	}
	if err != nil {
		return dst, err
	}
	return c.dst, nil
}

// canonicaliser writes each object's members in source order, notes where each one landed in dst,
// and reorders them only when they were not sorted already, which honest input usually is.
type canonicaliser struct {
	src     []byte
	pos     int
	dst     []byte
	lenient bool
	members []canonicalMember // a stack, shared by all open objects
}

// canonicalMember locates one `"key":value` in dst.
type canonicalMember struct {
	start, keyEnd, end int
	escaped            bool // the key's text contains a backslash escape
}

func (c *canonicaliser) fail(format string, args ...any) error {
	return fmt.Errorf("%w: %s at byte %d", ErrNotCanonical, fmt.Sprintf(format, args...), c.pos)
}

func (c *canonicaliser) skipSpace() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\n', '\r':
			c.pos++
		default:
			return
		}
	}
}

func (c *canonicaliser) value(depth int) error {
	c.skipSpace()
	if c.pos >= len(c.src) {
		return c.fail("unexpected end")
	}
	switch b := c.src[c.pos]; {
	case b == '"':
		_, err := c.string()
		return err
	case b == '{':
		return c.object(depth + 1)
	case b == '[':
		return c.array(depth + 1)
	case b == '-' || '0' <= b && b <= '9':
		return c.number()
	case b == 't':
		return c.literal("true")
	case b == 'f':
		return c.literal("false")
	case b == 'n':
		return c.literal("null")
	default:
		return c.fail("unexpected byte %q", b)
	}
}

func (c *canonicaliser) literal(word string) error {
	if len(c.src)-c.pos < len(word) || string(c.src[c.pos:c.pos+len(word)]) != word {
		return c.fail("unknown literal")
	}
	c.pos += len(word)
	c.dst = append(c.dst, word...)
	return nil
}

func (c *canonicaliser) array(depth int) error {
	if depth > MaxNesting {
		return c.fail("nesting deeper than %d", MaxNesting)
	}
	c.pos++
	c.dst = append(c.dst, '[')
	c.skipSpace()
	if c.pos < len(c.src) && c.src[c.pos] == ']' {
		c.pos++
		c.dst = append(c.dst, ']')
		return nil
	}
	for {
		if err := c.value(depth); err != nil {
			return err
		}
		c.skipSpace()
		if c.pos >= len(c.src) {
			return c.fail("unexpected end of array")
		}
		b := c.src[c.pos]
		if b != ',' && b != ']' {
			return c.fail("unexpected byte %q in array", b)
		}
		c.pos++
		c.dst = append(c.dst, b)
		if b == ']' {
			return nil
		}
	}
}

func (c *canonicaliser) object(depth int) error {
	if depth > MaxNesting {
		return c.fail("nesting deeper than %d", MaxNesting)
	}
	c.pos++
	c.dst = append(c.dst, '{')
	base, body := len(c.members), len(c.dst)
	sorted := true
	for {
		c.skipSpace()
		if c.pos >= len(c.src) {
			return c.fail("unexpected end of object")
		}
		if c.src[c.pos] == '}' && len(c.members) == base {
			c.pos++
			c.dst = append(c.dst, '}')
			return nil
		}
		if c.src[c.pos] != '"' {
			return c.fail("expected an object key, found %q", c.src[c.pos])
		}
		m := canonicalMember{start: len(c.dst)}
		var err error
		if m.escaped, err = c.string(); err != nil {
			return err
		}
		m.keyEnd = len(c.dst) - 1
		c.skipSpace()
		if c.pos >= len(c.src) || c.src[c.pos] != ':' {
			return c.fail("expected a colon after an object key")
		}
		c.pos++
		c.dst = append(c.dst, ':')
		if err := c.value(depth); err != nil {
			return err
		}
		m.end = len(c.dst)
		if n := len(c.members); n > base && sorted {
			switch order := c.compare(c.members[n-1], m); {
			case order == 0 && !c.lenient:
				return c.fail("duplicate key %s", abbreviate(string(c.dst[m.start:m.keyEnd+1])))
			case order >= 0:
				sorted = false
			}
		}
		c.members = append(c.members, m)
		c.skipSpace()
		if c.pos >= len(c.src) {
			return c.fail("unexpected end of object")
		}
		b := c.src[c.pos]
		if b != ',' && b != '}' {
			return c.fail("unexpected byte %q in object", b)
		}
		c.pos++
		c.dst = append(c.dst, b)
		if b == '}' {
			break
		}
	}
	members := c.members[base:]
	c.members = c.members[:base]
	if sorted {
		return nil
	}
	return c.reorder(members, body)
}

// reorder rewrites the object body that starts at offset body with its members sorted. The sorted
// text is built behind the old one and then moved over it.
func (c *canonicaliser) reorder(members []canonicalMember, body int) error {
	slices.SortStableFunc(members, c.compare)
	tail := len(c.dst)
	for i, m := range members {
		if i+1 < len(members) && c.compare(m, members[i+1]) == 0 {
			if !c.lenient {
				return c.fail("duplicate key %s", abbreviate(string(c.dst[m.start:m.keyEnd+1])))
			}
			continue // the last of equal keys counts
		}
		c.dst = append(c.dst, c.dst[m.start:m.end]...)
		c.dst = append(c.dst, ',')
	}
	c.dst[len(c.dst)-1] = '}'
	n := copy(c.dst[body:], c.dst[tail:])
	c.dst = c.dst[:body+n]
	return nil
}

// compare orders two members by the code points of their keys. UTF-8 sorts by code point, so bytes
// can be compared as they stand unless one of the keys is written with escapes.
func (c *canonicaliser) compare(a, b canonicalMember) int {
	ka, kb := c.dst[a.start+1:a.keyEnd], c.dst[b.start+1:b.keyEnd]
	if a.escaped {
		ka = unescapeCanonical(ka)
	}
	if b.escaped {
		kb = unescapeCanonical(kb)
	}
	return bytes.Compare(ka, kb)
}

// plainByte tells which bytes of a string are copied as they are: printable ASCII except the quote
// and the backslash.
var plainByte = func() (t [256]bool) {
	for b := 0x20; b < 0x80; b++ {
		t[b] = b != '"' && b != '\\'
	}
	return t
}()

// string copies one string and reports whether its canonical text contains an escape.
func (c *canonicaliser) string() (escaped bool, err error) {
	src, i := c.src, c.pos+1
	run := c.pos // the opening quote is part of the first run
	for {
		for i < len(src) && plainByte[src[i]] {
			i++
		}
		if i >= len(src) {
			c.pos = i
			return false, c.fail("unexpected end of string")
		}
		switch b := src[i]; {
		case b == '"':
			c.dst = append(c.dst, src[run:i+1]...)
			c.pos = i + 1
			return escaped, nil
		case b == '\\':
			c.dst = append(c.dst, src[run:i]...)
			c.pos = i
			before := len(c.dst)
			if err := c.escape(); err != nil {
				return false, err
			}
			escaped = escaped || c.dst[before] == '\\'
			i, run = c.pos, c.pos
		case b < 0x20:
			c.pos = i
			return false, c.fail("unescaped control character %#x in string", b)
		default:
			r, size := utf8.DecodeRune(src[i:])
			if r == utf8.RuneError && size == 1 {
				c.pos = i
				return false, c.fail("invalid UTF-8")
			}
			i += size
		}
	}
}

// escape reads one backslash escape (a surrogate pair counts as one) and appends its shortest form.
func (c *canonicaliser) escape() error {
	if c.pos+1 >= len(c.src) {
		return c.fail("unexpected end of string")
	}
	kind := c.src[c.pos+1]
	if kind == 'u' {
		r, err := c.hexEscape()
		if err != nil {
			return err
		}
		if 0xDC00 <= r && r <= 0xDFFF {
			return c.fail("unpaired surrogate")
		}
		if 0xD800 <= r && r <= 0xDBFF {
			if c.pos+1 >= len(c.src) || c.src[c.pos] != '\\' || c.src[c.pos+1] != 'u' {
				return c.fail("unpaired surrogate")
			}
			low, err := c.hexEscape()
			if err != nil {
				return err
			}
			if low < 0xDC00 || low > 0xDFFF {
				return c.fail("unpaired surrogate")
			}
			r = 0x10000 + (r-0xD800)<<10 + (low - 0xDC00)
		}
		c.dst = appendEscapedRune(c.dst, r)
		return nil
	}
	r := simpleEscape(kind)
	if r < 0 {
		return c.fail("unknown escape \\%c", kind)
	}
	c.pos += 2
	c.dst = appendEscapedRune(c.dst, r)
	return nil
}

// simpleEscape is the character that a backslash and kind stand for, or -1.
func simpleEscape(kind byte) rune {
	switch kind {
	case '"', '\\', '/':
		return rune(kind)
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return -1
}

func (c *canonicaliser) hexEscape() (rune, error) {
	if len(c.src)-c.pos < 6 {
		return 0, c.fail("unexpected end of string")
	}
	var r rune
	for _, b := range c.src[c.pos+2 : c.pos+6] {
		r <<= 4
		switch {
		case '0' <= b && b <= '9':
			r |= rune(b - '0')
		case 'a' <= b && b <= 'f':
			r |= rune(b-'a') + 10
		case 'A' <= b && b <= 'F':
			r |= rune(b-'A') + 10
		default:
			return 0, c.fail("bad hexadecimal digit %q in escape", b)
		}
	}
	c.pos += 6
	return r, nil
}

const lowerHex = "0123456789abcdef"

// appendEscapedRune appends r as canonical JSON writes it inside a string.
func appendEscapedRune(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if r < 0x20 {
		return append(dst, '\\', 'u', '0', '0', lowerHex[r>>4], lowerHex[r&0xf])
	}
	return utf8.AppendRune(dst, r)
}

// appendString appends s as a canonical JSON string. Invalid UTF-8 in s becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	run := 0
	for i := 0; i < len(s); {
		if plainByte[s[i]] {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError && r >= 0x80 {
			i += size
			continue
		}
		dst = append(dst, s[run:i]...)
		dst = appendEscapedRune(dst, r)
		i += size
		run = i
	}
	dst = append(dst, s[run:]...)
	return append(dst, '"')
}

// unescapeCanonical undoes the escapes that canonical JSON uses; s is the inside of a string.
func unescapeCanonical(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			n, _ := strconv.ParseUint(string(s[i+1:i+5]), 16, 8) // canonical text has only \u00XX
			out = append(out, byte(n))
			i += 4
		default:
			out = append(out, s[i])
		}
	}
	return out
}

func (c *canonicaliser) number() error {
	start, i := c.pos, c.pos
	negative := c.src[i] == '-'
	if negative {
		i++
	}
	digits := i
	for i < len(c.src) && '0' <= c.src[i] && c.src[i] <= '9' {
		i++
	}
	switch {
	case i == digits:
		return c.fail("a minus sign without digits")
	case c.src[digits] == '0' && i-digits > 1:
		return c.fail("a number with a leading zero")
	case i < len(c.src) && (c.src[i] == '.' || c.src[i] == 'e' || c.src[i] == 'E'):
		return c.fractional(start)
	case negative && c.src[digits] == '0':
		if !c.lenient {
			return c.fail("negative zero")
		}
		c.pos = i
		c.dst = append(c.dst, '0')
		return nil
	case !safeInteger(c.src[digits:i]) && !c.lenient:
		return c.fail("an integer beyond ±(2^53−1)")
	}
	c.dst = append(c.dst, c.src[start:i]...)
	c.pos = i
	return nil
}

// fractional reads a number that has a fraction or an exponent, which only lenient mode allows.
func (c *canonicaliser) fractional(start int) error {
	if !c.lenient {
		return c.fail("a number with a fraction or an exponent")
	}
	i := start
	for i < len(c.src) && bytes.IndexByte([]byte("+-.0123456789eE"), c.src[i]) >= 0 {
		i++
	}
	text := string(c.src[start:i])
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || !validFraction(text) {
		return c.fail("malformed number")
	}
	c.pos = i
	if n := int64(f); f >= -MaxSafeInteger && f <= MaxSafeInteger && float64(n) == f {
		c.dst = strconv.AppendInt(c.dst, n, 10)
	} else {
		c.dst = append(c.dst, text...)
	}
	return nil
}

// validFraction applies what JSON's grammar demands beyond strconv's: a digit on both sides of the
// decimal point.
func validFraction(text string) bool {
	for i := range text {
		if text[i] == '.' && (i == 0 || i+1 == len(text) || text[i+1] < '0' || text[i+1] > '9') {
			return false
		}
	}
	return true
}

func safeInteger(digits []byte) bool {
	const limit = "9007199254740991"
	return len(digits) < len(limit) || len(digits) == len(limit) && string(digits) <= limit
}
