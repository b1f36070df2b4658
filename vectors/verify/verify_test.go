// Package verify measures what libraries make of the vectors, and compares it with what is recorded in
// implementations.json. The libraries are installed by the script "install" in this folder:
//
//	vectors/verify/install FOLDER && COUNTERSIGN_VERIFY=FOLDER go test ./vectors/verify
//
// With -update the test records what it has measured; go generate ./vectors then copies it into the
// vectors. What could not be measured stays as it was recorded, and the test says so.
package verify

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/vectors"
)

var update = flag.Bool("update", false, "record what is measured in implementations.json")

// folderVariable names the folder that the script has installed the libraries into.
const folderVariable = "COUNTERSIGN_VERIFY"

// measured is a line of a program's output.
type measured struct {
	ID, Version string
	Accepts     map[string][]string
	// Missing says why the library could not be asked.
	Missing string
}

// known is what is to be said of each library.
var known = []vectors.Implementation{
	{ID: "go", Title: "Go, crypto/ed25519 Verify", Program: "go", Note: "golang.org/x/crypto/ed25519 is the same; Dendrite and Complement verify with it."},
	{ID: "go-base64", Title: "Go, encoding/base64 RawURLEncoding", Program: "go"},
	{ID: "go-base64-strict", Title: "Go, encoding/base64 RawURLEncoding.Strict", Program: "go", Note: "It skips line breaks."},
	{ID: "pynacl", Title: "PyNaCl, VerifyKey.verify", Program: "python", Note: "It brings its own libsodium, 1.0.20. Synapse verifies with it, through signedjson."},
	{ID: "libsodium", Title: "libsodium up to 1.0.22, crypto_sign_ed25519_verify_detached", Program: "python", Note: "The system's library. Construct verifies with it."},
	{ID: "libsodium-next", Title: "libsodium master, crypto_sign_ed25519_verify_detached", Program: "python",
		Note: "Commit 7014b204, which calls itself 1.0.23, built from source; no package has it. The conversion of the computed point leaves a coordinate wrong, so that a difference of order 8 is not recognised and one of order 2 or 4 is."},
	{ID: "openssl", Title: "OpenSSL, through Python's cryptography", Program: "python"},
	{ID: "node-openssl", Title: "OpenSSL, through Node.js crypto.verify", Program: "node"},
	{ID: "tweetnacl", Title: "TweetNaCl in JavaScript, sign.detached.verify", Program: "node", Note: "Rocket.Chat's homeserver verifies with it in one of its packages, and with Node.js in another."},
	{ID: "noble-ed25519", Title: "noble-ed25519, verify", Program: "node"},
	{ID: "noble-ed25519-strict", Title: "noble-ed25519, verify with zip215: false", Program: "node"},
	{ID: "noble-curves", Title: "noble-curves, ed25519.verify", Program: "node"},
	{ID: "noble-curves-strict", Title: "noble-curves, ed25519.verify with zip215: false", Program: "node"},
	{ID: "dalek-2", Title: "ed25519-dalek 2, VerifyingKey::verify", Program: "rust"},
	{ID: "dalek-2-strict", Title: "ed25519-dalek 2, VerifyingKey::verify_strict", Program: "rust"},
	{ID: "dalek-3", Title: "ed25519-dalek 3, VerifyingKey::verify", Program: "rust", Note: "Ruma verifies with it."},
	{ID: "dalek-3-strict", Title: "ed25519-dalek 3, VerifyingKey::verify_strict", Program: "rust"},
	{ID: "jdk", Title: "JDK, Signature of Ed25519", Program: "java"},
	{ID: "bouncy-castle-1.72", Title: "Bouncy Castle 1.72, Ed25519.verify", Program: "java"},
	{ID: "bouncy-castle-1.82", Title: "Bouncy Castle 1.82, Ed25519.verify", Program: "java"},
	{ID: "unpaddedbase64", Title: "unpaddedbase64 in Python, decode_base64", Program: "python", Note: "Synapse decodes keys and signatures with it."},
	{ID: "node-buffer", Title: "Node.js, Buffer.from with base64url", Program: "node"},
	{ID: "rust-base64", Title: "base64 in Rust, URL_SAFE without padding", Program: "rust"},
	{ID: "rust-base64-lenient", Title: "base64 in Rust, URL_SAFE with optional padding and trailing bits", Program: "rust", Note: "Configured as in Ruma."},
	{ID: "canonicaljson", Title: "canonicaljson in Python, encode_canonical_json of json.loads", Program: "python", Note: "Synapse checks numbers separately."},
}

func TestRecorded(t *testing.T) {
	recorded, err := vectors.Implementations()
	require.NoError(t, err)
	all := map[string]measured{}
	for _, program := range []struct {
		name string
		run  func(*testing.T) []measured
	}{{"go", inProcess}, {"python", python}, {"node", node}, {"rust", rust}, {"java", java}} {
		t.Run(program.name, func(t *testing.T) {
			for _, m := range program.run(t) {
				if m.Missing != "" {
					t.Logf("not measured: %s: %s", m.ID, m.Missing)
					continue
				}
				all[m.ID] = m
				i := slices.IndexFunc(recorded, func(r vectors.Implementation) bool { return r.ID == m.ID })
				if *update {
					continue
				}
				require.GreaterOrEqual(t, i, 0, "nothing is recorded of %s: run the test with -update", m.ID)
				for file, accepted := range m.Accepts {
					require.Equal(t, recorded[i].Accepts[file], accepted, "%s: %s accepts other vectors than was recorded with %q", file, m.Version, recorded[i].Versions)
				}
			}
		})
	}
	for _, k := range known {
		if _, ok := all[k.ID]; !ok {
			t.Logf("not measured: %s (%s)", k.ID, k.Title)
		}
	}
	if *update {
		record(t, recorded, all)
	}
}

