// Package sample has runs for the tests of what is made from runs. Its functions are called with a
// package below report/ as the working directory, as tests are.
package sample

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/report"
	"countersign/requirements"
)

// update is for `go test ./report/... -update`, which writes the golden files anew; read the
// difference before committing.
var update = flag.Bool("update", false, "write the golden files anew")

// Mixed is a run with every verdict in it: what report/testdata/mixed.json holds.
func Mixed(t testing.TB) *report.Run {
	t.Helper()
	run, err := report.Read(filepath.Join("..", "testdata", "mixed.json"))
	must(t, err)
	return run
}

// Nothing is a run that judged nothing.
func Nothing(t testing.TB) *report.Run {
	t.Helper()
	all, err := requirements.Load(os.DirFS(filepath.Join("..", "testdata", "catalogue")))
	must(t, err)
	run := header()
	report.NewCollector(all).Finish(run)
	return run
}

// Run is a run of these tests against the catalogue of the samples: each is "name ID verdict", such
// as "TestForge/unsigned/send MSC4243-FORGE-01 FAIL", all of the suite msc4243.
func Run(t testing.TB, tests ...string) *report.Run {
	t.Helper()
	all, err := requirements.Load(os.DirFS(filepath.Join("..", "testdata", "catalogue")))
	must(t, err)
	var stream bytes.Buffer
	for _, test := range tests {
		var name, id, verdict string
		_, err := fmt.Sscan(test, &name, &id, &verdict)
		must(t, err)
		events(&stream, name, id, verdict)
	}
	run := header()
	collector := report.NewCollector(all)
	must(t, collector.Read(&stream))
	collector.Finish(run)
	return run
}

// Large is a run of many tests over the whole catalogue, some of which fail.
func Large(tests, failures int) *report.Run {
	all, err := requirements.Default()
	if err != nil {
		panic(err) // it is embedded
	}
	ids := all.Requirements()
	var stream bytes.Buffer
	for i := range tests {
		id := ids[i%len(ids)].ID
		verdict := "PASS"
		if i < failures {
			verdict = "FAIL"
		}
		events(&stream, fmt.Sprintf("TestForge/forgery-%03d/path_%d", i/4, i%4), id, verdict)
	}
	run := header()
	collector := report.NewCollector(all)
	if err := collector.Read(&stream); err != nil {
		panic(err) // a buffer does not fail
	}
	collector.Finish(run)
	return run
}

func header() *report.Run {
	return &report.Run{
		Suite:   report.Suite{Name: "countersign", Version: "v1.2.3", Commit: "0123456789abcdef0123456789abcdef01234567"},
		Target:  "embedded",
		Command: []string{"run"},
		Machine: report.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), DurationSeconds: 12.5,
	}
}

// events writes what `go test -json` writes of a test with this verdict.
func events(w io.Writer, name, id, verdict string) {
	emit := func(fields map[string]string) {
		fields["Package"], fields["Test"] = "countersign/tests/msc4243", name
		text, err := json.Marshal(fields)
		if err != nil {
			panic(err) // strings
		}
		fmt.Fprintf(w, "%s\n", text)
	}
	emit(map[string]string{"Action": "run"})
	emit(map[string]string{"Action": "attr", "Key": "countersign.covers", "Value": id})
	end := "pass"
	if verdict != "PASS" {
		finding := fmt.Sprintf(`{"verdict":%q,"requirement":%q,"expected":"it is refused","observed":"it was accepted"}`, verdict, id)
		emit(map[string]string{"Action": "attr", "Key": "countersign.finding", "Value": finding})
		switch verdict {
		case "SKIP":
			end = "skip"
		case "FAIL", "ERROR", "INCONCLUSIVE":
			end = "fail"
			emit(map[string]string{"Action": "attr", "Key": "countersign.transcript", "Value": "testdata/transcript.txt"})
		}
	}
	emit(map[string]string{"Action": end})
}

// Golden compares a text with a golden file.
func Golden(t testing.TB, path string, got []byte) {
	t.Helper()
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if string(want) == string(got) {
		return
	}
	ours, theirs := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i, line := range ours {
		if i >= len(theirs) {
			t.Errorf("%s ends before line %d: %s", path, i+1, line)
		} else if line != theirs[i] {
			t.Errorf("%s differs in line %d\n got: %s\nwant: %s\n-update writes it anew", path, i+1, line, theirs[i])
		} else {
			continue
		}
		return
	}
	t.Errorf("%s has more lines than the %d that there are now", path, len(ours))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
