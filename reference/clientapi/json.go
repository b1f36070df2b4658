package clientapi

import (
	"encoding/json"
	"fmt"

	"github.com/tidwall/sjson"
)

// mustJSON is the JSON of a value that always has one: a string, a number, or maps and slices of
// such. It panics for others, which is a mistake in this package.
func mustJSON(value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("a value of type %T has no JSON form: %v", value, err))
	}
	return raw
}

// with is a JSON object with one property set, named by a constant sjson path. The object itself is
// not changed.
func with(object []byte, path string, value any) []byte {
	out, err := sjson.SetRawBytes(object, path, mustJSON(value))
	if err != nil {
		panic(fmt.Sprintf("%q is not a path: %v", path, err))
	}
	return out
}

// without is a JSON object with one property left out, named by a constant sjson path.
func without(object []byte, path string) []byte {
	out, err := sjson.DeleteBytes(object, path)
	if err != nil {
		panic(fmt.Sprintf("%q is not a path: %v", path, err))
	}
	return out
}