// record writes implementations.json: what was measured, and of what was not measured what was recorded
// before.
func record(t *testing.T, before []vectors.Implementation, all map[string]measured) {
	var after []vectors.Implementation
	for _, k := range known {
		if i := slices.IndexFunc(before, func(r vectors.Implementation) bool { return r.ID == k.ID }); i >= 0 {
			k.Versions, k.Accepts = before[i].Versions, before[i].Accepts
		}
		if m, ok := all[k.ID]; ok {
			k.Versions, k.Accepts = []string{m.Version}, m.Accepts
		}
		if k.Accepts == nil {
			t.Logf("nothing is known of %s", k.ID)
			continue
		}
		k.Rule = followed(t, k)
		after = append(after, k)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(map[string]any{"implementations": after}))
	require.NoError(t, os.WriteFile("../implementations.json", text.Bytes(), 0o644))
}

// followed is the rule whose verdicts on ed25519.json are those of a library; empty when it was not asked.
func followed(t *testing.T, of vectors.Implementation) string {
	accepted, asked := of.Accepts["ed25519"]
	if !asked {
		return ""
	}
	f, err := vectors.Load("ed25519")
	require.NoError(t, err)
	rules, err := vectors.Rules()
	require.NoError(t, err)
	for _, rule := range rules {
		fits := !slices.ContainsFunc(f.Vectors, func(v vectors.Vector) bool {
			return (v.Rules[rule.ID] == vectors.Accept) != slices.Contains(accepted, v.ID)
		})
		if fits {
			return rule.ID
		}
	}
	t.Errorf("%s follows none of the rules: it accepts %q", of.ID, accepted)
	return ""
}

// Every library follows the rule that is recorded of it on every vector.
func TestRecorded_RulesPredictTheLibraries(t *testing.T) {
	recorded, err := vectors.Implementations()
	require.NoError(t, err)
	require.NotEmpty(t, recorded)
	for _, i := range recorded {
		require.Equal(t, i.Rule, followed(t, i), i.ID)
		for file, accepted := range i.Accepts {
			f, err := vectors.Load(file)
			require.NoError(t, err)
			for _, id := range accepted {
				require.True(t, slices.ContainsFunc(f.Vectors, func(v vectors.Vector) bool { return v.ID == id }), "%s accepts %s/%s, which is not there", i.ID, file, id)
			}
		}
	}
}

// installed is the folder of the libraries of a language; the test is skipped when there is none.
func installed(t *testing.T, language string) string {
	t.Helper()
	folder := os.Getenv(folderVariable)
	if folder == "" {
		t.Skipf("%s does not name a folder of libraries: make one with vectors/verify/install", folderVariable)
	}
	folder = filepath.Join(folder, language)
	if _, err := os.Stat(folder); err != nil {
		t.Skipf("the libraries of %s are not installed: %v", language, err)
	}
	return folder
}

// run runs a program and reads its lines.
func run(t *testing.T, name string, args ...string) []measured {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := exec.CommandContext(ctx, name, args...)
	var failure bytes.Buffer
	program.Stderr = &failure
	output, err := program.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, &failure)
	}
	var lines []measured
	for line := range strings.Lines(string(output)) {
		var m measured
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		lines = append(lines, m)
	}
	return lines
}

func python(t *testing.T) []measured {
	interpreter := filepath.Join(installed(t, "python"), "bin", "python")
	lines := run(t, interpreter, "python/verify.py", "..")
	if library := os.Getenv(folderVariable + "_LIBSODIUM"); library != "" { // another libsodium, such as one built from source
		for _, m := range run(t, interpreter, "python/verify.py", "..", library) {
			if strings.HasPrefix(m.ID, "libsodium") {
				lines = append(lines, m)
			}
		}
	}
	return lines
}

func node(t *testing.T) []measured {
	return run(t, "node", "node/verify.mjs", "..", filepath.Join(installed(t, "node"), "node_modules"))
}

func rust(t *testing.T) []measured {
	program := filepath.Join(installed(t, "rust"), "debug", "verify")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("the program in Rust is not built: %v", err)
	}
	signatures, keys := lines(t)
	return run(t, program, signatures, keys)
}

func java(t *testing.T) []measured {
	jars, err := filepath.Glob(filepath.Join(installed(t, "java"), "*.jar"))
	require.NoError(t, err)
	signatures, _ := lines(t)
	classes := t.TempDir()
	run(t, "javac", "-d", classes, "java/Verify.java")
	found := map[string]measured{}
	for _, jar := range append(slices.Clone(jars), "") {
		for _, m := range run(t, "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes+string(filepath.ListSeparator)+jar, "Verify", signatures) {
			if m.Missing == "" || len(jars) == 0 {
				found[m.ID] = m
			}
		}
	}
	return slices.Collect(maps.Values(found))
}

// lines writes the vectors down for languages that lack a parser of JSON: an ID, and the inputs in
// hexadecimal.
func lines(t *testing.T) (signatures, keys string) {
	t.Helper()
	write := func(name string, line func(vectors.Vector) string) string {
		f, err := vectors.Load(name)
		require.NoError(t, err)
		var text strings.Builder
		for _, v := range f.Vectors {
			fmt.Fprintf(&text, "%s %s\n", v.ID, line(v))
		}
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
		return path
	}
	signatures = write("ed25519", func(v vectors.Vector) string {
		return v.Input["public_key"] + " " + v.Input["signature"] + " " + hex.EncodeToString([]byte(v.Input["message"]))
	})
	return signatures, write("account-keys", func(v vectors.Vector) string { return hex.EncodeToString([]byte(v.Input["text"])) })
}
