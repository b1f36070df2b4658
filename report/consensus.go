package report

import (
	"fmt"
	"slices"
	"strings"

	"countersign/report/verdict"
	"countersign/vectors"
)

// Consensus is what the probes of a run amount to: which rule of verification the server follows, and with
// which libraries it would come to disagree about a room.
type Consensus struct {
	// Rules are the IDs of the rules that fit every probe which was decided: one, unless probes are missing;
	// none when the server follows no rule that is known.
	Rules []string `json:"rules"`
	// Libraries are those that follow one of the rules, each with its function.
	Libraries []string `json:"libraries"`
	// Undecided are the probes of which nothing is known.
	Undecided []string `json:"undecided"`
	// Splits are the libraries with which the server would disagree.
	Splits []LibrarySplit `json:"splits"`
}

// LibrarySplit is a library whose recorded verdicts differ from what the server does.
type LibrarySplit struct {
	// Library is its name and function, and Rule the rule that it follows.
	Library string `json:"library"`
	Rule    string `json:"rule"`
	// Probes are the probes on which they differ.
	Probes []string `json:"probes"`
}

// Probes are what a server made of the events on which servers differ, in the order of the tests.
func Probes(run *Run) []verdict.Probe {
	var all []verdict.Probe
	for i := range run.Tests {
		all = append(all, run.Tests[i].Probes...)
	}
	return all
}

// ConsensusOf is what the probes of a run amount to, nil when nothing was probed. The error is about the vectors that the program was
// built with.
func ConsensusOf(run *Run) (*Consensus, error) {
	probes := Probes(run)
	if len(probes) == 0 {
		return nil, nil
	}
	c := &Consensus{Rules: []string{}, Libraries: []string{}, Undecided: []string{}, Splits: []LibrarySplit{}}
	verdicts := map[string]vectors.Verdict{}
	for _, p := range probes {
		switch {
		case !p.Outcome.Conclusive():
			c.Undecided = append(c.Undecided, p.Probe)
		case p.Outcome == verdict.Crashed:
			verdicts[p.Probe] = vectors.Reject // no rule asks for it; but the event is not accepted
		default:
			verdicts[p.Probe] = vectors.Verdict(p.Outcome)
		}
	}
	followed, err := vectors.Followed(verdicts)
	if err != nil {
		return nil, err
	}
	c.Rules = append(c.Rules, followed...)
	return c, c.compare(verdicts)
}

// compare sets the outcomes beside the recorded verdicts of libraries.
func (c *Consensus) compare(verdicts map[string]vectors.Verdict) error {
	implementations, err := vectors.Implementations()
	if err != nil {
		return err
	}
	file, err := vectors.Load("ed25519")
	if err != nil {
		return err
	}
	for _, i := range implementations {
		if i.Rule == "" {
			continue
		}
		if slices.Contains(c.Rules, i.Rule) {
			c.Libraries = append(c.Libraries, i.Title)
			continue
		}
		split := LibrarySplit{Library: i.Title, Rule: i.Rule}
		for _, v := range file.Vectors {
			if did := verdicts[v.Probe]; v.Probe != "" && did != "" && did != v.Recorded[i.ID] {
				split.Probes = append(split.Probes, v.Probe)
			}
		}
		if len(split.Probes) > 0 {
			c.Splits = append(c.Splits, split)
		}
	}
	return nil
}

// String is one sentence about the rule, without its full stop.
func (c *Consensus) String() string {
	switch {
	case len(c.Rules) == 0 && len(c.Undecided) > 0:
		return "The probes fit no rule that is known, or decide too little"
	case len(c.Rules) == 0:
		return "The server verifies Ed25519 by no rule that is known"
	case len(c.Rules) > 1:
		return "The probes that were decided fit the rules " + strings.Join(c.Rules, ", ")
	}
	text := "The server verifies Ed25519 by the rule " + c.Rules[0]
	if len(c.Libraries) > 0 {
		text += ", as " + strings.Join(c.Libraries, "; ")
	}
	return text
}

// SplitsByRule are the Splits with the libraries that follow one rule in one entry, their names separated by
// semicolons.
func (c *Consensus) SplitsByRule() []LibrarySplit {
	var merged []LibrarySplit
	for _, s := range c.Splits {
		i := slices.IndexFunc(merged, func(m LibrarySplit) bool { return m.Rule == s.Rule })
		if i < 0 {
			merged = append(merged, s)
			continue
		}
		merged[i].Library += "; " + s.Library
	}
	return merged
}

// consensus says by which rule the server verifies, and with whom it would disagree.
func (p *Printer) consensus(run *Run) {
	c, err := ConsensusOf(run)
	if c == nil {
		return
	}
	p.line("\n%s", p.bold("Agreement with other implementations"))
	if err != nil {
		p.item("  ", err.Error())
		return
	}
	p.item("  rule    ", c.String())
	if len(c.Undecided) > 0 {
		p.item("  open    ", "undecided: "+strings.Join(c.Undecided, ", "))
	}
	for _, s := range c.SplitsByRule() {
		p.item("  SPLIT   ", fmt.Sprintf("%s: with %s", strings.Join(s.Probes, ", "), s.Library))
	}
}
