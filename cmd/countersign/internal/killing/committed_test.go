package killing

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/reference"
	"countersign/report/killtable"
)

// The committed kill table proves what the documents say of it, is of mutants that still are what they were, as far
// as they are there, and says the same in both of its forms. Mutants that came later are in the next one.
func TestCommittedTable(t *testing.T) {
	docs := filepath.Join("..", "..", "..", "..", "docs")
	text, err := os.ReadFile(filepath.Join(docs, killtable.FileName))
	require.NoError(t, err)
	var table killtable.Table
	require.NoError(t, json.Unmarshal(text, &table))

	s := table.Summary
	assert.True(t, table.Whole && table.Shard == nil, "made by countersign kill --all")
	assert.NotEmpty(t, table.Suite.Commit)
	assert.GreaterOrEqual(t, s.Mutants, 200)
	assert.Equal(t, s.Mutants, s.Killed)
	assert.Equal(t, s.Mutants, s.KilledByOwnRequirement)
	assert.GreaterOrEqual(t, s.Variants, 25)
	assert.Zero(t, s.VariantsFailed)
	assert.Zero(t, s.DeadServersWronglyJudged)
	assert.Zero(t, s.IdleTests)
	assert.True(t, table.Proves())

	requirement := map[string]string{}
	for _, m := range reference.Mutants() {
		requirement[m.Name] = m.Requirement
	}
	for _, m := range table.Mutants {
		now, there := requirement[m.Name]
		assert.True(t, !there || now == m.Requirement, "the mutant %s has changed; make the table again with countersign kill --all", m.Name)
	}

	var markdown bytes.Buffer
	require.NoError(t, killtable.Markdown(&markdown, &table))
	committed, err := os.ReadFile(filepath.Join(docs, "KILL-TABLE.md"))
	require.NoError(t, err)
	assert.Equal(t, string(committed), markdown.String())
}
