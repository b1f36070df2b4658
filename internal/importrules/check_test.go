package importrules

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheModule(t *testing.T) {
	broken, err := Check(os.DirFS("../.."))
	require.NoError(t, err)
	for _, sentence := range broken {
		t.Error(sentence)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"a test that looks into the box": {
			"tests/msc4243/x_test.go", `import _ "countersign/reference"`,
			"tests/msc4243/x_test.go:2 imports reference, but tests may import only blueprints, fakeserver, helpers, matrix: the tests know no implementation",
		},
		"a part of it": {
			"helpers/must/x.go", `import _ "countersign/reference/store"`,
			"helpers/must/x.go:2 imports reference/store, but helpers may import only deploy, fakeserver, matrix, requirements, report/verdict: a black box stays black",
		},
		"a fake server that judges": {
			"fakeserver/x.go", `import _ "countersign/helpers/must"`,
			"fakeserver/x.go:2 imports helpers/must, but fakeserver may import only matrix: the fake server builds, signs, serves and records; it judges nothing",
		},
		"a unit test is no exception": {
			"matrix/x_test.go", `import _ "countersign/fakeserver"`,
			"matrix/x_test.go:2 imports fakeserver, but matrix may import nothing but its own packages: the wire is shared by both sides of every test, so it depends on neither",
		},
		"deploy beside deploy/embedded": {
			"deploy/docker/x.go", `import _ "countersign/deploy/embedded"`,
			"deploy/docker/x.go:2 imports deploy/embedded, but deploy may import nothing but its own packages: it knows how servers are started, not what they should do",
		},
		"a folder without a rule": {
			"surprise/x.go", "", "surprise/x.go: the folder surprise has no rule; add one to internal/importrules/rules.go",
		},
		"a name that only begins like another": {
			"deployments/x.go", "", "deployments/x.go: the folder deployments has no rule; add one to internal/importrules/rules.go",
		},
		"somebody else's wire": {
			"matrix/x.go", `import _ "github.com/matrix-org/gomatrixserverlib/spec"`,
			"matrix/x.go:2 imports github.com/matrix-org/gomatrixserverlib/spec, which belongs nowhere: the wire is ours, so that no implementation's mistake is shared",
		},
		"a container engine in the reference": {
			"reference/x.go", `import _ "github.com/docker/docker/client"`,
			"reference/x.go:2 imports github.com/docker/docker/client, which belongs only in deploy: only deploy speaks to container engines",
		},
		"testify outside of tests": {
			"deploy/x.go", `import _ "github.com/stretchr/testify/require"`,
			"deploy/x.go:2 imports github.com/stretchr/testify/require, which belongs in unit tests only: conformance tests assert with helpers/must, whose failures show the wire",
		},
		"testify in a conformance test": {
			"tests/roomv12/x_test.go", `import _ "github.com/stretchr/testify/require"`,
			"tests/roomv12/x_test.go:2 imports github.com/stretchr/testify/require, which belongs in unit tests only: conformance tests assert with helpers/must, whose failures show the wire",
		},
		"a sleep": {
			"blueprints/x.go", "import \"time\"\nfunc f() { time.Sleep(1) }",
			"blueprints/x.go:3 sleeps: wait for a condition with a deadline (helpers/wait)",
		},
		"a sleep under another name": {
			"tests/roomv12/x_test.go", "import clock \"time\"\nvar f = clock.Sleep",
			"tests/roomv12/x_test.go:3 sleeps: wait for a condition with a deadline (helpers/wait)",
		},

		"embedded runs the reference":   {"deploy/embedded/x.go", `import ("countersign/reference"; "countersign/deploy")`, ""},
		"target chooses embedded":       {"deploy/target/x.go", `import ("countersign/deploy/embedded"; "countersign/deploy/docker")`, ""},
		"deploy uses its own parts":     {"deploy/docker/x.go", `import ("countersign/deploy"; "countersign/deploy/internal/scratch")`, ""},
		"the reference has parts":       {"reference/x.go", `import ("countersign/matrix"; "countersign/reference/store")`, ""},
		"reports speak verdicts":        {"report/x.go", `import ("countersign/requirements"; "countersign/report/verdict")`, ""},
		"tests use blueprints":          {"tests/roomv12/x_test.go", `import ("countersign/blueprints"; "countersign/helpers/conform")`, ""},
		"testify in a unit test":        {"deploy/x_test.go", `import _ "github.com/stretchr/testify/require"`, ""},
		"somebody else's Sleep":         {"tests/roomv12/x_test.go", "import \"time\"\nvar _ time.Time\nfunc f(bed interface{ Sleep() }) { bed.Sleep() }", ""},
		"a sleep where nobody waits":    {"reference/x.go", "import \"time\"\nfunc f() { time.Sleep(1) }", ""},
		"what the go command overlooks": {"report/testdata/x.go", `import _ "countersign/reference"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			broken, err := Check(fstest.MapFS{c.file: {Data: []byte("package x\n" + c.text)}})
			require.NoError(t, err)
			if c.want == "" {
				assert.Empty(t, broken)
				return
			}
			assert.Equal(t, []string{c.want}, broken)
		})
	}
}

func TestCheck_NamesAFileThatDoesNotParse(t *testing.T) {
	_, err := Check(fstest.MapFS{"matrix/x.go": {Data: []byte("package")}})
	assert.ErrorContains(t, err, "matrix/x.go:1")
}
