package webpage

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/internal/sample"
	"countersign/requirements"
)

func catalogue(t testing.TB) *requirements.Catalogue {
	t.Helper()
	all, err := requirements.Load(os.DirFS("../testdata/catalogue"))
	require.NoError(t, err)
	return all
}

func render(t testing.TB, run *report.Run, options Options) string {
	t.Helper()
	var page bytes.Buffer
	require.NoError(t, Render(&page, run, options))
	return page.String()
}

func TestRender_Golden(t *testing.T) {
	for name, run := range map[string]*report.Run{"mixed": sample.Mixed(t), "nothing": sample.Nothing(t), "forgeries": forgeries(t)} {
		page := render(t, run, Options{Catalogue: catalogue(t), Evidence: report.Evidence{Folder: ".."}})
		// What is ours to see is the document; the style sheet and the script have files of their own.
		page = strings.Replace(page, asset("style.css"), "", 1)
		page = strings.Replace(page, asset("script.js"), "", 1)
		page = strings.NewReplacer(html.EscapeString(digest(asset("style.css"))), "sha256-style", html.EscapeString(digest(asset("script.js"))), "sha256-script").Replace(page)
		sample.Golden(t, "testdata/"+name+".html", []byte(page))
	}
}

// forgeries is a run with a table of forgeries, known problems and a flaky test.
func forgeries(t *testing.T) *report.Run {
	run := sample.Run(t,
		"TestForge/unsigned/send MSC4243-FORGE-01 PASS", "TestForge/unsigned/send_join MSC4243-FORGE-01 FAIL",
		"TestForge/server-key-only/send MSC4243-FORGE-02 XFAIL", "TestForge_MissingEvents/unsigned MSC4243-FORGE-01 INCONCLUSIVE",
		"TestForge/expired/send MSC4243-SIG-03 PASS", "TestForge/expired/send MSC4243-SIG-03 ERROR")
	run.Expectations = &report.Expectations{File: "known.yaml", Entries: 2, Stale: []string{"entry 2 (MSC4243-SIG-01) matches nothing that was judged"}}
	for i := range run.Tests {
		for j := range run.Tests[i].Requirements {
			if about := &run.Tests[i].Requirements[j]; about.Verdict == "XFAIL" {
				about.Known = &report.Known{Reason: "Keys are not told apart.", Link: "https://example.org/issues/12"}
			}
		}
	}
	return run
}

func TestRender_NeedsNothingElse(t *testing.T) {
	page := render(t, sample.Mixed(t), Options{Catalogue: catalogue(t), Evidence: report.Evidence{Folder: ".."}})
	for _, loads := range []string{"src=", "@import", "url(", "<link", "<img", "<iframe", "fetch("} {
		assert.NotContains(t, page, loads)
	}
	assert.Contains(t, page, "default-src &#39;none&#39;")
}

// What a homeserver says is text, wherever it is shown.
func TestRender_EscapesWhatServersSay(t *testing.T) {
	run := sample.Mixed(t)
	const hostile = `</pre><script>alert(1)</script>"'`
	run.Servers[0].Name = hostile
	for i := range run.Tests {
		run.Tests[i].Output = hostile
		for j := range run.Tests[i].Requirements {
			run.Tests[i].Requirements[j].Observed = hostile
		}
	}
	for i := range run.Requirements {
		run.Requirements[i].Observed = hostile
	}
	page := render(t, run, Options{Evidence: report.Evidence{ReadFile: func(string) ([]byte, error) { return []byte(hostile), nil }}})
	assert.NotContains(t, page, "<script>alert")
	assert.Contains(t, page, "&lt;script&gt;alert(1)")
	assert.Equal(t, 1, strings.Count(page, "<script>"))
}

func TestRender_Transcripts(t *testing.T) {
	run := sample.Mixed(t)
	long := strings.Repeat("+0.1s client POST /login\n< {\"access_token\": \"secret\", \"mac\":\"sec\\\"ret\"}\n\n", 5000) + "the very end"
	page := render(t, run, Options{Evidence: report.Evidence{ReadFile: func(string) ([]byte, error) { return []byte(long), nil }}})
	assert.NotContains(t, page, "sec\\")
	assert.NotContains(t, page, "&#34;secret&#34;")
	assert.Contains(t, page, "(removed)")
	assert.Contains(t, page, "the very end")
	assert.Contains(t, page, "bytes left out ...]")
	assert.Contains(t, page, `href="./testdata/transcript.txt"`)
	assert.Less(t, len(page), 150<<10)

	page = render(t, run, Options{Evidence: report.Evidence{ReadFile: func(string) ([]byte, error) { return nil, errors.New("gone") }}})
	assert.Contains(t, page, "the transcript cannot be read: gone")
}

