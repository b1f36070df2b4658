// Package coverage reads the sources of the conformance tests and says which test covers which
// requirement, without running or even compiling them.
//
// A test covers the requirements whose IDs stand as string literals in the test function, or in
// what it refers to in its package (tables, helper functions, constants), provided that one of
// these calls conform.Covers. IDs must therefore be written out, never put together.
package coverage

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Test is a test function.
type Test struct {
	// Suite is the package's folder below tests/, such as "msc4243".
	Suite string `json:"suite"`
	// Name is the function's name.
	Name string `json:"name"`
	// Position is where the function is: "tests/msc4243/signing_test.go:12".
	Position string `json:"position"`
	// CallsCovers says that the function, or what it refers to, calls conform.Covers.
	CallsCovers bool `json:"calls_covers,omitempty"`
	// Judges says that the function, or what it refers to, uses the helpers or blueprints by which
	// a test reaches a homeserver. One that does not can only check the tests themselves, such as
	// that a table is complete.
	Judges bool `json:"judges,omitempty"`
	// Deals says that the function, or what it refers to, deals its subtests out over the parts of a
	// run with conform.Deal.
	Deals bool `json:"deals,omitempty"`
	// Covers are the IDs that it covers, sorted.
	Covers []string `json:"covers"`
}

// ID names the test as reports do: suite and name.
func (t *Test) ID() string { return t.Suite + "/" + t.Name }

// Mention is a string literal that looks like a requirement's ID.
type Mention struct {
	ID       string
	Position string
}

// Tests is what a scan found.
type Tests struct {
	// Tests are the test functions, by suite and name.
	Tests []Test
	// Mentions are all literals that look like an ID, in the order of the files.
	Mentions []Mention
}

// Folder is the folder of the conformance tests in a module.
const Folder = "tests"

// idPattern matches what looks like a requirement's ID, misspelt ones included.
var idPattern = regexp.MustCompile(`^((MSC|RV)[0-9]+|CONSENSUS)-[A-Z0-9]+-[0-9]+$`)

// Scan reads the tests of a module, whose root is given. A module without a tests folder has no
// tests. The error names a file that cannot be read or parsed.
func Scan(module fs.FS) (*Tests, error) {
	found := &Tests{}
	packages := map[string]*source{}
	files := token.NewFileSet()
	err := fs.WalkDir(module, Folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(module, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := path.Dir(name)
		if packages[folder] == nil {
			packages[folder] = &source{files: files, declarations: map[string][]*declaration{}}
		}
		packages[folder].add(file, found)
		return nil
	})
	if err != nil {
		if _, statErr := fs.Stat(module, Folder); statErr != nil {
			return found, nil
		}
		return nil, fmt.Errorf("cannot read the tests: %w", err)
	}
	for _, folder := range slices.Sorted(maps.Keys(packages)) {
		suite := strings.TrimPrefix(strings.TrimPrefix(folder, Folder), "/")
		found.Tests = append(found.Tests, packages[folder].tests(suite)...)
	}
	return found, nil
}

// Covering returns the tests that cover a requirement.
func (t *Tests) Covering(id string) []Test {
	var covering []Test
	for _, test := range t.Tests {
		if slices.Contains(test.Covers, id) {
			covering = append(covering, test)
		}
	}
	return covering
}

// source is one package of tests.
type source struct {
	files        *token.FileSet
	declarations map[string][]*declaration
}

// declaration is a declaration of the top level: a function, a method, a variable, a constant or
// a type. Methods of different types may share a name; they are taken together.
type declaration struct {
	position    token.Position
	isTest      bool
	callsCovers bool
	judges      bool
	deals       bool
	ids         []string
	refersTo    []string
}

func (s *source) add(file *ast.File, found *Tests) {
	conform, tools := imports(file)
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			s.declare(d.Name, d, conform, tools, found).isTest = isTest(d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						s.declare(name, spec, conform, tools, found)
					}
				case *ast.TypeSpec:
					s.declare(spec.Name, spec, conform, tools, found)
				}
			}
		}
	}
}

