package export

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/internal/sample"
	"countersign/report/verdict"
)

var forms = map[string]func(io.Writer, *report.Run) error{"xml": JUnit, "md": Markdown, "svg": Badge}

func runs(t *testing.T) map[string]*report.Run {
	return map[string]*report.Run{
		"mixed":   sample.Mixed(t),
		"nothing": sample.Nothing(t),
		"forgeries": sample.Run(t,
			"TestForge/unsigned/send MSC4243-FORGE-01 PASS", "TestForge/unsigned/send_join MSC4243-FORGE-01 FAIL",
			"TestForge/server-key-only/send MSC4243-FORGE-02 PASS", "TestForge/server-key-only/send_join MSC4243-FORGE-02 INCONCLUSIVE",
			"TestForge/expired/send MSC4243-SIG-03 PASS", "TestForge/expired/send_join MSC4243-SIG-03 SKIP"),
		"pass": sample.Run(t, "TestSigning MSC4243-SIG-01 PASS"),
	}
}

func TestGolden(t *testing.T) {
	for name, run := range runs(t) {
		for ending, write := range forms {
			var out bytes.Buffer
			require.NoError(t, write(&out, run))
			sample.Golden(t, "testdata/"+name+"."+ending, out.Bytes())
		}
	}
}

// Every form of every run can be read by a parser, whatever a server said.
func TestForms_CarryWhateverServersSay(t *testing.T) {
	run := sample.Mixed(t)
	const hostile = "a|b\n<b>&\x00\x1b[31m ]]> @everyone [x](https://example.org) `code` \uFFFE"
	run.Errors = append(run.Errors, hostile)
	run.Servers[0].Name = hostile
	for i := range run.Tests {
		run.Tests[i].Observed, run.Tests[i].Output = hostile, hostile
		for j := range run.Tests[i].Requirements {
			run.Tests[i].Requirements[j].Observed = hostile
		}
	}
	for i := range run.Requirements {
		run.Requirements[i].Observed = hostile
	}
	for ending, write := range forms {
		var out bytes.Buffer
		require.NoError(t, write(&out, run))
		if ending != "md" {
			decoder := xml.NewDecoder(&out)
			for {
				_, err := decoder.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err, ending)
			}
			continue
		}
		assert.NotContains(t, out.String(), "@everyone")
		assert.NotContains(t, out.String(), "](http")
		assert.NotContains(t, out.String(), "<b>")
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, "| ❌") {
				assert.Equal(t, 5, strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"), line)
			}
		}
	}
}

// What JUnit counts as failed is what makes the exit code of the run red.
func TestJUnit_Counts(t *testing.T) {
	for _, v := range verdict.All() {
		run := sample.Run(t, "TestSigning MSC4243-SIG-01 PASS")
		run.Tests[0].Verdict = v
		var out bytes.Buffer
		require.NoError(t, JUnit(&out, run))
		var file struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
		}
		require.NoError(t, xml.Unmarshal(out.Bytes(), &file))
		assert.Equal(t, 1, file.Tests)
		assert.Equal(t, !v.AsExpected(), file.Failures+file.Errors == 1, v)
		assert.Equal(t, v == verdict.Skip || v == verdict.XFail, file.Skipped == 1, v)
	}
}

func TestMarkdown_IsBounded(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Markdown(&out, sample.Large(2000, 1000)))
	assert.Less(t, out.Len(), 60<<10)
	assert.Contains(t, out.String(), "more.")
}

func TestForms_TellAFailingWriter(t *testing.T) {
	reader, writer := io.Pipe()
	require.NoError(t, reader.Close())
	for ending, write := range forms {
		assert.ErrorContains(t, write(writer, sample.Mixed(t)), "cannot write the", ending)
	}
}
