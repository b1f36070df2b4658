package deploy

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestConfigDefaults(t *testing.T) {
	c, err := LoadConfig(nil)
	require.NoError(t, err)
	require.Equal(t, Config{
		Target: "embedded", Targets: map[string]string{}, TimeoutScale: 1, RoomVersion4243: "org.matrix.12.4243",
		RoomVersion4345: "org.matrix.msc4345.12", RoomVersion4348: "org.matrix.msc4348.12", Flood: 1000,
		BaseImages: map[string]string{}, SpawnTimeout: 30 * time.Second, HostnameRunningComplement: "host.docker.internal",
	}, c)
}

func TestConfigReadsEveryVariable(t *testing.T) {
	c, err := LoadConfig([]string{
		"COUNTERSIGN_TARGET=exec:server", "COUNTERSIGN_TARGET_HS2=embedded", "COUNTERSIGN_TIMEOUT_SCALE=2.5",
		"COUNTERSIGN_ROOM_VERSION_4243=x", "COUNTERSIGN_ROOM_VERSION_4345=y", "COUNTERSIGN_ROOM_VERSION_4348=z", "COUNTERSIGN_FLOOD=20000", "COUNTERSIGN_STRICT=1", "COUNTERSIGN_ARTIFACTS=/a",
		"COMPLEMENT_BASE_IMAGE=ignored", "COMPLEMENT_BASE_IMAGE_HS3=ignored", "COMPLEMENT_SPAWN_HS_TIMEOUT_SECS=7",
		"COMPLEMENT_HOST_MOUNTS=/a:/b:ro;/c:/d;", "COMPLEMENT_SHARE_ENV_PREFIX=PASS_", "PASS_X=y", "PASS_=odd",
		"COMPLEMENT_CONTAINER_CPU_CORES=0.5", "COMPLEMENT_CONTAINER_MEMORY=1GiB", "COMPLEMENT_ALWAYS_PRINT_SERVER_LOGS=1",
		"COMPLEMENT_POST_TEST_SCRIPT=/s", "COMPLEMENT_HOSTNAME_RUNNING_COMPLEMENT=h", "COMPLEMENT_DEBUG=yes",
	})
	require.NoError(t, err)
	require.Equal(t, 20000, c.Flood)
	require.Equal(t, []string{"x", "y", "z"}, []string{c.RoomVersion4243, c.RoomVersion4345, c.RoomVersion4348})
	require.Equal(t, 75*time.Second/10, c.Scaled(3*time.Second))
	require.Equal(t, 7*time.Second*5/2, c.StartTimeout())
	require.Equal(t, HostMounts{{"/a", "/b", true}, {"/c", "/d", false}}, c.HostMounts)
	require.Equal(t, []string{"X=y"}, c.SharedEnviron())
	require.Equal(t, ByteSize(1<<30), c.ContainerMemory)
	require.Equal(t, 0.5, c.ContainerCPUCores)
	require.True(t, c.Strict && c.AlwaysPrintServerLogs)
	require.False(t, c.Debug, "Complement's switches are on at 1 only")
	for alias, want := range map[string]Target{
		"hs1": {KindExec, "server"}, "hs2": {KindEmbedded, ""}, "HS2": {KindEmbedded, ""}, "hs3": {KindExec, "server"},
	} {
		target, err := c.TargetFor(alias)
		require.NoError(t, err)
		require.Equal(t, want, target, alias)
	}
}

func TestComplementImagesSelectDocker(t *testing.T) {
	for name, c := range map[string]struct {
		environ  []string
		hs1, hs2 string
	}{
		"image for all":                {[]string{"COMPLEMENT_BASE_IMAGE=a"}, "docker:a", "docker:a"},
		"image for all but one":        {[]string{"COMPLEMENT_BASE_IMAGE=a", "COMPLEMENT_BASE_IMAGE_hs2=b"}, "docker:a", "docker:b"},
		"images one by one":            {[]string{"COMPLEMENT_BASE_IMAGE_HS1=a", "COMPLEMENT_BASE_IMAGE_HS2=b:1"}, "docker:a", "docker:b:1"},
		"our image and theirs":         {[]string{"COUNTERSIGN_TARGET=docker:a", "COMPLEMENT_BASE_IMAGE_HS2=b"}, "docker:a", "docker:b"},
		"ours wins":                    {[]string{"COUNTERSIGN_TARGET=docker:a", "COMPLEMENT_BASE_IMAGE=b"}, "docker:a", "docker:a"},
		"ours wins for one":            {[]string{"COMPLEMENT_BASE_IMAGE=a", "COMPLEMENT_BASE_IMAGE_HS2=b", "COUNTERSIGN_TARGET_HS2=docker:c"}, "docker:a", "docker:c"},
		"no image wanted":              {[]string{"COUNTERSIGN_TARGET=embedded", "COMPLEMENT_BASE_IMAGE_HS2=b"}, "embedded", "embedded"},
		"the last of two entries":      {[]string{"COUNTERSIGN_TARGET=embedded", "COUNTERSIGN_TARGET=docker:z"}, "docker:z", "docker:z"},
		"an empty value is unset":      {[]string{"COUNTERSIGN_TARGET=", "COMPLEMENT_BASE_IMAGE=a"}, "docker:a", "docker:a"},
		"an image with registry, port": {[]string{"COMPLEMENT_BASE_IMAGE=r:5000/a:b"}, "docker:r:5000/a:b", "docker:r:5000/a:b"},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := LoadConfig(c.environ)
			require.NoError(t, err)
			hs1, err := config.TargetFor("hs1")
			require.NoError(t, err)
			hs2, err := config.TargetFor("hs2")
			require.NoError(t, err)
			require.Equal(t, []string{c.hs1, c.hs2}, []string{hs1.String(), hs2.String()})
		})
	}
}

