package matrix

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// other is a process that runs testdata/pin.py, an implementation of the wire that shares nothing with
// this package.
type other struct {
	in  io.Writer
	out *bufio.Reader
}

// pythonWithPackages finds an interpreter that has the packages: the one that COUNTERSIGN_PYTHON names,
// or one of the usual ones.
func pythonWithPackages(ctx context.Context) (path string, reason string) {
	reason = "no python3"
	for _, name := range []string{os.Getenv("COUNTERSIGN_PYTHON"), "python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if name == "" || err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", "import signedjson.sign, canonicaljson, unpaddedbase64").CombinedOutput()
		if err == nil {
			return path, ""
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		reason = fmt.Sprintf("%s: %v: %s", path, err, lines[len(lines)-1])
	}
	return "", reason
}

func startOther(t *testing.T) *other {
	t.Helper()
	// Not t.Context, which ends before the process is told to end.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	path, reason := pythonWithPackages(ctx)
	if path == "" {
		t.Skipf("no second implementation to compare with (%s); install the packages signedjson and canonicaljson for python3", reason)
	}
	cmd := exec.CommandContext(ctx, path, "testdata/pin.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Errorf("closing the input of %s: %v", path, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	})
	return &other{in, bufio.NewReader(out)}
}

// ask sends one request and returns the answer; refusal is the other side's error.
func (o *other) ask(t interface{ Fatalf(string, ...any) }, request map[string]any) (result, refusal string) {
	b, err := json.Marshal(request)
	if err == nil {
		_, err = o.in.Write(append(b, '\n'))
	}
	var line []byte
	if err == nil {
		line, err = o.out.ReadBytes('\n')
	}
	var answer struct{ Result, Error string }
	if err == nil {
		err = json.Unmarshal(line, &answer)
	}
	if err != nil {
		t.Fatalf("asking Python for %v: %v", request["op"], err)
	}
	return answer.Result, answer.Error
}

// TestAgreesWithPython compares this package byte for byte with the Python packages that homeservers
// use, on generated documents.
func TestAgreesWithPython(t *testing.T) {
	o := startOther(t)
	agree := func(t *rapid.T, what, want string, request map[string]any) {
		got, refusal := o.ask(t, request)
		if refusal != "" {
			t.Fatalf("%s: Python refuses: %s", what, refusal)
		}
		if got != want {
			t.Fatalf("%s: Python has\n%s\nwe have\n%s", what, got, want)
		}
	}
	signer := func(t *rapid.T, request map[string]any) Signer {
		s := drawSigner(t)
		_, version, _ := strings.Cut(string(s.KeyID), ":")
		request["name"], request["version"], request["seed"] = s.Entity, version, EncodeBase64(s.Key.Seed())
		return s
	}
	t.Run("canonical JSON", rapid.MakeCheck(func(t *rapid.T) {
		doc := untidy(t, jsonValue().Draw(t, "value"))
		want, err := CanonicalJSON([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		agree(t, "canonical JSON", string(want), map[string]any{"op": "canonical", "doc": doc})
	}))
	t.Run("signatures", rapid.MakeCheck(func(t *rapid.T) {
		object := jsonObject().Draw(t, "object")
		delete(object, "signatures") // Python expects an object there
		request := map[string]any{"op": "sign", "doc": untidy(t, object)}
		s := signer(t, request)
		want, err := SignJSON([]byte(request["doc"].(string)), s)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, "signed JSON", string(want), request)
		request["op"], request["doc"] = "verify", string(want)
		agree(t, "verification of our signature", "ok", request)
	}))
	t.Run("events", rapid.MakeCheck(func(t *rapid.T) {
		p, v, _ := drawEvent(t)
		request := map[string]any{"op": "event"}
		s := signer(t, request)
		e, err := p.Build(v, s)
		if err != nil {
			t.Fatal(err)
		}
		request["doc"] = removeMember(removeMember(string(e.JSON()), "signatures"), "hashes")
		agree(t, "event", e.ID()+" "+string(e.JSON()), request)

		b := newObject(0)
		for f := range fields(e.JSON()) {
			if k := string(f.key); k != "unsigned" && k != "signatures" && k != "hashes" {
				b.raw(f.text)
			}
		}
		agree(t, "input of the content hash", string(b.close()), map[string]any{"op": "content_hash_input", "doc": string(e.JSON())})
	}))
	t.Run("X-Matrix", rapid.MakeCheck(func(t *rapid.T) {
		request := map[string]any{"op": "x_matrix", "method": "PUT", "uri": "/_matrix/" + rapid.StringMatching(`[!-~]{0,20}`).Draw(t, "uri"), "destination": "b.example:8448", "doc": ""}
		s := signer(t, request)
		s.Entity = "a.example"
		request["origin"] = s.Entity
		r := FederationRequest{Method: "PUT", URI: request["uri"].(string), Origin: "a.example", Destination: "b.example:8448"}
		if rapid.Bool().Draw(t, "has a body") {
			request["doc"] = untidy(t, jsonObject().Draw(t, "body"))
			r.Content = []byte(request["doc"].(string))
		}
		want, err := r.Authorization(s)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, "Authorization header", want, request)
	}))
	t.Run("base64", rapid.MakeCheck(func(t *rapid.T) {
		text := EncodeBase64(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		agree(t, "base64", text, map[string]any{"op": "base64", "doc": text})
	}))
	// Where we are stricter or not, on the cases that servers disagree on.
	t.Run("refusals", func(t *testing.T) {
		for _, doc := range []string{`{"a":1.5}`, `{"a":9007199254740992}`, `{"a":"\ud800"}`, `{"a":NaN}`, `{"a":1} x`, `{"a":01}`} {
			_, err := CanonicalJSON([]byte(doc))
			require.ErrorIs(t, err, ErrNotCanonical, doc)
		}
		// A lone surrogate has no UTF-8, so Python fails too.
		_, refusal := o.ask(t, map[string]any{"op": "canonical", "doc": `{"a":"\ud800"}`})
		require.Contains(t, refusal, "UnicodeEncodeError")
	})
}
