package store

import (
	"bytes"
	"encoding/binary"
)

// successor is the least key that is greater than every key with a prefix, or nil when there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			s := bytes.Clone(prefix[:i+1])
			s[i]++
			return s
		}
	}
	return nil
}

// Key joins strings to a key. Each is closed by a zero byte, so that the key of fewer parts is a
// prefix of the keys of more, and of no others.
func Key(parts ...string) []byte {
	n := 0
	for _, p := range parts {
		n += len(p) + 1
	}
	key := make([]byte, 0, n+16)
	for _, p := range parts {
		key = append(append(key, p...), 0)
	}
	return key
}

// AppendInt appends an integer so that keys sort by it, negative numbers first.
func AppendInt(key []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(n)^(1<<63))
}

// Int reads what AppendInt appended at the start of b. It returns 0 when b is too short.
func Int(b []byte) int64 {
	if len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b) ^ (1 << 63))
}

// SplitKey returns the strings that Key joined, and what was appended after them when there are more
// than n.
func SplitKey(key []byte, n int) (parts []string, rest []byte) {
	for range n {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			break
		}
		parts = append(parts, string(key[:i]))
		key = key[i+1:]
	}
	return parts, key
}
