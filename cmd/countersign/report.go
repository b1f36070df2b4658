package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/export"
	"countersign/report/webpage"
	"countersign/requirements"
)

// rendering is one form in which a report can be written down.
type rendering struct {
	// flag chooses it on the command line, and file is the name under which it is written.
	flag, file, says string
	write            func(io.Writer, *report.Run, *requirements.Catalogue, report.Evidence) error
}

// renderings are all forms but report.json, of which they are made.
var renderings = [...]rendering{
	{"html", webpage.FileName, "report.html: one page for people, without anything to load",
		func(w io.Writer, run *report.Run, all *requirements.Catalogue, evidence report.Evidence) error {
			return webpage.Render(w, run, webpage.Options{Catalogue: all, Evidence: evidence})
		}},
	{"junit", "junit.xml", "junit.xml: for the test view of a CI system",
		func(w io.Writer, run *report.Run, _ *requirements.Catalogue, _ report.Evidence) error {
			return export.JUnit(w, run)
		}},
	{"markdown", "report.md", "report.md: for a pull-request comment or a job summary",
		func(w io.Writer, run *report.Run, _ *requirements.Catalogue, _ report.Evidence) error {
			return export.Markdown(w, run)
		}},
	{"badge", "badge.svg", "badge.svg: the result in a few letters",
		func(w io.Writer, run *report.Run, _ *requirements.Catalogue, _ report.Evidence) error {
			return export.Badge(w, run)
		}},
}

func (a *app) reportCommand() *cobra.Command {
	var into string
	chosen := make([]bool, len(renderings))
	command := &cobra.Command{
		Use:   "report DIR|FILE",
		Short: "Print a report again, or write it as HTML, JUnit, Markdown or a badge",
		Long: `Report reads the report.json that a run wrote. Without flags it prints what the run printed. With
flags it writes the report in other forms beside it:

  countersign report countersign-report                     print it
  countersign report countersign-report --html --junit      write report.html and junit.xml
  countersign report countersign-report --markdown --to -   print the Markdown

It judges nothing: the exit code is 0 whatever the report says.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var forms []rendering
			for i, wanted := range chosen {
				if wanted {
					forms = append(forms, renderings[i])
				}
			}
			return a.report(args[0], into, forms)
		},
	}
	for i, form := range renderings {
		command.Flags().BoolVar(&chosen[i], form.flag, false, "write "+form.says)
	}
	command.Flags().StringVar(&into, "to", "", "the folder to write into, or - to print one form (default the report's folder)")
	command.Flags().SortFlags = false
	command.AddCommand(a.mergeCommand())
	return command
}

// report reads a report and writes it in the forms that are asked for.
func (a *app) report(path, into string, forms []rendering) error {
	all, err := catalogue()
	if err != nil {
		return err
	}
	run, folder, err := a.readReport(path)
	if err != nil {
		return err
	}
	switch {
	case len(forms) == 0 && into != "":
		return exitf(report.ExitUsage, "--to without a form; add --html, --junit, --markdown or --badge")
	case len(forms) == 0:
		printer := a.printer(all)
		printer.Folder = a.shorten(folder)
		printer.Print(run, a.shorten(filepath.Join(folder, report.FileName)))
		return nil
	case into == "-" && len(forms) > 1:
		return exitf(report.ExitUsage, "--to - prints one form; choose one of those that were asked for")
	case into == "-":
		if err := forms[0].write(a.out, run, all, report.Evidence{Folder: folder}); err != nil {
			return exitf(report.ExitHarness, "%v", err)
		}
		return nil
	case into == "":
		into = folder
	default:
		if into, err = a.absolute(into); err != nil {
			return err
		}
	}
	for _, form := range forms {
		path, err := writeForm(into, form, run, all, folder)
		if err != nil {
			return exitf(report.ExitHarness, "%v; name another folder with --to", err)
		}
		fmt.Fprintln(a.out, a.shorten(path))
	}
	return nil
}

// writeForm writes a report in one form into a folder, and returns the file's path. The report's own
// folder is where the transcripts are.
func writeForm(into string, form rendering, run *report.Run, all *requirements.Catalogue, folder string) (string, error) {
	path := filepath.Join(into, form.file)
	return path, report.WriteFile(path, func(w io.Writer) error {
		return form.write(w, run, all, report.Evidence{Folder: folder})
	})
}

// readReport reads a report from a folder or a file, and returns the folder that it is in.
func (a *app) readReport(path string) (run *report.Run, folder string, err error) {
	absolute, err := a.absolute(path)
	if err != nil {
		return nil, "", err
	}
	if run, err = report.Read(absolute); err != nil {
		return nil, "", exitf(report.ExitUsage, "%v", err)
	}
	if info, err := os.Stat(absolute); err == nil && !info.IsDir() {
		absolute = filepath.Dir(absolute)
	}
	return run, absolute, nil
}

// absolute is a path as the reader of the command line means it.
func (a *app) absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	wd, err := a.getwd()
	if err != nil {
		return "", exitf(report.ExitUsage, "cannot tell the working directory: %v", err)
	}
	return filepath.Join(wd, path), nil
}
