package matrix

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

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
