// Command generate makes the golden files of package vectors from fixed seeds. It is run by
//
//	go generate ./vectors
//
// and its test compares what it makes with what is committed, byte by byte. The verdicts of rules come
// from countersign/matrix/edge; those of libraries are copied from implementations.json, where
// vectors/verify records what it has measured.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"countersign/matrix/edge"
	"countersign/vectors"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIRECTORY")
		os.Exit(3)
	}
	made, err := generate()
	if err == nil {
		for name, text := range made {
			if err = os.WriteFile(filepath.Join(os.Args[1], name), text, 0o644); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// generate makes the content of every generated file by its name.
func generate() (map[string][]byte, error) {
	implementations, err := vectors.Implementations()
	if err != nil {
		return nil, err
	}
	made := map[string][]byte{}
	for _, file := range []func() (*vectors.File, error){
		ed25519Vectors, accountKeys, signatures, canonicalJSON, requests, events, participation,
	} {
		f, err := file()
		if err != nil {
			return nil, err
		}
		for i := range f.Vectors {
			f.Vectors[i].Recorded = recorded(implementations, f.Name, f.Vectors[i].ID)
		}
		if made[f.Name+".json"], err = marshal(f); err != nil {
			return nil, err
		}
	}
	var rules []vectors.Rule
	for _, r := range edge.Rules() {
		rules = append(rules, vectors.Rule{ID: r.ID, Sentence: r.Sentence})
	}
	made["rules.json"], err = marshal(map[string]any{"rules": rules})
	return made, err
}

// recorded are the verdicts of the libraries that were asked about a file.
func recorded(all []vectors.Implementation, file, id string) map[string]vectors.Verdict {
	verdicts := map[string]vectors.Verdict{}
	for _, i := range all {
		if accepted, asked := i.Accepts[file]; asked {
			verdicts[i.ID] = verdict(slices.Contains(accepted, id))
		}
	}
	if len(verdicts) == 0 {
		return nil
	}
	return verdicts
}

func verdict(accepted bool) vectors.Verdict {
	if accepted {
		return vectors.Accept
	}
	return vectors.Reject
}

// marshal writes JSON as it is committed.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
