// Command gendoc writes docs/ENVIRONMENT.md from the struct tags of package deploy.
package main

import (
	"fmt"
	"os"

	"countersign/deploy"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendoc FILE")
		os.Exit(3)
	}
	if err := os.WriteFile(os.Args[1], []byte(deploy.EnvironmentMarkdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}