func TestRender_EveryTranscriptIsBounded(t *testing.T) {
	run := sample.Large(2000, 400)
	big := bytes.Repeat([]byte("0123456789abcdef\n"), 8<<10)
	page := render(t, run, Options{Evidence: report.Evidence{ReadFile: func(string) ([]byte, error) { return big, nil }}})
	assert.Less(t, len(page), 12<<20)
	assert.True(t, strings.Contains(page, "the page has enough of them"))
}

func TestLink(t *testing.T) {
	for path, want := range map[string]string{
		"artifacts/transcripts/a.txt": "./artifacts/transcripts/a.txt",
		"javascript:alert(1)":         "./javascript:alert(1)",
		"/etc/passwd":                 "", "../a": "", "": "",
	} {
		assert.Equal(t, want, link(path), path)
	}
}

func TestRender_TellsAFailingWriter(t *testing.T) {
	reader, writer := io.Pipe()
	require.NoError(t, reader.Close())
	assert.ErrorContains(t, Render(writer, sample.Mixed(t), Options{}), "cannot write the page")
}

// 2,000 tests render in under a second, on a machine that may be busy with other things: the fastest
// of three counts.
func TestRender_ManyTests(t *testing.T) {
	run := sample.Large(2000, 50)
	fastest, page := time.Hour, ""
	for range 3 {
		began := time.Now()
		page = render(t, run, Options{Evidence: report.Evidence{Folder: ".."}})
		fastest = min(fastest, time.Since(began))
	}
	t.Logf("%d KB in %s", len(page)>>10, fastest.Round(time.Millisecond))
	assert.Less(t, fastest, time.Second*sample.Slower)
	assert.Equal(t, 2000, strings.Count(page, `<li><span class="dot v-`))
}

