package importrules

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is the project's module, which its import paths begin with.
const module = "countersign"

// Check reads every Go file of the module, whose root is given, and returns one sentence per broken
// rule, in the order of the files. The error names a file that cannot be read or parsed.
func Check(root fs.FS) ([]string, error) {
	var broken []string
	files := token.NewFileSet()
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); entry.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		broken = append(broken, checkFile(files, name, file)...)
		return nil
	})
	return broken, err
}

func checkFile(files *token.FileSet, name string, file *ast.File) []string {
	folder := path.Dir(name)
	wall := ruleFor(folder)
	if wall == nil {
		return []string{fmt.Sprintf("%s: the folder %s has no rule; add one to internal/importrules/rules.go", name, folder)}
	}
	var broken []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has accepted it, so it is a string
		}
		at := fmt.Sprintf("%s:%d", name, files.Position(spec.Pos()).Line)
		if ours, ok := strings.CutPrefix(imported, module+"/"); ok && !wall.allows(ours) {
			broken = append(broken, fmt.Sprintf("%s imports %s, but %s may import %s: %s", at, ours, wall.folder, wall.list(), wall.because))
		}
		for _, c := range confinements {
			if strings.HasPrefix(imported, c.module) && !wall.anyModule && !c.allows(name) {
				broken = append(broken, fmt.Sprintf("%s imports %s, which belongs %s: %s", at, imported, c.list(), c.because))
			}
		}
	}
	if within(folder, sleepless[:]) {
		broken = append(broken, sleeps(files, name, file)...)
	}
	return broken
}

// sleeps finds calls of time.Sleep.
func sleeps(files *token.FileSet, name string, file *ast.File) []string {
	local := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"time"` {
			local = "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "Sleep" {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && local != "" && x.Name == local {
			found = append(found, fmt.Sprintf("%s:%d sleeps: wait for a condition with a deadline (helpers/wait)",
				name, files.Position(selector.Pos()).Line))
		}
		return true
	})
	return found
}

// ruleFor is the rule with the longest folder that a folder is in.
func ruleFor(folder string) *rule {
	var longest *rule
	for i := range rules {
		if r := &rules[i]; within(folder, []string{r.folder}) && (longest == nil || len(r.folder) > len(longest.folder)) {
			longest = r
		}
	}
	return longest
}

// allows reports whether a package of the project may be imported: it is listed, or it belongs to
// the same rule. So deploy/embedded, which has a rule of its own, is not for the rest of deploy.
func (r *rule) allows(imported string) bool { return ruleFor(imported) == r || within(imported, r.may) }

func (r *rule) list() string {
	if len(r.may) == 0 {
		return "nothing but its own packages"
	}
	return "only " + strings.Join(r.may, ", ")
}

func (c *confinement) allows(file string) bool {
	unitTest := strings.HasSuffix(file, "_test.go") && !within(path.Dir(file), []string{"tests"})
	return within(path.Dir(file), c.folders) || c.testsOnly && unitTest
}

func (c *confinement) list() string {
	switch {
	case c.testsOnly:
		return "in unit tests only"
	case len(c.folders) == 0:
		return "nowhere"
	}
	return "only in " + strings.Join(c.folders, ", ")
}

// within reports whether a folder is one of these or in one of them.
func within(folder string, these []string) bool {
	return slices.ContainsFunc(these, func(f string) bool { return folder == f || strings.HasPrefix(folder, f+"/") })
}
