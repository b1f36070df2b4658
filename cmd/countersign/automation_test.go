package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// accepts reports whether a command line is one that the program understands.
func accepts(t *testing.T, words []string) error {
	t.Helper()
	root := (&app{out: t.Output(), err: t.Output(), getwd: os.Getwd}).root()
	command, rest, err := root.Find(words)
	if err == nil {
		err = command.ParseFlags(rest)
	}
	if err == nil {
		err = command.ValidateArgs(command.Flags().Args())
	}
	if command == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return cobra.NoArgs(command, words)
	}
	return err
}

var (
	// commandLine is a command line in a document: in a block of code, or in a sentence. What follows two
	// spaces explains it.
	commandLine = regexp.MustCompile(`(?m)(?:go run \./cmd/countersign|(?:^|\$ |[\x60;/ ])countersign) ([a-z](?:[^\x60\n|>&#; ]| [^\x60\n|>&#; ])*)`)
	// shellWord is a word of it: plain, or in quotes.
	shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|[^\s'"]+`)
)

// Every command line in the documents is one that the program understands.
func TestDocuments_CommandLines(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "dockerfiles/*.md", "dockerfiles/*.sh", "ci/*.yaml", ".github/workflows/*.yml"} {
		found, err := filepath.Glob(filepath.Join("..", "..", pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	commands := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range commandLine.FindAllStringSubmatch(string(text), -1) {
			words := shellWord.FindAllString(found[1], -1)
			last := words[len(words)-1]
			if !isCommand(words[0]) || last == words[0] || last == "merge" || isValueless(words) {
				continue // a sentence about a command, or about a flag of it
			}
			commands++
			assert.NoError(t, accepts(t, words), "%s: countersign %s", file, found[1])
		}
	}
	assert.Greater(t, commands, 25, "the documents show how the program is used")
}

// isValueless reports whether a command line ends with a flag that needs a value, as a sentence does.
func isValueless(words []string) bool {
	name, ok := strings.CutPrefix(words[len(words)-1], "--")
	command, _, err := (&app{getwd: os.Getwd}).root().Find(words)
	if !ok || err != nil {
		return false
	}
	flag := command.Flags().Lookup(name)
	return flag != nil && flag.NoOptDefVal == ""
}

func isCommand(word string) bool {
	for _, c := range (&app{getwd: os.Getwd}).root().Commands() {
		if c.Name() == word {
			return true
		}
	}
	return false
}

// The manifest for Kubernetes runs what there is, and its shards are as many as its pods.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "ci", "kubernetes.yaml"))
	require.NoError(t, err)
	jobs := map[string][]string{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Spec     struct {
				CompletionMode           string `yaml:"completionMode"`
				Completions, Parallelism int
				Template                 struct {
					Spec struct {
						Containers []struct{ Args []string }
					}
				}
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &object))
		if object.Kind != "Job" {
			continue
		}
		args := object.Spec.Template.Spec.Containers[0].Args
		assert.NoError(t, accepts(t, args), "%v", args)
		jobs[object.Metadata.Name] = args
		if object.Spec.CompletionMode != "Indexed" {
			continue
		}
		for _, arg := range args {
			if shard, ok := strings.CutPrefix(arg, "--shard="); ok {
				last, err := parseShard(strings.ReplaceAll(shard, "$(SHARD)", "3"))
				require.NoError(t, err)
				assert.Equal(t, object.Spec.Completions, last.Count)
				assert.Equal(t, last.Count, last.Index, "the last pod runs the last shard")
			}
		}
	}
	assert.Len(t, jobs, 2)
}

// The action hands its inputs to flags that there are.
func TestAction(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "action.yml"))
	require.NoError(t, err)
	var action struct {
		Inputs map[string]struct{ Required bool }
		Runs   struct {
			Steps []struct{ Run string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &action))
	assert.True(t, action.Inputs["target"].Required)
	flags := regexp.MustCompile(`--[a-z-]+`)
	run, _, err := (&app{getwd: os.Getwd}).root().Find([]string{"run"})
	require.NoError(t, err)
	seen := 0
	for _, step := range action.Runs.Steps {
		if !strings.Contains(step.Run, `"$PROGRAM" run`) {
			continue
		}
		for _, flag := range flags.FindAllString(step.Run, -1) {
			seen++
			assert.NotNil(t, run.Flags().Lookup(flag[2:]), flag)
			assert.Contains(t, action.Inputs, flag[2:], "each is an input of its own")
		}
	}
	assert.Equal(t, 6, seen)
}

// Every link in the documents leads to a file, and to a heading that is in it.
func TestDocuments_Links(t *testing.T) {
	root := filepath.Join("..", "..")
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	anchors := func(file string) (all []string) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, found := range heading.FindAllStringSubmatch(string(text), -1) {
			words := regexp.MustCompile(`[^\pL\pN_\- ]`).ReplaceAllString(strings.ToLower(found[1]), "")
			all = append(all, strings.ReplaceAll(words, " ", "-"))
		}
		return all
	}
	links := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "dockerfiles/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, found := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(string(text), -1) {
				path, anchor, _ := strings.Cut(found[1], "#")
				if strings.Contains(path, "://") {
					continue
				}
				links++
				target := file
				if path != "" {
					target = filepath.Join(filepath.Dir(file), path)
				}
				if _, err := os.Stat(target); !assert.NoError(t, err, "in %s", file) {
					continue
				}
				if anchor != "" {
					assert.Contains(t, anchors(target), anchor, "in %s: %s", file, found[1])
				}
			}
		}
	}
	assert.Greater(t, links, 20)
}
