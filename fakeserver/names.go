package fakeserver

import (
	"encoding/hex"
	"math/big"
	"slices"
	"strings"

	"countersign/matrix"
	"countersign/matrix/edge"
)

// templateNames are what the templates of a forgery stand for.
func (p Proto) templateNames() names {
	u := p.Author
	key := u.account.Key()
	text := key.String()
	n := names{
		"key": text, "name": u.name, "domain": string(u.server.name), "sender": string(u.IDThrough(p.Version, p.ServerKey)),
		"std-key": standardAlphabet(text), "mixed-key": mixedAlphabet(text),
		"lower-key": strings.ToLower(text), "hex-key": hex.EncodeToString(key[:]), "base58-key": base58(key[:]),
		"off-curve": matrix.EncodeURLBase64(edge.OffCurve()), "name-43": lowerCaseNoPoint,
		"server-key-id": string(u.server.signer.KeyID), "room": p.RoomID,
	}
	for i, alias := range aliases(text) {
		n["alias-"+string(rune('1'+i))] = alias
	}
	for _, size := range []int{16, 31, 33, 64, 200} {
		bytes := append(slices.Clone(key[:]), make([]byte, 200)...)[:size]
		n["key-"+big.NewInt(int64(size)).String()] = matrix.EncodeURLBase64(bytes)
	}
	for _, size := range []int{210, 211} {
		n["long-domain-"+big.NewInt(int64(size)).String()] = longDomain(size)
	}
	if ids := p.AuthEvents; len(ids) > 0 {
		n["auth-event"], n["last-auth-event"] = ids[0], ids[len(ids)-1]
	}
	if len(p.CoSigners) > 0 {
		c := p.CoSigners[0]
		n["cosigner"] = string(c.IDThrough(p.Version, c.keyIn(p.RoomID, u, p.ServerKey)))
		n["cosigner-key"] = c.Key()
	}
	if isKey(p.ServerKey) {
		p.addServers(n)
	}
	p.Cast.addTo(n, p.Version, p.ServerKey)
	return n
}

// addServers adds the names of the servers that take part in the event.
func (p Proto) addServers(n names) {
	key := p.ServerKey.Key()
	text := key.String()
	n["server-key"], n["std-server-key"] = text, standardAlphabet(text)
	for i, alias := range aliases(text) {
		n["server-alias-"+string(rune('1'+i))] = alias
	}
	n["server-key-31"] = matrix.EncodeURLBase64(key[:31])
	n["server-key-33"] = matrix.EncodeURLBase64(append(slices.Clone(key[:]), 0))
	n["small-order"] = smallOrder
	if p.StateKey != nil {
		n["subject"] = *p.StateKey
	}
	if isKey(p.Authorising) {
		n["authoriser"] = p.Authorising.Key().String()
		n["std-authoriser"] = standardAlphabet(n["authoriser"])
	}
}

// smallOrder is the text of the neutral element, under which anybody can make signatures.
const smallOrder = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// addTo adds the names of the cast, who act through a server key.
func (c Cast) addTo(n names, v matrix.RoomVersion, through matrix.ServerKeyPair) {
	if c.Victim != "" {
		id := matrix.UserID(c.Victim)
		n["victim"], n["victim-domain"] = c.Victim, string(id.Domain())
		if v.HasAccountKeys() {
			n["victim-key"] = id.Localpart()
		} else {
			n["victim-name"] = id.Localpart()
		}
	}
	if c.VictimName != "" {
		n["victim-name"] = c.VictimName
	}
	if c.Other != nil {
		n["other"], n["other-key"], n["other-name"] = string(c.Other.IDThrough(v, through)), c.Other.Key(), c.Other.name
	}
	if c.Stranger != nil {
		n["stranger"], n["stranger-key"] = string(c.Stranger.IDThrough(v, through)), c.Stranger.Key()
	}
	for name, pair := range map[string]matrix.ServerKeyPair{
		"other-server": c.OtherServer, "requested-server": c.RequestedServer, "revoked-server": c.RevokedServer,
		"unknown-server": c.UnknownServer, "foreign-server": c.ForeignServer,
	} {
		if isKey(pair) {
			n[name] = pair.Key().String()
		}
	}
	if c.VictimServer != "" {
		n["victim-server"] = string(c.VictimServer)
	}
	n["elsewhere"] = "elsewhere.invalid"
	if c.Elsewhere != "" {
		n["elsewhere"] = c.Elsewhere
	}
	if c.OtherRoom != nil {
		n["other-room"] = c.OtherRoom.ID()
		if extremities := c.OtherRoom.Extremities(); len(extremities) > 0 {
			n["other-event"] = extremities[0]
		}
	}
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func standardAlphabet(text string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(text)
}

// mixedAlphabet spells the first character that can be spelt in two ways in the standard alphabet. A
// key that holds both of '-' and '_' keeps the other, so that both alphabets occur.
func mixedAlphabet(text string) string {
	if strings.Contains(text, "-") {
		return strings.ReplaceAll(text, "-", "+")
	}
	return strings.ReplaceAll(text, "_", "/")
}

// aliases are the three other texts that decode to the same 32 bytes: 43 characters are 258 bits.
func aliases(text string) []string {
	last := strings.IndexByte(base64Digits, text[len(text)-1])
	list := make([]string, 3)
	for i := range list {
		list[i] = text[:len(text)-1] + string(base64Digits[last|i+1])
	}
	return list
}

// lowerCaseNoPoint could be an account name, and has the length of an account key.
const lowerCaseNoPoint = "mallory-mallory-mallory-mallory-mallory-mag"

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

func base58(data []byte) string {
	n, base, digit := new(big.Int).SetBytes(data), big.NewInt(58), new(big.Int)
	var text []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		text = append(text, base58Digits[digit.Int64()])
	}
	for i := 0; i < len(data) && data[i] == 0; i++ {
		text = append(text, base58Digits[0])
	}
	slices.Reverse(text)
	return string(text)
}

// longDomain is a server name of a size, of labels of at most 63 characters.
func longDomain(size int) string {
	name := "invalid"
	for len(name) < size {
		label := min(63, size-len(name)-1)
		if rest := size - len(name) - 1 - label; rest == 1 {
			label-- // a dot alone would be left over
		}
		name = strings.Repeat("x", label) + "." + name
	}
	return name
}
