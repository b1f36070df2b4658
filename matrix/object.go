package matrix

import (
	"bytes"
	"fmt"
)

// field is one member of a canonical JSON object. Both parts are slices of the document.
type field struct {
	key   []byte // the inside of the key's string, escapes and all
	value []byte
	text  []byte // `"key":value`
}

// fields iterates over the members of an object in canonical JSON. The document must be the output
// of CanonicalJSON: nothing is checked again. It yields nothing when doc is not an object.
func fields(doc []byte) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		if len(doc) < 2 || doc[0] != '{' {
			return
		}
		for i := 1; doc[i] == '"'; {
			start := i
			i = skipString(doc, i)
			key := doc[start+1 : i-1]
			i++ // colon
			valueStart := i
			i = skipValue(doc, i)
			if !yield(field{key: key, value: doc[valueStart:i], text: doc[start:i]}) {
				return
			}
			if doc[i] != ',' {
				return
			}
			i++
		}
	}
}

// elements iterates over the elements of an array in canonical JSON.
func elements(doc []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		if len(doc) < 2 || doc[0] != '[' || doc[1] == ']' {
			return
		}
		for i := 1; ; i++ {
			start := i
			i = skipValue(doc, i)
			if !yield(doc[start:i]) || doc[i] != ',' {
				return
			}
		}
	}
}

// skipString returns the offset behind the string that opens at doc[i].
func skipString(doc []byte, i int) int {
	for i++; ; i++ {
		end := bytes.IndexByte(doc[i:], '"')
		if esc := bytes.IndexByte(doc[i:i+end], '\\'); esc >= 0 {
			i += esc + 1 // the escaped byte, which the loop steps over
			continue
		}
		return i + end + 1
	}
}

// skipValue returns the offset behind the value that starts at doc[i].
func skipValue(doc []byte, i int) int {
	switch doc[i] {
	case '"':
		return skipString(doc, i)
	case '{', '[':
		for depth := 0; ; {
			switch doc[i] {
			case '"':
				i = skipString(doc, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	default:
		for i < len(doc) && doc[i] != ',' && doc[i] != '}' && doc[i] != ']' {
			i++
		}
		return i
	}
}

// lookup returns the value of a member of a canonical object, or nil. The key must need no escapes.
func lookup(doc []byte, key string) []byte {
	for f := range fields(doc) {
		if string(f.key) == key {
			return f.value
		}
	}
	return nil
}

// stringValue decodes a canonical JSON string; ok is false for any other value.
func stringValue(value []byte) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return string(unescapeCanonical(value[1 : len(value)-1])), true
}

// objectBuilder writes a canonical object. Members must be added in order of their keys.
type objectBuilder struct{ buf []byte }

func newObject(capacity int) objectBuilder {
	return objectBuilder{append(make([]byte, 0, capacity), '{')}
}

func (b *objectBuilder) raw(text []byte) {
	if len(b.buf) > 1 {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(b.buf, text...)
}

func (b *objectBuilder) key(key string) {
	if len(b.buf) > 1 {
		b.buf = append(b.buf, ',')
	}
	b.buf = appendString(b.buf, key)
	b.buf = append(b.buf, ':')
}

func (b *objectBuilder) close() []byte {
	b.buf = append(b.buf, '}')
	return b.buf
}

// requireObject canonicalises doc strictly and demands an object.
func requireObject(doc []byte, canonicalise func([]byte) ([]byte, error)) ([]byte, error) {
	c, err := canonicalise(doc)
	if err != nil {
		return nil, err
	}
	if c[0] != '{' {
		return nil, fmt.Errorf("%w: not an object", ErrNotCanonical)
	}
	return c, nil
}
