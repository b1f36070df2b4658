package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/vectors"
)

// What is committed is what the generator makes, byte by byte.
func TestGenerate_ReproducesWhatIsCommitted(t *testing.T) {
	t.Parallel()
	made, err := generate()
	require.NoError(t, err)
	require.Len(t, made, len(vectors.Names())+1)
	for name, text := range made {
		committed, err := os.ReadFile("../../" + name)
		if errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s is missing: run go generate ./vectors", name)
		}
		require.NoError(t, err)
		if !bytes.Equal(text, committed) {
			t.Errorf("%s is not what the generator makes: run go generate ./vectors", name)
		}
	}
}

func TestFiles_FollowTheSchema(t *testing.T) {
	t.Parallel()
	text, err := vectors.Schema()
	require.NoError(t, err)
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("schema.json", schema))
	compiled, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	for _, name := range append(vectors.Names(), "rules", "implementations") {
		text, err := vectors.Bytes(name)
		require.NoError(t, err, name)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err, name)
		require.NoError(t, compiled.Validate(document), name)
	}
}

func TestFiles_AreWhole(t *testing.T) {
	t.Parallel()
	for _, name := range vectors.Names() {
		f, err := vectors.Load(name)
		require.NoError(t, err)
		require.Equal(t, name, f.Name)
		ids, verdicts := map[string]bool{}, map[vectors.Verdict]int{}
		for _, v := range f.Vectors {
			require.False(t, ids[v.ID], "%s.json has two vectors %q", name, v.ID)
			ids[v.ID] = true
			verdicts[v.Expect]++
			for _, members := range []map[string]string{v.Input, v.Output} {
				for member := range members {
					if member != "cosigner_seed" {
						require.Contains(t, f.Fields, member, "%s.json: %s", name, v.ID)
					}
				}
			}
		}
		require.Positive(t, verdicts[vectors.Accept], name)
		if name != "events" {
			require.Positive(t, verdicts[vectors.Reject], name)
		}
	}
}

// A signature of ed25519.json is the one in its event.
func TestEd25519_EventsCarryTheSignatures(t *testing.T) {
	t.Parallel()
	f, err := vectors.Load("ed25519")
	require.NoError(t, err)
	for _, v := range f.Vectors {
		e, err := matrix.ParseEvent(matrix.RoomVersionMSC4243(), []byte(v.Input["event"]))
		require.NoError(t, err, v.ID)
		require.True(t, e.HashOK(), v.ID)
		require.Equal(t, v.Input["message"], string(e.SigningBytes()), v.ID)
		require.Equal(t, v.Expect == vectors.Accept, e.VerifyAccountKey(e.Sender()) == nil, v.ID)
		key, err := hex.DecodeString(v.Input["public_key"])
		require.NoError(t, err)
		signature, err := hex.DecodeString(v.Input["signature"])
		require.NoError(t, err)
		require.Equal(t, v.Rules["go"] == vectors.Accept, ed25519.Verify(key, []byte(v.Input["message"]), signature), v.ID)
		var parsed struct {
			Signatures map[string]map[string]string
		}
		require.NoError(t, json.Unmarshal([]byte(v.Input["event"]), &parsed))
		require.Equal(t, matrix.EncodeBase64(signature), parsed.Signatures[e.Sender().Localpart()]["ed25519:1"], v.ID)
	}
}