// method is the key of the methods of a name, which a plain name does not refer to.
func method(name string) string { return "." + name }

// declare reads one declaration: the IDs in it, the names that it refers to, and whether it calls
// conform.Covers. An ID that is handed to another word of conform is mentioned, not covered.
func (s *source) declare(name *ast.Ident, node ast.Node, conform string, tools []string, found *Tests) *declaration {
	d := &declaration{position: s.files.Position(name.Pos())}
	key := name.Name
	if f, ok := node.(*ast.FuncDecl); ok && f.Recv != nil {
		key = method(key)
	}
	s.declarations[key] = append(s.declarations[key], d)
	mentionedOnly, selected := map[ast.Node]bool{}, map[*ast.Ident]bool{}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			word := wordOf(n.Fun, conform)
			d.callsCovers = d.callsCovers || word == "Covers"
			d.deals = d.deals || word == "Deal"
			if word != "" && word != "Covers" && word != "Deal" {
				for _, argument := range n.Args {
					mentionedOnly[argument] = true
				}
			}
		case *ast.SelectorExpr:
			// The methods of t are those of the testing package, whatever else has such a name.
			if of, ok := n.X.(*ast.Ident); !ok || of.Name != "t" {
				d.refersTo = append(d.refersTo, n.Sel.Name, method(n.Sel.Name))
			}
			selected[n.Sel] = true
		case *ast.Ident:
			if !selected[n] {
				d.refersTo = append(d.refersTo, n.Name)
			}
			d.judges = d.judges || slices.Contains(tools, n.Name)
		case *ast.BasicLit:
			if id, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && idPattern.MatchString(id) {
				found.Mentions = append(found.Mentions, Mention{ID: id, Position: at(s.files.Position(n.Pos()))})
				if !mentionedOnly[n] {
					d.ids = append(d.ids, id)
				}
			}
		}
		return true
	})
	return d
}

// tests follows the references of every test function.
func (s *source) tests(suite string) []Test {
	var tests []Test
	for _, name := range slices.Sorted(maps.Keys(s.declarations)) {
		d := s.declarations[name][0]
		if !d.isTest {
			continue
		}
		test := Test{Suite: suite, Name: name, Position: at(d.position)}
		seen := map[string]bool{}
		var follow func(name string)
		follow = func(name string) {
			if seen[name] {
				return
			}
			seen[name] = true
			for _, d := range s.declarations[name] {
				test.CallsCovers = test.CallsCovers || d.callsCovers
				test.Judges = test.Judges || d.judges
				test.Deals = test.Deals || d.deals
				test.Covers = append(test.Covers, d.ids...)
				for _, other := range d.refersTo {
					follow(other)
				}
			}
		}
		follow(name)
		if !test.CallsCovers {
			test.Covers = nil
		}
		slices.Sort(test.Covers)
		test.Covers = slices.Compact(test.Covers)
		tests = append(tests, test)
	}
	return tests
}

// wordOf returns the name that a call takes from the conform package, or "".
func wordOf(function ast.Expr, conform string) string {
	selector, ok := function.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := selector.X.(*ast.Ident); ok && x.Name == conform {
		return selector.Sel.Name
	}
	return ""
}

// imports returns the names under which a file imports helpers/conform ("" when it does not), and
// all the packages by which a test reaches a homeserver.
func imports(file *ast.File) (conform string, tools []string) {
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil || !strings.Contains(imported, "/helpers/") && !strings.HasSuffix(imported, "/blueprints") {
			continue
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		tools = append(tools, name)
		if strings.HasSuffix(imported, "/helpers/conform") {
			conform = name
		}
	}
	return conform, tools
}

// isTest reports whether a function is run by `go test`: TestXxx(t *testing.T), but not TestMain.
func isTest(f *ast.FuncDecl) bool {
	parameters := f.Type.Params.List
	if f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || len(parameters) != 1 {
		return false
	}
	pointer, ok := parameters[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	selector, ok := pointer.X.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "T"
}

func at(p token.Position) string { return fmt.Sprintf("%s:%d", p.Filename, p.Line) }
