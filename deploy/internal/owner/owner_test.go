package owner

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDead(t *testing.T) {
	self, err := Self()
	require.NoError(t, err)
	again, err := Parse(self.String())
	require.NoError(t, err)
	require.Equal(t, self, again)
	require.False(t, self.Dead())

	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	for name, c := range map[string]struct {
		change func(*ID)
		dead   bool
	}{
		"a process that has ended":           {func(id *ID) { id.PID = ended.Process.Pid }, true},
		"a number that was given out again":  {func(id *ID) { id.Started++ }, true},
		"before the machine started anew":    {func(id *ID) { id.Boot = "earlier" }, true},
		"another machine cannot be known":    {func(id *ID) { id.Host = "elsewhere"; id.PID = ended.Process.Pid }, false},
		"another container cannot be either": {func(id *ID) { id.Namespace = "pid:[1]"; id.PID = ended.Process.Pid }, false},
	} {
		id := self
		c.change(&id)
		require.Equal(t, c.dead, id.Dead(), name)
	}
	for _, text := range []string{"", "{}", "x", `{"host":"h"}`, `{"pid":1}`} {
		_, err := Parse(text)
		require.Error(t, err, text)
	}
}
