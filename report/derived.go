package report

import "countersign/report/verdict"

// document is what report.json holds: a run, and what follows from its tests, so that a reader of the
// file need not work it out.
type document struct {
	*Run
	Forgeries    []ForgeryTable `json:"forgeries"`
	Fingerprints []Fingerprint  `json:"fingerprints"`
	Consensus    *Consensus     `json:"consensus,omitempty"`
}

// Fingerprint is what a server was seen to do where nothing is judged. Servers with different
// fingerprints may come to disagree about a room.
type Fingerprint struct {
	// Requirement is the ID of the question, and Test the Test.ID of the test that asked it.
	Requirement string `json:"requirement"`
	Test        string `json:"test"`
	// Observed is one sentence.
	Observed string `json:"observed"`
}

// Fingerprints are what the tests recorded about requirements that judge nothing, in the order of the
// tests.
func Fingerprints(run *Run) []Fingerprint {
	found := []Fingerprint{}
	for i := range run.Tests {
		for _, about := range run.Tests[i].Requirements {
			if about.Verdict == verdict.Info && about.Observed != "" {
				found = append(found, Fingerprint{about.ID, run.Tests[i].ID(), about.Observed})
			}
		}
	}
	return found
}
