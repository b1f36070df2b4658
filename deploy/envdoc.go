package deploy

import (
	"fmt"
	"reflect"
	"strings"
)

//go:generate go run ./internal/gendoc ../docs/ENVIRONMENT.md

// EnvironmentMarkdown is the text of docs/ENVIRONMENT.md, made from the tags of Config and
// ServerEnv. A test compares the two.
func EnvironmentMarkdown() string {
	var b strings.Builder
	b.WriteString(`# Environment variables

<!-- Made by "go generate ./deploy" from the struct tags in deploy/config.go and deploy/serverenv.go. Do not edit. -->

The suite is configured by environment variables; the flags of ` + "`countersign run`" + ` set the same ones. An
empty value means unset. A value that cannot be understood stops the run, with the name of the variable.

## What a run reads

The variables of the first table are Countersign's.

`)
	table(&b, Config{}, "COUNTERSIGN_")
	b.WriteString(`
Those of the second mean what they mean in Complement, so that a homeserver's existing pipeline can be
pointed at this suite unchanged. ` + "`COMPLEMENT_BASE_IMAGE`" + ` alone is enough to run against an image.

`)
	table(&b, Config{}, "COMPLEMENT_")
	b.WriteString(`
## What a homeserver reads

A homeserver that is started as a child process (` + "`exec:COMMAND`" + `) finds these in its environment, beside
everything that the suite's own process had, except the variables above. It is ready when
` + "`GET /_matrix/client/versions`" + ` on the client address answers 200. SIGTERM asks it to end; its output is its
log. Containers follow Complement's image contract instead: see dockerfiles/README.md.

`)
	table(&b, ServerEnv{}, "COUNTERSIGN_")
	b.WriteString(attachChapter)
	return b.String()
}

// attachChapter describes the file of package deploy/attach, whose test reads the example.
const attachChapter = `
## The file of attach:FILE

Servers that already run are described in YAML. Paths are relative to the file. Tests that stop, start or
pause a server are skipped.

` + "```yaml" + `
ca: # the authority that the homeservers trust; the fake servers get their certificates from it
  certificate: ca.crt
  key: ca.key
peer: # how the homeservers reach the machine where the tests run
  host: tests.example # its name; localhost when left out
  listen: 0.0.0.0 # where the fake servers listen; this is the default, or 127.0.0.1 for localhost
servers:
  hs1:
    name: one.example # the Matrix server name
    client: http://192.0.2.1:8008 # the base URL of the client-server API
    federation: 192.0.2.1:8448 # the federation listener; when left out, the name, at its port or 8448
    log: one.log # a file that the server prints to; may be left out
  hs2:
    name: two.example:443
    client: https://two.example
` + "```" + `
`

// table writes one row per tagged field whose variable begins with the prefix.
func table(b *strings.Builder, of any, prefix string) {
	defaults := false
	for field := range reflect.TypeOf(of).Fields() {
		defaults = defaults || field.Tag.Get("default") != ""
	}
	if defaults {
		b.WriteString("| variable | default | meaning |\n| --- | --- | --- |\n")
	} else {
		b.WriteString("| variable | meaning |\n| --- | --- |\n")
	}
	for field := range reflect.TypeOf(of).Fields() {
		name := field.Tag.Get("env")
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		name = strings.Replace(name, "*", "<HS>", 1)
		fmt.Fprintf(b, "| `%s` | ", name)
		if value := field.Tag.Get("default"); value != "" {
			fmt.Fprintf(b, "`%s` | ", value)
		} else if defaults {
			b.WriteString("| ")
		}
		fmt.Fprintf(b, "%s |\n", codeQuotes(field.Tag.Get("help")))
	}
}

// codeQuotes turns 'text' into Markdown code; a tag cannot hold backquotes. An apostrophe inside a
// word stays what it is.
func codeQuotes(help string) string {
	var b strings.Builder
	open := false
	for i := range len(help) {
		letterBefore := i > 0 && isLetter(help[i-1])
		letterAfter := i+1 < len(help) && isLetter(help[i+1])
		if help[i] == '\'' && open && !(letterBefore && letterAfter) || help[i] == '\'' && !open && !letterBefore {
			b.WriteByte('`')
			open = !open
			continue
		}
		b.WriteByte(help[i])
	}
	return b.String()
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