func TestConfigErrorsNameTheVariable(t *testing.T) {
	for _, entry := range []string{
		"COUNTERSIGN_TARGET=podman:x", "COUNTERSIGN_TARGET=docker:", "COUNTERSIGN_TARGET=exec: ", "COUNTERSIGN_TARGET=embedded:x",
		"COUNTERSIGN_TARGET_HS2=nothing", "COUNTERSIGN_TIMEOUT_SCALE=fast", "COUNTERSIGN_TIMEOUT_SCALE=0", "COUNTERSIGN_TIMEOUT_SCALE=NaN",
		"COUNTERSIGN_TIMEOUT_SCALE=-1", "COUNTERSIGN_TIMEOUT_SCALE=Inf", "COUNTERSIGN_STRICT=yes", "COUNTERSIGN_FLOOD=10", "COUNTERSIGN_FLOOD=a few",
		"COMPLEMENT_SPAWN_HS_TIMEOUT_SECS=30s", "COMPLEMENT_SPAWN_HS_TIMEOUT_SECS=0",
		"COMPLEMENT_CONTAINER_CPU_CORES=-1", "COMPLEMENT_CONTAINER_CPU_CORES=many", "COMPLEMENT_CONTAINER_MEMORY=lots",
		"COMPLEMENT_HOST_MOUNTS=/a", "COMPLEMENT_HOST_MOUNTS=/a:/b:rx",
	} {
		t.Run(entry, func(t *testing.T) {
			_, err := LoadConfig([]string{entry})
			require.ErrorContains(t, err, entry[:strings.IndexByte(entry, '=')])
			require.Equal(t, KindUsage, KindOf(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "12": 12, "12B": 12, "1kb": 1000, "1KB": 1000, "1KiB": 1024, "1k": 1024, "1K": 1024, "512MB": 512e6, "512 MB": 512e6,
		"2MiB": 2 << 20, "2m": 2 << 20, "3GB": 3e9, "3GiB": 3 << 30, "3g": 3 << 30, "1TB": 1e12, "1TiB": 1 << 40, "1PB": 1e15, "1pib": 1 << 50,
		"1.5GiB": 3 << 29,
	} {
		var b ByteSize
		require.NoError(t, b.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, b, text)
	}
	for _, text := range []string{"MB", "1XB", "1bb", "1ib", "-1", "1e3", "0x10", "1/2", "9999999PB", "1 2", "1MBB"} {
		var b ByteSize
		require.Error(t, b.UnmarshalText([]byte(text)), text)
	}
}

func TestServerEnvSurvivesTheEnvironment(t *testing.T) {
	var e ServerEnv
	for field, value := range reflect.ValueOf(&e).Elem().Fields() {
		value.SetString("the " + field.Name)
	}
	again, err := LoadServerEnv(e.Environ())
	require.NoError(t, err)
	require.Equal(t, e, again)
}

func TestEnvironmentDocumentIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../docs/ENVIRONMENT.md")
	require.NoError(t, err)
	require.Equal(t, EnvironmentMarkdown(), string(text), `run "go generate ./deploy"`)
}

func TestEveryVariableIsExplained(t *testing.T) {
	for _, of := range []any{Config{}, ServerEnv{}} {
		for field := range reflect.TypeOf(of).Fields() {
			if name := field.Tag.Get("env"); name != "" {
				require.True(t, strings.HasSuffix(field.Tag.Get("help"), "."), "%s needs a sentence of help", name)
			}
		}
	}
}
