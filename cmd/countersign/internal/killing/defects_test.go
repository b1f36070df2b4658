package killing

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/reference"
	"countersign/requirements"
)

// namePattern is the form of the names of defects.
var namePattern = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`)

// TestMutants_AreWellFormed holds the table to what the kill table relies on.
func TestMutants_AreWellFormed(t *testing.T) {
	catalogue, err := requirements.Default()
	require.NoError(t, err)
	seen := map[string]bool{}
	name := func(name, sentence string) {
		assert.Regexp(t, namePattern, name)
		assert.False(t, seen[name], "the name %s is there twice", name)
		seen[name] = true
		assert.NotEmpty(t, sentence, "%s does not say what it does", name)
		assert.False(t, strings.HasSuffix(sentence, "."), "the sentence of %s ends with a full stop", name)
	}
	for _, m := range reference.Mutants() {
		name(m.Name, m.Wrong)
		r := catalogue.Requirement(m.Requirement)
		if assert.NotNil(t, r, "%s breaks %s, which is not in the catalogue", m.Name, m.Requirement) {
			assert.NotEqual(t, requirements.Fingerprint, r.Profile, "%s breaks %s, which nobody can break", m.Name, m.Requirement)
		}
	}
	for _, v := range reference.Variants() {
		r := catalogue.Requirement(v.Permitted)
		if !assert.NotNil(t, r, "%s is permitted by %s, which is not in the catalogue", v.Name, v.Permitted) {
			continue
		}
		if seen[v.Name] {
			// A mutant that a fair run lets pass.
			assert.Equal(t, requirements.Interop, r.Profile, "%s is both a mutant and a variant", v.Name)
			continue
		}
		name(v.Name, v.Differs)
	}
	for _, d := range reference.DeadServers() {
		name(d.Name, d.Does)
	}
}

// TestDefects_AreDecisions reads the sources: every defect of the tables is asked about somewhere, and
// nothing is asked about that is in no table.
func TestDefects_AreDecisions(t *testing.T) {
	asked := map[string]bool{}
	root := os.DirFS(filepath.Join("..", "..", "..", "..", "reference"))
	require.NoError(t, fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, name := range questions(file) {
			asked[name] = true
		}
		return nil
	}))
	known := map[string]bool{}
	for _, m := range reference.Mutants() {
		known[m.Name] = true
	}
	for _, v := range reference.Variants() {
		known[v.Name] = true
	}
	for _, d := range reference.DeadServers() {
		known[d.Name] = true
	}
	for name := range known {
		assert.True(t, asked[name], "no decision asks about %s", name)
	}
	for name := range asked {
		assert.True(t, known[name], "a decision asks about %s, which is in no table", name)
	}
}

// questions are the names in calls such as Has("Name") and trusting(ctx, "Name").
func questions(file *ast.File) (names []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			if f.Sel.Name != "Has" {
				return true
			}
		case *ast.Ident:
			if f.Name != "trusting" {
				return true
			}
		default:
			return true
		}
		if literal, ok := call.Args[len(call.Args)-1].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				names = append(names, name)
			}
		}
		return true
	})
	return names
}
