package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"countersign/deploy"
	"countersign/deploy/target"
	"countersign/report"
)

// preflight tells cheaply whether homeservers can be started as the environment asks: whether the
// configuration can be read, an engine answers, an image or a command is there.
func preflight(ctx context.Context, environ []string) error {
	config, err := deploy.LoadConfig(environ)
	if err == nil {
		err = target.Preflight(ctx, config, aliases(&config)...)
	}
	if err == nil {
		return nil
	}
	code := report.ExitHarness
	if deploy.KindOf(err) == deploy.KindUsage {
		code = report.ExitUsage
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return exitf(code, "%s", line)
}

// aliases are the homeservers that every run has, and those that the configuration names.
func aliases(config *deploy.Config) []string {
	named := append([]string{"hs1"}, slices.Sorted(maps.Keys(config.Targets))...)
	return slices.Compact(slices.Sorted(slices.Values(named)))
}
