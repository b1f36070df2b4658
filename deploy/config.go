package deploy

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

// RegistrationSharedSecret is the secret of /_synapse/admin/v1/register that Complement's image
// contract fixes; servers of every target are expected to use it, if they have the endpoint.
const RegistrationSharedSecret = "complement"

// MinFlood and MaxFlood bound Config.Flood: fewer members than that are no flood, and more do not fit
// into what a fake server remembers.
const (
	MinFlood = 400
	MaxFlood = 20000
)

// Config says which homeservers to start and how. Each field is read from the environment variable
// in its tag; docs/ENVIRONMENT.md is made from the same tags.
type Config struct {
	// Target is the target of every homeserver that Targets does not name; see ParseTarget.
	Target string `env:"COUNTERSIGN_TARGET" default:"embedded" help:"Where the homeservers under test come from. 'embedded' is the reference homeserver inside the test process. 'exec:COMMAND' starts a command per homeserver; the command is split like a shell's, quotes honoured, nothing expanded. 'docker:IMAGE' starts a container per homeserver. 'attach:FILE' uses servers that already run, described in a YAML file."`
	// Targets are targets by alias ("hs2"), overriding Target.
	Targets map[string]string `env:"COUNTERSIGN_TARGET_*" help:"The target of one homeserver, named by its alias: 'COUNTERSIGN_TARGET_HS2=exec:./other-server' tests how two implementations work together. Servers on this machine ('embedded', 'exec') can be mixed with one another, images with images."`
	// TimeoutScale multiplies every deadline; see Scaled.
	TimeoutScale float64 `env:"COUNTERSIGN_TIMEOUT_SCALE" default:"1" help:"Multiplies every deadline. Use 3 on a slow or busy machine, and more under an emulator."`
	// RoomVersion4243 is the identifier of the room version that MSC4243 defines.
	RoomVersion4243 string `env:"COUNTERSIGN_ROOM_VERSION_4243" default:"org.matrix.12.4243" help:"The room version identifier that the servers use for the rooms of MSC4243."`
	// RoomVersion4345 is the identifier of a room version that MSC4345 defines. D-30: it assigns none.
	RoomVersion4345 string `env:"COUNTERSIGN_ROOM_VERSION_4345" default:"org.matrix.msc4345.12" help:"The room version identifier that the servers use for the rooms of MSC4345. The proposal assigns none; the default is a placeholder."`
	// RoomVersion4348 is the identifier of a room version that MSC4348 defines. D-30: it assigns none.
	RoomVersion4348 string `env:"COUNTERSIGN_ROOM_VERSION_4348" default:"org.matrix.msc4348.12" help:"The room version identifier that the servers use for the rooms of MSC4348. The proposal assigns none; the default is a placeholder."`
	// Flood is how many made-up members the tests of floods send into a room.
	Flood int `env:"COUNTERSIGN_FLOOD" default:"1000" help:"How many made-up members the tests of floods have join a room. 20000 is a load test of minutes."`
	// Mutant is what the reference homeserver is to do wrong.
	Mutant string `env:"COUNTERSIGN_MUTANT" help:"The name of a deliberate defect, a permitted variant or a dead server that the reference homeserver is to be: 'countersign kill --list' prints them all. Homeservers of every target that the suite starts are told, and 'countersign serve' and the reference image heed it; others know nothing of it. 'countersign kill' sets it, for the target 'embedded'."`
	// Reached is a file for the names of the defects that could have shown.
	Reached string `env:"COUNTERSIGN_REACHED" help:"A file to which the reference homeserver, as the target 'embedded', adds the names of the defects that would have shown. 'countersign kill' sets it."`
	// Strict raises ambiguous requirements to failures.
	Strict bool `env:"COUNTERSIGN_STRICT" default:"0" help:"If 1, a departure from the recommended reading of an ambiguous text is a failure, not a warning."`
	// Artifacts is a folder for what a run leaves to be read, or empty.
	Artifacts string `env:"COUNTERSIGN_ARTIFACTS" help:"A folder for what a run leaves to be read: the homeservers' logs, and transcripts of what was on the wire. It is made when it is missing. Nothing is kept when it is not set."`
	// Keep leaves the homeservers up after the tests.
	Keep bool `env:"COUNTERSIGN_KEEP" default:"0" help:"If 1, the homeservers that the tests of a package share stay up after them, until the tests are interrupted, and how to reach them is printed. With plain 'go test', add '-timeout 0'."`

	// BaseImage is Complement's image for every homeserver.
	BaseImage string `env:"COMPLEMENT_BASE_IMAGE" help:"The image of every homeserver, as in Complement. The same as 'COUNTERSIGN_TARGET=docker:IMAGE', which wins when both are set."`
	// BaseImages are Complement's images by alias.
	BaseImages map[string]string `env:"COMPLEMENT_BASE_IMAGE_*" help:"The image of one homeserver, named by its alias in any case, as in Complement: 'COMPLEMENT_BASE_IMAGE_HS2=complement-other:latest'. Not looked at when COUNTERSIGN_TARGET is set to something else than an image."`
	// SpawnTimeout is how long a homeserver may take until it answers, before TimeoutScale.
	SpawnTimeout time.Duration `env:"COMPLEMENT_SPAWN_HS_TIMEOUT_SECS" default:"30" help:"How many seconds a homeserver, of any target, may take from its start until it is healthy (when its image has a HEALTHCHECK) and answers GET /_matrix/client/versions with 200."`
	// HostMounts are folders of this machine that every container sees.
	HostMounts HostMounts `env:"COMPLEMENT_HOST_MOUNTS" help:"Folders of this machine to mount into every container: 'HOST:CONTAINER' or 'HOST:CONTAINER:ro', separated by semicolons."`
	// ShareEnvPrefix selects variables of this process that every container is given.
	ShareEnvPrefix string `env:"COMPLEMENT_SHARE_ENV_PREFIX" help:"Every variable whose name begins with this prefix is given to every container, without the prefix: with 'PASS_', PASS_LOG_LEVEL=debug becomes LOG_LEVEL=debug there."`
	// ContainerCPUCores limits a container's processor time, in cores; 0 is no limit.
	ContainerCPUCores float64 `env:"COMPLEMENT_CONTAINER_CPU_CORES" default:"0" help:"How many processor cores each container may use; fractions such as 0.5 are allowed, and 0 is no limit."`
	// ContainerMemory limits a container's memory, in bytes; 0 is no limit.
	ContainerMemory ByteSize `env:"COMPLEMENT_CONTAINER_MEMORY" default:"0" help:"How much memory each container may use: bytes, or a number with a unit. KB, MB, GB, TB, PB are decimal; KiB, MiB, GiB, TiB, PiB and K, M, G are binary; case does not matter. 0 is no limit."`
	// AlwaysPrintServerLogs prints servers' logs also when nothing failed.
	AlwaysPrintServerLogs bool `env:"COMPLEMENT_ALWAYS_PRINT_SERVER_LOGS" default:"0" help:"If 1, the homeservers' logs are printed when a deployment ends, even if every test passed."`
	// PostTestScript is a program that is run before a container is removed.
	PostTestScript string `env:"COMPLEMENT_POST_TEST_SCRIPT" help:"A program that is run for each container before it is removed, with three arguments: the container's ID, the name of the test, and 'true' or 'false' for whether the test failed. A deployment that many tests share runs it once, with the test name COMPLEMENT_ENABLE_DIRTY_RUNS and 'false', as Complement does."`
	// HostnameRunningComplement is this machine's name as containers see it.
	HostnameRunningComplement string `env:"COMPLEMENT_HOSTNAME_RUNNING_COMPLEMENT" default:"host.docker.internal" help:"The name under which containers reach this machine. Podman calls it host.containers.internal."`
	// Debug asks for a fuller account of what the harness does.
	Debug bool `env:"COMPLEMENT_DEBUG" default:"0" help:"If 1, the harness says what it starts, stops and waits for."`

	// Environ is the environment that the configuration was read from, as os.Environ gives it.
	Environ []string
	// AppServices are registered with every homeserver. They do not come from the environment.
	AppServices []AppService
}

