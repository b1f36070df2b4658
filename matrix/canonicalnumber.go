package matrix

import (
	"bytes"
	"errors"
	"strconv"
)

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
