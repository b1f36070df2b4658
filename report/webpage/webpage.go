// Package webpage writes a run as one HTML file that needs nothing else: no network, no other file.
// It is for people who decide: what is broken, on which path, and what was on the wire. Without
// scripts it is complete; with them its lists can be filtered.
package webpage

import (
	"bufio"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"countersign/report"
	"countersign/report/verdict"
	"countersign/requirements"
)

// FileName is the name of the page within a report's folder.
const FileName = "report.html"

// Options are what a page is made from besides the run.
type Options struct {
	// Catalogue gives titles to proposals and areas, and words to requirements that were not judged.
	// Without it they are shown by their IDs.
	Catalogue *requirements.Catalogue
	// Evidence reads the transcripts of what went wrong.
	Evidence report.Evidence
}

//go:embed page.html.tmpl style.css script.js
var files embed.FS

// Render writes the page. Its errors are those of the writer; a transcript that cannot be read is
// said to be so on the page.
func Render(w io.Writer, run *report.Run, options Options) error {
	style, script := asset("style.css"), asset("script.js")
	v := newView(run, options)
	var err error
	if v.Consensus, err = report.ConsensusOf(run); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	v.Style, v.Script = template.CSS(style), template.JS(script) //nolint:gosec // both are ours
	// The page says itself that it loads nothing: what a homeserver wrote into an event cannot act.
	v.Policy = fmt.Sprintf("default-src 'none'; base-uri 'none'; form-action 'none'; style-src '%s'; script-src '%s'",
		digest(style), digest(script))
	page, err := template.New("page.html.tmpl").Funcs(functions).ParseFS(files, "page.html.tmpl")
	if err != nil {
		return fmt.Errorf("cannot read the template of the page: %w", err)
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	if err := page.Execute(buffered, v); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return nil
}

func asset(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var functions = template.FuncMap{
	"lower":   func(v any) string { return strings.ToLower(strings.ReplaceAll(fmt.Sprint(v), " ", "-")) },
	"verdict": func(s string) verdict.Verdict { return verdict.Verdict(s) },
	"class":   class,
	"mark":    mark,
	"when":    func(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") },
	"secs":    func(s float64) string { return fmt.Sprintf("%.2f s", s) },
	"words":   func(s []string) string { return strings.Join(s, " ") },
	"join":    func(s []string) string { return strings.Join(s, ", ") },
	"prose":   prose,
	"sentence": func(reason string) string {
		sentence, _ := report.SplitReason(reason)
		return sentence
	},
	"more": func(reason string) string {
		_, more := report.SplitReason(reason)
		return strings.Join(more, "\n")
	},
	"count": func(n int, noun string) string {
		if stem, ok := strings.CutSuffix(noun, "y"); ok && n != 1 {
			noun = stem + "ie"
		}
		if n != 1 {
			noun += "s"
		}
		return fmt.Sprintf("%d %s", n, noun)
	},
}

// prose is a text of the catalogue, in which backquotes mark code.
func prose(text string) template.HTML {
	parts := strings.Split(text, "`")
	if len(parts)%2 == 0 {
		return template.HTML(template.HTMLEscapeString(text)) //nolint:gosec // it is escaped
	}
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 {
			part = "<code>" + template.HTMLEscapeString(part) + "</code>"
		} else {
			part = template.HTMLEscapeString(part)
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped
}

// class is the CSS class of a verdict.
func class(v verdict.Verdict) string {
	if v == "" {
		return "v-none"
	}
	return "v-" + strings.ToLower(string(v))
}

// mark is the sign of a verdict, for those who cannot tell the colours apart.
func mark(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return "✓"
	case verdict.Fail:
		return "✕"
	case verdict.Warn:
		return "!"
	case verdict.Skip:
		return "–"
	case verdict.Inconclusive:
		return "?"
	case verdict.Error:
		return "E"
	case verdict.Info:
		return "i"
	case verdict.XFail:
		return "x"
	case verdict.XPass:
		return "▲"
	}
	return ""
}
