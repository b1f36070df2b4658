package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"countersign/matrix"
	"countersign/vectors"
)

func canonicalJSON() (*vectors.File, error) {
	f := &vectors.File{
		Name:  "canonical-json",
		Title: "Documents and their canonical JSON",
		About: "What is the canonical form of the document, or has it none (appendices, \"Canonical JSON\", as room versions 6 and later enforce it)? " +
			"Hashes and signatures cover the canonical form, so that servers which differ here have different event IDs or refuse each other's events. " +
			"A library that makes another form of a document than the expected one is recorded as refusing it.",
		Fields: map[string]string{
			"document":     "the document, where it is UTF-8",
			"document_hex": "the bytes of the document in hexadecimal",
			"canonical":    "its canonical form, where it has one",
		},
	}
	const number = "Parsers that make a number of it and write that number accept the event; others refuse it."
	const text = "Parsers that repair the text hash other bytes than those that keep it."
	add := func(name, title, probe, note, document string) {
		v := vectors.Vector{ID: name, Title: title, Probe: probe, Note: note, Expect: vectors.Reject, Input: map[string]string{"document_hex": hex.EncodeToString([]byte(document))}}
		if utf8.ValidString(document) && len(document) < 4096 {
			v.Input["document"] = document
		}
		if canonical, err := matrix.CanonicalJSON([]byte(document)); err == nil {
			v.Expect, v.Output = vectors.Accept, map[string]string{"canonical": string(canonical)}
		}
		f.Vectors = append(f.Vectors, v)
	}
	add("empty-object", "nothing", "", "", `{}`)
	add("white-space", "white space between tokens", "", "", "{ \"b\" : [ 1 , 2 ] ,\r\n\t\"a\" : { } }")
	add("sorted", "keys out of order", "", "", `{"b":1,"a":2,"aa":3,"":4,"A":5}`)
	add("escapes", "characters that must and that need not be escaped", "", "", `{"k":"\u0000\u0008\u0009\u000a\u000c\u000d\u001f\u0022\u005c\u002f\/\u007f\u00e9\u65e5"}`)
	const key = "An implementation that writes keys without escaping them makes other bytes of it, which are no JSON: it refuses the event, and accepts a signature over the wrong bytes."
	add("key-quote", "a key with a quotation mark", "CJ01", key, `{"events":{"a\"b":1}}`)
	add("key-backslash", "a key with a backslash", "CJ02", key, `{"events":{"a\\b":1}}`)
	add("key-newline", "a key with a line feed", "CJ03", key, `{"events":{"a\nb":1}}`)
	add("key-nul", "a key with a NUL", "", key, `{"events":{"a\u0000b":1}}`)
	add("negative-zero", "-0", "CJ04", number, `{"n":-0}`)
	add("zero-fraction", "0.0", "CJ05", number, `{"n":0.0}`)
	add("negative-zero-fraction", "-0.0", "", number, `{"n":-0.0}`)
	add("fraction", "1.5", "", number, `{"n":1.5}`)
	add("exponent", "1e3", "", number, `{"n":1e3}`)
	add("exponent-upper-case", "1E3", "CJ06", number+" An implementation that looks for a lower-case e misses it.", `{"n":1E3}`)
	add("exponent-negative", "1E-3", "", number, `{"n":1E-3}`)
	add("exponent-of-zero", "0e1", "", number, `{"n":0e1}`)
	add("2-53-less-1", "2^53 - 1", "", "", `{"n":9007199254740991}`)
	add("2-53", "2^53", "CJ07", number, `{"n":9007199254740992}`)
	add("minus-2-53-less-1", "-(2^53 - 1)", "", "", `{"n":-9007199254740991}`)
	add("minus-2-53", "-2^53", "", number, `{"n":-9007199254740992}`)
	add("2-64", "2^64", "", number, `{"n":18446744073709551616}`)
	add("leading-zero", "a leading zero", "", number, `{"n":01}`)
	add("plus-sign", "a plus sign", "", number, `{"n":+1}`)
	add("not-a-number", "NaN", "", "Python's json reads it.", `{"n":NaN}`)
	add("lone-high-surrogate", "a high surrogate without a low one", "CJ08", text, `{"s":"\ud800"}`)
	add("lone-low-surrogate", "a low surrogate without a high one", "", text, `{"s":"\udc00"}`)
	add("surrogate-pair", "a pair of surrogates", "", "", `{"s":"\ud83d\ude00"}`)
	add("invalid-utf-8", "a byte that is no UTF-8", "CJ09", text, "{\"s\":\"\xff\"}")
	add("overlong-utf-8", "a character in more bytes than it needs", "", text, "{\"s\":\"\xc0\x80\"}")
	add("surrogate-in-utf-8", "a surrogate encoded in UTF-8", "", text, "{\"s\":\"\xed\xa0\x80\"}")
	add("astral-key-order", "keys whose order by code point and by UTF-16 differs", "CJ10",
		"Languages whose strings are UTF-16 sort the two keys the other way round.", `{"`+"\U00010000"+`":1,"`+"\uffff"+`":2}`)
	add("keys-that-differ-in-case", "keys that differ in case only, one of them with a long s", "CJ11",
		"Go's encoding/json takes one for the other when it fills a struct, and so reads another sender than the one that has signed.",
		`{"sender":"a","SENDER":"b","\u017fender":"c"}`)
	add("duplicate-key", "a key twice", "CJ13",
		"The last value counts for some, the first for others, and some keep both. The specification is silent; the recommended rule refuses it.", `{"a":1,"a":2}`)
	add("duplicate-key-escaped", "a key twice, once with an escape", "", "See duplicate-key.", `{"a":1,"\u0061":2}`)
	for i, depth := range []int{100, 200, 1000} {
		add(fmt.Sprintf("depth-%d", depth), "nested arrays", fmt.Sprintf("CJ12%c", 'a'+i),
			"The specification sets no limit, parsers do: 128 levels in serde_json, about 1000 in Python, 10000 in Go. The suite's own limit is 512.",
			`{"a":`+strings.Repeat("[", depth)+strings.Repeat("]", depth)+`}`)
	}
	add("trailing-comma", "a trailing comma", "", "", `{"a":1,}`)
	add("trailing-data", "a second document", "", "", `{} {}`)
	add("single-quotes", "single quotation marks", "", "", `{'a':1}`)
	add("comment", "a comment", "", "", `{"a":1/**/}`)
	add("control-character", "a line feed within a string, not escaped", "", text, "{\"s\":\"a\nb\"}")
	add("byte-order-mark", "a byte order mark", "", text, "\ufeff{}")
	add("replacement-character", "U+FFFD, which repairs insert", "", "", "{\"s\":\"\ufffd\"}")
	add("noncharacter", "U+FFFF, which is no character but may be written", "", "", "{\"s\":\"\uffff\"}")
	return f, nil
}
