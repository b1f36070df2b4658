//go:build deps

// Package deps keeps the modules that the project has chosen in go.mod while the
// packages that use them are being written.
package deps

import (
	_ "filippo.io/edwards25519"
	_ "github.com/docker/docker/client"
	_ "github.com/goccy/go-yaml"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/spf13/cobra"
	_ "github.com/stretchr/testify/require"
	_ "github.com/tidwall/gjson"
	_ "github.com/tidwall/sjson"
	_ "go.etcd.io/bbolt"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/term"
	_ "pgregory.net/rapid"
)
