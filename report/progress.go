package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"countersign/report/verdict"
)

// Progress shows a run while it runs.
type Progress interface {
	// Test is called for every test of the top level that has ended, with the tests in it that
	// were judged.
	Test(suite, name string, judged []Test)
	// Close ends the display, so that other text can follow.
	Close()
}

// NewBar returns a progress bar for a terminal that expects total tests of the top level. What is
// wrong is printed above the bar as soon as it is known.
func NewBar(w io.Writer, printer *Printer, total int) Progress {
	return &bar{printer: printer, bar: progressbar.NewOptions(max(total, 1),
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(50*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionSetDescription("starting"),
	)}
}

type bar struct {
	printer *Printer
	bar     *progressbar.ProgressBar
	counts  Counts
}

func (b *bar) Test(suite, name string, judged []Test) {
	var worst []verdict.Verdict
	for i := range judged {
		b.counts.Add(judged[i].Verdict)
		worst = append(worst, judged[i].Verdict)
	}
	if len(worst) > 0 && !verdict.Rollup(worst...).AsExpected() {
		b.draw(b.bar.Clear())
		b.printer.line("%s", b.printer.topLevel(suite, name, judged))
	}
	b.bar.Describe(fmt.Sprintf("%d pass, %d fail, %d other", b.counts.Pass, b.counts.Fail,
		b.counts.Total()-b.counts.Pass-b.counts.Fail))
	b.draw(b.bar.Add(1))
}

func (b *bar) Close() { b.draw(b.bar.Clear()) }

// draw takes the error of drawing on a terminal: when the terminal is gone, the run goes on.
func (b *bar) draw(error) {}

// NewLines returns a progress display for anything that is not a terminal: one line per test of
// the top level, or, when verbose, one per judged test.
func NewLines(printer *Printer, verbose bool) Progress {
	return &lines{printer: printer, verbose: verbose}
}

type lines struct {
	printer *Printer
	verbose bool
}

func (l *lines) Test(suite, name string, judged []Test) {
	if len(judged) == 0 {
		return
	}
	if !l.verbose {
		l.printer.line("%s", l.printer.topLevel(suite, name, judged))
		return
	}
	for i := range judged {
		t := &judged[i]
		var ids []string
		for _, r := range t.Requirements {
			ids = append(ids, r.ID)
		}
		l.printer.line("%s  %s  %s (%.2f s)", l.printer.verdict(t.Verdict), t.ID(), strings.Join(ids, " "), t.DurationSeconds)
	}
}

func (l *lines) Close() {}

// topLevel is one line about a test of the top level.
func (p *Printer) topLevel(suite, name string, judged []Test) string {
	var counts Counts
	all := make([]verdict.Verdict, len(judged))
	longest := 0.0
	for i := range judged {
		all[i] = judged[i].Verdict
		counts.Add(all[i])
		longest = max(longest, judged[i].DurationSeconds)
	}
	rolled := verdict.Rollup(all...)
	text := fmt.Sprintf("%s  %s/%s", p.verdict(rolled), suite, name)
	if n := len(judged); n > 1 && counts.Of(rolled) == n {
		text += fmt.Sprintf(", %d cases", n)
	} else if n > 1 {
		text += fmt.Sprintf(", %d cases: %s", n, counts.list())
	}
	return fmt.Sprintf("%s (%.2f s)", text, longest)
}
