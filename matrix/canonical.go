package matrix

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
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
