package fakeserver

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// Edit changes one property of a JSON document.
type Edit struct {
	// Path names the property: names joined by dots ("content.users.{victim}"), where -1 appends to
	// an array. Templates are expanded first, and dots inside them do not separate.
	Path string
	// JSON is the new value as JSON text, in which templates are expanded; empty removes the
	// property.
	JSON string
}

// names maps the templates of an edit, a forgery or an answer to what they stand for.
type names map[string]string

// expand replaces "{name}" by what it stands for. A name that looks like a template and is not known
// is an error: a forgery that silently keeps its template would be a different forgery.
func (n names) expand(text string) (string, error) {
	var b strings.Builder
	for {
		open := strings.IndexByte(text, '{')
		if open < 0 {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:open])
		text = text[open:]
		end := strings.IndexByte(text, '}')
		if end < 2 || !templateName(text[1:end]) {
			b.WriteByte('{')
			text = text[1:]
			continue
		}
		value, ok := n[text[1:end]]
		if !ok {
			return "", fmt.Errorf("nothing is known by the name of %s here", text[:end+1])
		}
		b.WriteString(value)
		text = text[end+1:]
	}
}

func templateName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}

// sjsonPath expands a path and escapes what sjson would take for syntax.
func (n names) sjsonPath(path string) (string, error) {
	var parts []string
	for part := range strings.SplitSeq(path, ".") {
		text, err := n.expand(part)
		if err != nil {
			return "", err
		}
		if text == "-1" {
			parts = append(parts, text)
			continue
		}
		parts = append(parts, gjson.Escape(text))
	}
	return strings.Join(parts, "."), nil
}

// applyEdits makes edits one after the other.
func applyEdits(doc []byte, edits []Edit, n names) ([]byte, error) {
	for _, e := range edits {
		path, err := n.sjsonPath(e.Path)
		if err != nil {
			return nil, fmt.Errorf("edit of %s: %w", e.Path, err)
		}
		if e.JSON == "" {
			if doc, err = sjson.DeleteBytes(doc, path); err != nil {
				return nil, fmt.Errorf("removing %s: %w", e.Path, err)
			}
			continue
		}
		value, err := n.expand(e.JSON)
		if err != nil {
			return nil, fmt.Errorf("edit of %s: %w", e.Path, err)
		}
		if doc, err = sjson.SetRawBytes(doc, path, []byte(value)); err != nil {
			return nil, fmt.Errorf("setting %s: %w", e.Path, err)
		}
	}
	return doc, nil
}
