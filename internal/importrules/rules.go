// Package importrules keeps the walls between the parts of the project where they were drawn: who
// may import whom, which module is used where, and that nothing waits by sleeping. Its test reads
// the sources of the whole module.
package importrules

// A rule says what the packages of a folder, and of the folders in it, may import of the project.
// The rule with the longest matching folder decides.
type rule struct {
	folder string
	// may lists folders whose packages may be imported, besides the rule's own. A folder stands for
	// what is in it, too.
	may []string
	// anyModule lifts the confinements of other people's modules.
	anyModule bool
	// because is the reason, as the end of a sentence.
	because string
}

// rules are the walls. A folder with Go packages and without a rule is refused.
var rules = [...]rule{
	{folder: "matrix", because: "the wire is shared by both sides of every test, so it depends on neither"},
	{folder: "requirements", because: "the catalogue is data"},
	{folder: "vectors", because: "an implementer uses the vectors without the suite"},
	{folder: "vectors/internal", may: []string{"matrix", "vectors"}, because: "what makes the vectors and checks them is no part of them"},
	{folder: "report", may: []string{"requirements", "report/verdict", "vectors"}, because: "a report is made from test output, never from servers"},
	{folder: "report/verdict", because: "tests and reports both speak it"},
	{folder: "reference", may: []string{"matrix"}, because: "the reference homeserver is a homeserver like any other"},
	{folder: "fakeserver", may: []string{"matrix"}, because: "the fake server builds, signs, serves and records; it judges nothing"},
	{folder: "deploy", because: "it knows how servers are started, not what they should do"},
	{folder: "deploy/target", may: []string{"deploy"}, because: "it chooses among the kinds of target"},
	{folder: "deploy/embedded", may: []string{"deploy", "reference"}, because: "it alone runs the reference homeserver within a test"},
	{folder: "helpers", may: []string{"deploy", "fakeserver", "matrix", "requirements", "report/verdict"}, because: "a black box stays black"},
	{folder: "blueprints", may: []string{"deploy", "fakeserver", "helpers", "matrix"}, because: "a black box stays black"},
	{folder: "tests", may: []string{"blueprints", "fakeserver", "helpers", "matrix"}, because: "the tests know no implementation"},
	{folder: "cmd/countersign", may: []string{"deploy", "helpers/conform", "matrix", "reference", "report", "requirements", "vectors"}, because: "the command line puts the parts together"},
	{folder: "internal/importrules", because: "it reads sources"},
	{folder: "internal/deps", anyModule: true, because: "it names modules"},
}

// A confinement says where a module may be used.
type confinement struct {
	// module is the beginning of the import path.
	module string
	// folders are where it may be used; empty means nowhere.
	folders []string
	// testsOnly confines it to the folders and, everywhere but in tests/, to files whose names end
	// in _test.go.
	testsOnly bool
	because   string
}

// confinements keep modules out of where they do not belong.
var confinements = [...]confinement{
	{module: "github.com/matrix-org/", because: "the wire is ours, so that no implementation's mistake is shared"},
	{module: "github.com/element-hq/", because: "the wire is ours, so that no implementation's mistake is shared"},
	{module: "maunium.net/go/mautrix", because: "the wire is ours, so that no implementation's mistake is shared"},
	{module: "github.com/docker/docker", folders: []string{"deploy"}, because: "only deploy speaks to container engines"},
	{module: "go.etcd.io/bbolt", folders: []string{"reference"}, because: "only the reference homeserver stores anything"},
	{module: "github.com/spf13/cobra", folders: []string{"cmd"}, because: "only the command line has commands"},
	{module: "github.com/stretchr/testify", folders: []string{"deploy/internal/fakehs"}, testsOnly: true, because: "conformance tests assert with helpers/must, whose failures show the wire"},
	{module: "pgregory.net/rapid", folders: []string{"tests", "helpers/walks"}, testsOnly: true, because: "it generates the inputs of tests and the walks of models"},
}

// sleepless are the folders in which nothing waits by sleeping: it waits for a condition, with a
// deadline.
var sleepless = [...]string{"tests", "helpers", "blueprints", "fakeserver", "deploy"}
