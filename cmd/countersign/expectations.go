package main

import (
	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/expect"
	"countersign/requirements"
)

// expectationFlags say which problems of the server are known.
type expectationFlags struct {
	file   string
	strict bool
}

func (f *expectationFlags) add(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&f.file, "expectations", "", "a file of known problems: their failures are XFAIL (see docs/EVIDENCE.md)")
	flags.BoolVar(&f.strict, "strict-expectations", false, "a known problem that passes, or is stale, is exit code 5")
}

// expectations reads the expectation file, or returns nil when there is none.
func (a *app) expectations(all *requirements.Catalogue, flags *expectationFlags) (*expect.File, error) {
	if flags.file == "" {
		if flags.strict {
			return nil, exitf(report.ExitUsage, "--strict-expectations without --expectations FILE")
		}
		return nil, nil
	}
	path, err := a.absolute(flags.file)
	if err != nil {
		return nil, err
	}
	file, err := expect.Load(path, all)
	if err != nil {
		return nil, exitf(report.ExitUsage, "%v", err)
	}
	file.Name = flags.file
	return file, nil
}
