package verdict

// The attributes by which a test tells the report what it covers and what it saw. A test emits them
// with testing.T.Attr, so they travel in `go test -json` as events with Action "attr", a Key and a
// Value, and every standard tool still works. Values are one line each.
const (
	// AttrCovers carries the ID of one requirement that the test covers, such as MSC4243-SIG-02.
	// A test emits it once per requirement.
	AttrCovers = "countersign.covers"

	// AttrExpected carries one sentence: what the test expects next. A later one replaces it.
	AttrExpected = "countersign.expected"

	// AttrObserved carries one sentence: what the test saw. A later one replaces it.
	AttrObserved = "countersign.observed"

	// AttrFinding carries a Finding as JSON: a verdict that Go's own pass, fail and skip cannot
	// express, with its evidence.
	AttrFinding = "countersign.finding"

	// AttrUnselected marks a test that was left out because the run asks for other requirements
	// than those that it covers. Its value is "1". A report does not mention such a test.
	AttrUnselected = "countersign.unselected"

	// AttrProbe carries a Probe as JSON: what a server made of an event on which servers differ.
	AttrProbe = "countersign.probe"

	// AttrTranscript carries the path of a file with what was on the wire during the test.
	AttrTranscript = "countersign.transcript"

	// AttrScenario carries a title: what was on the wire during the test is worth looking at even if
	// nothing went wrong.
	AttrScenario = "countersign.scenario"
)

// Finding is the JSON value of AttrFinding: one thing that a test found out.
type Finding struct {
	// Verdict is what the finding amounts to. A finding is never a PASS: a test passes by finding
	// nothing.
	Verdict Verdict `json:"verdict"`
	// Requirement is the ID of the requirement that the finding is about; empty when it is about
	// every requirement that the test covers.
	Requirement string `json:"requirement,omitempty"`
	// Expected is one sentence: what the server should have done.
	Expected string `json:"expected,omitempty"`
	// Observed is one sentence: what it did, or why the question was not asked.
	Observed string `json:"observed,omitempty"`
	// TestHadFailed says that the test had already failed when the finding was made. When it is
	// set on the first red finding of a test, the test also failed in a way that it did not explain.
	TestHadFailed bool `json:"test_had_failed,omitempty"`
}

// Lines that a test binary prints at the start of a line, outside any test, for the report to read.
const (
	// LineError starts a line that says, in one sentence, why the tests could not run at all, such
	// as a server that did not start. TestMain prints it and then exits with code 2:
	//
	//	countersign: error: hs1 did not answer GET /_matrix/client/versions within 30s; ...
	LineError = "countersign: error: "

	// LineMore starts each line of what there is to add to the LineError right above it, such as what
	// a homeserver said before it ended:
	//
	//	countersign: more: the last lines of its log:
	//	countersign: more: cannot open the database
	LineMore = "countersign: more: "

	// LineWire is the line, in what a failed test prints, below which it shows what was on the wire.
	LineWire = "what was on the wire:"

	// LineFact starts a line that carries a Fact as JSON:
	//
	//	countersign: fact: {"server":"hs1","name":"...","version":"...","room_versions":{"12":"stable"}}
	LineFact = "countersign: fact: "

	// LineKept starts a line that carries a Kept as JSON. It comes after the tests, when the homeservers
	// are to stay up; the test binary then waits until it is interrupted.
	LineKept = "countersign: kept: "
)

// Kept is the JSON value of a LineKept line: how to reach homeservers that stay up.
type Kept struct {
	// Servers are the homeservers.
	Servers []KeptServer `json:"servers"`
	// Attach is a file that describes them, for the target attach:FILE, and CA the file with the
	// certificate of the authority that vouches for theirs, beside it.
	Attach string `json:"attach"`
	CA     string `json:"ca"`
}

// KeptServer is one of Kept.
type KeptServer struct {
	// Server is its alias, and Name its Matrix server name.
	Server string `json:"server"`
	Name   string `json:"name"`
	// Client is the base URL of the client-server API, and Federation the host:port of the other.
	Client     string `json:"client"`
	Federation string `json:"federation"`
}

// Fact is the JSON value of a LineFact line: what one homeserver under test says about itself.
type Fact struct {
	// Server is the alias of the homeserver in its deployment, such as "hs1".
	Server string `json:"server"`
	// Target is where the homeserver came from, such as "docker:IMAGE" or "exec:COMMAND".
	Target string `json:"target,omitempty"`
	// Digest is the SHA-256 of the image or of the program, as "sha256:" and hexadecimal digits.
	Digest string `json:"digest,omitempty"`
	// Name is the implementation's name, as it reports it over federation.
	Name string `json:"name,omitempty"`
	// Version is the implementation's version, as it reports it over federation.
	Version string `json:"version,omitempty"`
	// ServerName is the Matrix server name.
	ServerName string `json:"server_name,omitempty"`
	// RoomVersions maps each room version that the server offers to its stability, "stable" or
	// "unstable", as in the capabilities of the client-server API.
	RoomVersions map[string]string `json:"room_versions,omitempty"`
}