// ConfigFromEnvironment reads the configuration of this process.
func ConfigFromEnvironment() (Config, error) { return LoadConfig(os.Environ()) }

// LoadConfig reads a configuration from an environment in the form of os.Environ; of two entries
// with one name the last counts, and an empty value means unset. Errors are of KindUsage and name
// the variable.
func LoadConfig(environ []string) (Config, error) {
	values := environMap(environ)
	var c Config
	if err := readTagged(&c, values); err != nil {
		return Config{}, err
	}
	c.Environ = environ
	c.foldBaseImages(values["COUNTERSIGN_TARGET"] != "")
	return c, c.check()
}

// foldBaseImages turns Complement's image variables into targets, so that everything after this
// looks at Target and Targets only.
func (c *Config) foldBaseImages(targetIsSet bool) {
	if !targetIsSet && c.BaseImage != "" {
		c.Target = string(KindDocker) + ":" + c.BaseImage
	}
	if targetIsSet && !strings.HasPrefix(c.Target, string(KindDocker)+":") {
		return
	}
	for alias, image := range c.BaseImages {
		if c.Targets[alias] == "" {
			c.Targets[alias] = string(KindDocker) + ":" + image
		}
	}
}

func (c *Config) check() error {
	if !(c.TimeoutScale > 0) || math.IsInf(c.TimeoutScale, 0) {
		return Usagef("COUNTERSIGN_TIMEOUT_SCALE is %v; it must be a number greater than 0", c.TimeoutScale)
	}
	if !(c.ContainerCPUCores >= 0) || math.IsInf(c.ContainerCPUCores, 0) {
		return Usagef("COMPLEMENT_CONTAINER_CPU_CORES is %v; it must be 0 or a number of cores", c.ContainerCPUCores)
	}
	if c.Flood < MinFlood || c.Flood > MaxFlood {
		return Usagef("COUNTERSIGN_FLOOD is %d; it must be from %d to %d", c.Flood, MinFlood, MaxFlood)
	}
	if c.SpawnTimeout <= 0 {
		return Usagef("COMPLEMENT_SPAWN_HS_TIMEOUT_SECS is %d; it must be at least 1", int(c.SpawnTimeout.Seconds()))
	}
	if _, err := ParseTarget(c.Target); err != nil {
		return fmt.Errorf("COUNTERSIGN_TARGET: %w", err)
	}
	for alias, target := range c.Targets {
		if _, err := ParseTarget(target); err != nil {
			return fmt.Errorf("COUNTERSIGN_TARGET_%s: %w", strings.ToUpper(alias), err)
		}
	}
	return nil
}

