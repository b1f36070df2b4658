package requirements

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefectsDocumentIsCurrent(t *testing.T) {
	catalogue, err := Default()
	require.NoError(t, err)
	document, err := os.ReadFile("../docs/SPEC-DEFECTS.md")
	require.NoError(t, err)
	assert.Equal(t, catalogue.DefectsMarkdown(), string(document), "run `go generate ./requirements`")
}
