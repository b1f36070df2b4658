// Command gendoc writes docs/SPEC-DEFECTS.md from the catalogue.
package main

import (
	"fmt"
	"os"

	"countersign/requirements"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendoc FILE")
		os.Exit(3)
	}
	catalogue, err := requirements.Default()
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(catalogue.DefectsMarkdown()), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}
