package fakeserver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"countersign/matrix"
	"countersign/matrix/edge"
)

// filed is a signature as it is filed: the values under one entity and key ID, as JSON text. There is
// more than one only where a key is to occur twice, and none where the entity has no signatures.
type filed struct {
	entity, keyID string
	values        []string
}

// spelling is how a signature is written down and filed.
type spelling struct {
	entity, keyID, json string
	encoding            Encoding
	cut, add            int
	flip                []int
	second              Second
}

// file writes a signature down. Empty parts of the spelling stay as the defaults.
func (s spelling) file(n names, entity string, keyID matrix.KeyID, signature []byte) (filed, error) {
	f := filed{entity: entity, keyID: string(keyID)}
	var err error
	if s.entity != "" {
		if f.entity, err = n.expand(s.entity); err != nil {
			return f, err
		}
	}
	if s.keyID != "" {
		if f.keyID, err = n.expand(s.keyID); err != nil {
			return f, err
		}
	}
	value := slices.Clone(signature)
	for _, bit := range s.flip {
		if bit < 0 || bit >= 8*len(value) {
			return f, fmt.Errorf("a signature has no bit %d", bit)
		}
		value[bit/8] ^= 1 << (bit % 8)
	}
	if s.cut > len(value) {
		return f, fmt.Errorf("a signature has no %d bytes to cut", s.cut)
	}
	value = append(value[:len(value)-s.cut], make([]byte, s.add)...)
	text, err := s.encoding.encode(value)
	if err != nil {
		return f, err
	}
	f.values = []string{quoted(text)}
	if s.json != "" {
		replaced, err := n.expand(s.json)
		if err != nil {
			return f, err
		}
		f.values = []string{replaced}
	}
	bad := slices.Clone(signature)
	bad[0] ^= 1
	switch s.second {
	case BadSecond:
		f.values = append(f.values, quoted(matrix.EncodeBase64(bad)))
	case BadFirst:
		f.values = append([]string{quoted(matrix.EncodeBase64(bad))}, f.values...)
	}
	return f, nil
}

// encode spells bytes; the error is edge.ErrUnfit when they look alike in this encoding and the standard.
func (e Encoding) encode(value []byte) (string, error) {
	text := matrix.EncodeBase64(value)
	middle := len(text) / 2
	switch e {
	case URLSafeBase64:
		if !strings.ContainsAny(text, "+/") {
			return "", edge.ErrUnfit
		}
		return matrix.EncodeURLBase64(value), nil
	case PaddedBase64:
		return text + strings.Repeat("=", (4-len(text)%4)%4), nil
	case TrailingBitsBase64:
		return standardAlphabet(aliases(matrix.EncodeURLBase64(value))[0]), nil
	case DotsInBase64:
		return text[:middle] + "...." + text[middle:], nil
	case NewlineInBase64:
		return text[:middle] + "\n" + text[middle:], nil
	}
	return text, nil
}

// writeSignatures writes the signatures object, members in the order in which they were filed.
func writeSignatures(list []filed) string {
	var entities []string
	members := map[string][]string{}
	for _, f := range list {
		if _, ok := members[f.entity]; !ok {
			entities = append(entities, f.entity)
			members[f.entity] = nil
		}
		for _, value := range f.values {
			members[f.entity] = append(members[f.entity], quoted(f.keyID)+":"+value)
		}
	}
	for i, entity := range entities {
		entities[i] = quoted(entity) + ":{" + strings.Join(members[entity], ",") + "}"
	}
	return "{" + strings.Join(entities, ",") + "}"
}

// quoted is text as a JSON string.
func quoted(text string) string {
	b, _ := json.Marshal(text) // strings always marshal
	return string(b)
}