func BenchmarkRender(b *testing.B) {
	run := sample.Large(2000, 50)
	for b.Loop() {
		if err := Render(io.Discard, run, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// of lets a person look at the page of a run of theirs:
//
//	go test ./report/webpage -run InABrowser -artifacts -outputdir /tmp/pictures -args -of countersign-report
var of = flag.String("of", "", "a report to make the browser's pictures from")

// contrast lists the elements whose text has less contrast than WCAG asks for at level AA.
const contrast = `(() => {
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
		return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const parse = (s) => s.match(/[\d.]+/g).map(Number);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
	const bad = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest(".sr, script, style, .skip, option")) continue;
		const a = light(parse(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
	}
	return [...bad];
})()`

func TestPage_InABrowser(t *testing.T) {
	b := openBrowser(t)
	folder := t.ArtifactDir()
	path := filepath.Join(folder, FileName)
	run := sample.Mixed(t)
	options := Options{Catalogue: catalogue(t), Evidence: report.Evidence{Folder: ".."}}
	if *of != "" {
		var err error
		run, err = report.Read(*of)
		require.NoError(t, err)
		options.Evidence.Folder = *of
		options.Catalogue, err = requirements.Default()
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(path, []byte(render(t, run, options)), 0o644))
	address := "file://" + path

	shown := func() (n int) {
		b.eval(`document.querySelectorAll("details.req:not([hidden])").length`, &n)
		return n
	}
	for _, look := range []struct {
		name          string
		width, height int
		scheme        string
		medium        string
	}{
		{"light", 1280, 900, "light", "screen"}, {"dark", 1280, 900, "dark", "screen"}, {"phone", 390, 844, "light", "screen"},
		{"paper", 794, 1123, "dark", "print"}, // A4, on a machine that prefers dark
	} {
		b.window(look.width, look.height, look.scheme, look.medium)
		b.open(address)
		var low []string
		b.eval(contrast, &low)
		assert.Empty(t, low, look.name)
		var wide []string
		b.eval(`[...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && !e.closest(".sr, .scroll *, pre *") &&
			e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "." + e.className)`, &wide)
		assert.Empty(t, wide, "%s: nothing is wider than the window", look.name)
		b.screenshot(filepath.Join(folder, look.name+".png"), false)
		b.screenshot(filepath.Join(folder, look.name+"-whole.png"), true)
	}
	b.print(filepath.Join(folder, "paper.pdf"))

	t.Run("headings do not skip a level", func(t *testing.T) {
		var levels []int
		b.eval(`[...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((h) => Number(h.tagName[1]))`, &levels)
		require.NotEmpty(t, levels)
		for i := range levels {
			assert.LessOrEqual(t, levels[i], levels[max(i-1, 0)]+1)
		}
	})
	t.Run("controls have names", func(t *testing.T) {
		var nameless []string
		b.eval(`[...document.querySelectorAll("input,select")].filter((e) => !e.labels.length).map((e) => e.name)`, &nameless)
		assert.Empty(t, nameless)
	})
	t.Run("filters", func(t *testing.T) {
		b.window(1280, 900, "light", "screen")
		b.open(address)
		all := len(run.Requirements)
		assert.Equal(t, all, shown())
		choose := func(field, value string) {
			var ok bool
			b.eval(fmt.Sprintf(`(() => { const e = document.getElementById("filters").elements[%q]; e.value = %q;
				e.dispatchEvent(new Event("input", {bubbles: true})); return true; })()`, field, value), &ok)
		}
		want := func(fits func(*report.Requirement) bool) (n int) {
			for i := range run.Requirements {
				if fits(&run.Requirements[i]) {
					n++
				}
			}
			return n
		}
		verdict, level := "FAIL", "MUST"
		if want(func(r *report.Requirement) bool { return r.Verdict == "FAIL" && r.Level == "MUST" }) == 0 {
			verdict, level = string(run.Requirements[0].Verdict), string(run.Requirements[0].Level) // a report of somebody's own
		}
		ofVerdict := func(r *report.Requirement) bool { return string(r.Verdict) == verdict }
		choose("verdict", verdict)
		assert.Equal(t, want(ofVerdict), shown())
		choose("level", level)
		assert.Equal(t, want(func(r *report.Requirement) bool { return ofVerdict(r) && string(r.Level) == level }), shown())
		var hash, said string
		b.eval(`location.hash`, &hash)
		assert.Equal(t, "#verdict="+verdict+"&level="+level, hash, "what is chosen can be passed on")
		b.eval(`document.querySelector("output").textContent`, &said)
		assert.Equal(t, fmt.Sprintf("%d of %d requirements", shown(), all), said)
		choose("verdict", "")
		choose("level", "")
		area := run.Requirements[0].Area
		choose("area", area)
		assert.Equal(t, want(func(r *report.Requirement) bool { return r.Area == area }), shown())
		choose("area", "")
		choose("q", "msc4243-sig nothing-has-this")
		assert.Zero(t, shown())
		choose("q", "msc4243-sig")
		assert.Equal(t, want(func(r *report.Requirement) bool { return r.Area == "MSC4243-SIG" }), shown())
		choose("q", "")
		choose("group", "section")
		var sections, places int
		b.eval(`document.querySelectorAll("section.section:not([hidden])").length`, &sections)
		b.eval(`new Set([...document.querySelectorAll("details.req")].map((r) => r.closest(".proposal").dataset.proposal + r.dataset.where)).size`, &places)
		assert.Equal(t, places, sections)
		assert.Equal(t, all, shown())
		choose("group", "")
		b.eval(`document.querySelectorAll("section.section").length`, &sections)
		assert.Zero(t, sections)

		b.open("about:blank")
		b.open(address + "#verdict=" + verdict)
		assert.Equal(t, want(ofVerdict), shown(), "a passed-on choice is taken")
	})
	t.Run("keyboard", func(t *testing.T) {
		b.open("about:blank")
		b.open(address)
		var focused string
		b.press("Tab", 9, "")
		b.eval(`document.activeElement.className`, &focused)
		assert.Equal(t, "skip", focused)
		var open bool
		b.eval(`(() => { document.querySelector("details.req summary").focus(); return true; })()`, &open)
		b.press("Enter", 13, "\r")
		b.eval(`document.querySelector("details.req").open`, &open)
		assert.True(t, open, "a requirement opens by the keyboard")
	})
	assert.Empty(t, b.complaints(), "the page complains about nothing and asks nobody")
}

func TestPage_StaysResponsive(t *testing.T) {
	b := openBrowser(t)
	path := filepath.Join(t.TempDir(), FileName)
	require.NoError(t, os.WriteFile(path, []byte(render(t, sample.Large(2000, 50), Options{Evidence: report.Evidence{Folder: ".."}})), 0o644))
	b.window(1280, 900, "light", "screen")
	t.Logf("loaded in %s", b.open("file://"+path).Round(time.Millisecond))
	var milliseconds float64
	b.eval(`new Promise((done) => { const e = document.getElementById("filters").elements.verdict; const began = performance.now(); e.value = "FAIL";
		e.dispatchEvent(new Event("input", {bubbles: true})); requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began))); })`, &milliseconds)
	t.Logf("a filter took %.0f ms", milliseconds)
	assert.Less(t, milliseconds, 1000.0)
	assert.Empty(t, b.complaints())
}
