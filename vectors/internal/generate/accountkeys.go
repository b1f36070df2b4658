package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"countersign/matrix"
	"countersign/matrix/edge"
	"countersign/vectors"
)

func accountKeys() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "account-keys",
		Title: "Spellings of account keys",
		About: "Is the text an account key, as the localpart of a user ID of MSC4243, and which one? The recommended rule: 43 characters of " +
			"the URL-safe alphabet of base64, which re-encode to themselves and encode a canonical point of the curve of more than small order. " +
			"Server keys of MSC4345 and the user IDs of MSC4348 are spelt alike. What is recorded of a library is whether it decodes the text to 32 bytes: " +
			"the rest of the rule is the caller's.",
		Fields: map[string]string{
			"text":       "the text",
			"public_key": "the key, 32 bytes in hexadecimal",
		},
	}
	honest := bothAlphabets().Key()
	text := honest.String()
	const alias = "A second text for a key that is known. Where it is accepted, a user has a second user ID: one that was not banned, has no power " +
		"level, and is not erased. Where servers differ, the room splits."
	const length = "Decoders that return another number of bytes than 32 pass it on to code that may crash on it."
	const noPoint = "Nobody can sign for it, or anybody can; servers that read keys before they are used differ from those that do not."
	add := func(name, title, probe, note, text string) {
		v := vectors.Vector{ID: name, Title: title, Probe: probe, Note: note, Input: map[string]string{"text": text}, Expect: vectors.Reject}
		if key, err := matrix.ParseAccountKey(text); err == nil {
			v.Expect, v.Output = vectors.Accept, map[string]string{"public_key": hex.EncodeToString(key[:])}
		}
		f.Vectors = append(f.Vectors, v)
	}
	add("honest", "as MSC4243 writes it", "", "", text)
	for i := 1; i <= 3; i++ {
		add(fmt.Sprintf("trailing-bits-%d", i), fmt.Sprintf("the two unused bits of the last character are %d", i), fmt.Sprintf("LP%02d", i), alias, withTrailingBits(text, i))
	}
	add("standard-alphabet", "in the standard alphabet", "LP04", alias, toStandard.Replace(text))
	cut := strings.IndexAny(text, "-_") + 1
	add("both-alphabets", "one character in the standard alphabet, the others URL-safe", "LP05", alias, toStandard.Replace(text[:cut])+text[cut:])
	add("padded", "padded to 44 characters", "LP06", alias, text+"=")
	add("padded-twice", "with two padding characters", "", alias, text+"==")
	add("padded-with-more", "padded, with more characters behind the padding", "", alias, text+"=AAAA")
	add("followed-by-dots", "followed by four dots", "LP07", alias, text+"....")
	add("dots-within", "with four dots in the middle", "", alias, text[:20]+"...."+text[20:])
	add("followed-by-spaces", "followed by four spaces", "", alias, text+"    ")
	add("followed-by-newline", "followed by a line feed", "LP08", alias, text+"\n")
	add("followed-by-newlines", "followed by four line feeds", "", alias, text+"\n\n\n\n")
	add("followed-by-carriage-return", "followed by a carriage return", "", alias, text+"\r")
	add("newline-within", "with a line feed in the middle", "", alias, text[:20]+"\n"+text[20:])
	add("followed-by-nul", "followed by a NUL", "", alias, text+"\x00")
	add("percent-escaped", "followed by an escaped hyphen", "", alias, text+"%2D")
	sized := func(size int) string {
		return matrix.EncodeURLBase64(append(honest[:31:31], make([]byte, 170)...)[:size])
	}
	add("42-characters", "31 bytes, in 42 characters", "LP09", length, sized(31))
	add("44-characters", "33 bytes, in 44 characters", "LP10", length, sized(33))
	add("64-bytes", "64 bytes", "", length, sized(64))
	add("empty", "no text", "LP11", length, "")
	add("one-character", "one character, which encodes no byte", "", length, "A")
	add("lower-case", "in lower case", "LP12", "Localparts used to be in lower case, and code that folds them makes another key of it.", strings.ToLower(text))
	add("hexadecimal", "in hexadecimal", "", alias, hex.EncodeToString(honest[:]))
	add("user-id", "with the sigil of a user ID", "", alias, "@"+text)
	add("account-name", "an account name", "", "An account name of 43 characters is spelt like a key.", "alice")
	offCurve, err := edge.Case{KeyBytes: hex.EncodeToString(edge.OffCurve())}.Key(nil)
	if err != nil {
		return nil, err
	}
	add("off-curve", "the y coordinate 2, which no point of the curve has", "ED21", noPoint, matrix.AccountKey(offCurve).String())
	for _, list := range [][]edge.Named{edge.SmallOrderKeys(), edge.NonCanonicalKeys()} {
		for _, named := range list {
			key, err := named.Edge.Key(nil)
			if err != nil {
				return nil, err
			}
			add(named.Name, "edge case "+named.Name, "", noPoint, matrix.AccountKey(key).String())
		}
	}
	mixed, err := edge.Case{KeyTorsion: 1}.Key(privateKey("an ordinary account"))
	if err != nil {
		return nil, err
	}
	add("key-mixed-order", "a key with a part of order 8", "", "The recommended rule accepts it; one that asks for keys of prime order would not.", matrix.AccountKey(mixed).String())
	return f, nil
}
