package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRun_CommandLines(t *testing.T) {
	for _, c := range []struct {
		name, command, repeat string
		run                   Run
	}{
		{
			name: "nothing configured", run: Run{Target: "embedded", Command: []string{"run"}},
			command: "countersign run",
			repeat:  "countersign run --requirement RV12-MSG-01",
		},
		{
			name: "by flags", run: Run{Target: "exec:./my server", Strict: true, Command: []string{"run", "--strict", "--target", "exec:./my server"}},
			command: "countersign run --strict --target 'exec:./my server'",
			repeat:  "countersign run --requirement RV12-MSG-01 --target 'exec:./my server' --strict",
		},
		{
			name: "by variables",
			run: Run{
				Target: "docker:a", Command: []string{"run"},
				Configuration: map[string]string{"COMPLEMENT_BASE_IMAGE": "a", "COMPLEMENT_HOST_MOUNTS": "/it's:/b", "COUNTERSIGN_FLOOD": ""},
			},
			command: `COMPLEMENT_BASE_IMAGE=a COMPLEMENT_HOST_MOUNTS='/it'\''s:/b' COUNTERSIGN_FLOOD='' countersign run`,
			repeat:  `COMPLEMENT_HOST_MOUNTS='/it'\''s:/b' COUNTERSIGN_FLOOD='' countersign run --requirement RV12-MSG-01 --target docker:a`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.command, c.run.CommandLine())
			assert.Equal(t, c.repeat, c.run.Repeat("RV12-MSG-01"))
		})
	}
}