// Scaled is a deadline multiplied by TimeoutScale (by 1 when that is 0, as in a Config literal).
func (c *Config) Scaled(d time.Duration) time.Duration {
	if c.TimeoutScale == 0 {
		return d
	}
	return time.Duration(float64(d) * c.TimeoutScale)
}

// StartTimeout is how long a homeserver may take until it answers, scaled. A Config literal
// without SpawnTimeout means 30 seconds.
func (c *Config) StartTimeout() time.Duration {
	if c.SpawnTimeout == 0 {
		return c.Scaled(30 * time.Second)
	}
	return c.Scaled(c.SpawnTimeout)
}

// TargetKind is one of the four ways to have a homeserver.
type TargetKind string

// The four kinds of target.
const (
	KindEmbedded TargetKind = "embedded" // the reference homeserver, in this process
	KindExec     TargetKind = "exec"     // a command, as a child process
	KindDocker   TargetKind = "docker"   // an image, as a container
	KindAttach   TargetKind = "attach"   // a server that already runs
)

// Target is a parsed target: a kind and what follows the colon.
type Target struct {
	Kind TargetKind
	// Arg is the command, the image or the file; it is empty for KindEmbedded.
	Arg string
}

// String is the form that ParseTarget reads.
func (t Target) String() string {
	if t.Arg == "" {
		return string(t.Kind)
	}
	return string(t.Kind) + ":" + t.Arg
}

// ParseTarget reads "embedded", "exec:COMMAND", "docker:IMAGE" or "attach:FILE". Its error is of
// KindUsage.
func ParseTarget(s string) (Target, error) {
	kind, arg, _ := strings.Cut(s, ":")
	target := Target{Kind: TargetKind(kind), Arg: strings.TrimSpace(arg)}
	what := map[TargetKind]string{KindExec: "a command", KindDocker: "an image", KindAttach: "a file"}[target.Kind]
	switch {
	case s == string(KindEmbedded):
		return target, nil
	case what == "":
		return Target{}, Usagef("%q is not a target; write embedded, exec:COMMAND, docker:IMAGE or attach:FILE", s)
	case target.Arg == "":
		return Target{}, Usagef("the target %q lacks %s after the colon", s, what)
	}
	return target, nil
}

// TargetFor is the target of the homeserver with the given alias.
func (c *Config) TargetFor(alias string) (Target, error) {
	if target := c.Targets[strings.ToLower(alias)]; target != "" {
		return ParseTarget(target)
	}
	if c.Target == "" {
		return Target{Kind: KindEmbedded}, nil
	}
	return ParseTarget(c.Target)
}

// SharedEnviron is what COMPLEMENT_SHARE_ENV_PREFIX selects, without the prefix, as NAME=value.
func (c *Config) SharedEnviron() []string {
	var shared []string
	if c.ShareEnvPrefix == "" {
		return nil
	}
	for _, entry := range c.Environ {
		if rest, ok := strings.CutPrefix(entry, c.ShareEnvPrefix); ok && rest != "" && rest[0] != '=' {
			shared = append(shared, rest)
		}
	}
	return shared
}

// Debugf says what the harness does, on standard error, when COMPLEMENT_DEBUG is 1.
func (c *Config) Debugf(format string, args ...any) {
	if c.Debug {
		fmt.Fprintf(os.Stderr, "countersign: "+format+"\n", args...)
	}
}
