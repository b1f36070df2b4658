package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/requirements"
)

func (a *app) mergeCommand() *cobra.Command {
	var into string
	var known expectationFlags
	command := &cobra.Command{
		Use:   "merge DIR DIR ...",
		Short: "Put the reports of shards together",
		Long: `Merge makes one report of several, which must be of the same suite, target and servers, as the shards
of one run are:

  countersign run --shard 1/2 --report shard-1      on one machine
  countersign run --shard 2/2 --report shard-2      on another
  countersign report merge shard-1 shard-2 --to countersign-report

A folder that has no report of its own, such as one with everything that was downloaded, stands for the
reports in the folders below it.

A shard that is missing is refused: a lost job is no success. What is known to be broken is best
applied here, where it can be seen which entries of the file are stale. The exit code is that of the
merged run, as if it had been one.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.merge(args, into, &known)
		},
	}
	command.Flags().StringVar(&into, "to", defaultReport, "the folder for the merged report")
	known.add(command)
	return command
}

func (a *app) merge(paths []string, into string, flags *expectationFlags) error {
	all, err := catalogue()
	if err != nil {
		return err
	}
	known, err := a.expectations(all, flags)
	if err != nil {
		return err
	}
	folder, err := a.absolute(into)
	if err != nil {
		return err
	}
	if paths, err = a.reports(paths, folder); err != nil {
		return err
	}
	runs, folders := make([]*report.Run, len(paths)), make([]string, len(paths))
	for i, path := range paths {
		if runs[i], folders[i], err = a.readReport(path); err != nil {
			return err
		}
	}
	merged, err := report.Merge(all, runs...)
	if err != nil {
		return exitf(report.ExitUsage, "%v", err)
	}
	for i, run := range runs {
		if err := takeTranscripts(run, folders[i], folder); err != nil {
			return exitf(report.ExitHarness, "cannot copy a transcript: %v", err)
		}
	}
	if known != nil {
		known.Apply(merged, all, merged.Started, flags.strict)
	}
	return a.publish(merged, all, folder)
}

// reports puts in the place of a folder without a report the folders in it that have one, in the order
// of their names, except the one that is merged into.
func (a *app) reports(paths []string, into string) ([]string, error) {
	var found []string
	for _, path := range paths {
		folder, err := a.absolute(path)
		if err != nil {
			return nil, err
		}
		var below []string
		if !hasReport(folder) {
			entries, _ := os.ReadDir(folder) // what cannot be read is told where its report is read
			for _, entry := range entries {
				if part := filepath.Join(folder, entry.Name()); part != filepath.Clean(into) && hasReport(part) {
					below = append(below, part)
				}
			}
		}
		if len(below) == 0 {
			below = []string{path}
		}
		found = append(found, below...)
	}
	return found, nil
}

func hasReport(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, report.FileName))
	return err == nil
}

// publish writes a finished run into a folder, prints it, and returns what it amounts to.
func (a *app) publish(run *report.Run, all *requirements.Catalogue, folder string) error {
	path, err := report.Write(folder, run)
	if err != nil {
		return exitf(report.ExitHarness, "%v; name another folder with --report or --to", err)
	}
	page, err := writeForm(folder, renderings[0], run, all, folder)
	if err != nil {
		return exitf(report.ExitHarness, "%v; name another folder with --report or --to", err)
	}
	printer := a.printer(all)
	printer.Folder = a.shorten(folder)
	printer.Page = a.shorten(page)
	printer.Print(run, a.shorten(path))
	return outcome(run)
}

// takeTranscripts copies a report's transcripts to the same places below another folder. One that is
// gone is passed over: the report says so where it would be shown.
func takeTranscripts(run *report.Run, from, into string) error {
	if from == into {
		return nil
	}
	for i := range run.Tests {
		path := run.Tests[i].Transcript
		if path == "" || !filepath.IsLocal(path) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(into, path)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(into, path), text, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
