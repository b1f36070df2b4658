package compare

import (
	"fmt"
	"slices"

	"countersign/report"
	"countersign/report/verdict"
	"countersign/requirements"
	"countersign/vectors"
)

// RoomSplit is two servers that an attacker can make disagree about a room, and how.
type RoomSplit struct {
	// A and B are indices of the matrix's Columns.
	A, B int
	// Events are the events that one of them accepts and the other does not.
	Events []SplitEvent
}

// SplitEvent is an event that two servers treat differently, or one like it that each of them was sent.
type SplitEvent struct {
	// Probe is the probe's ID, and Title what is odd about its event.
	Probe, Title string
	// A and B are what the two servers made of it. Both are conclusive, and differ.
	A, B verdict.Probe
	// Silent says that the text does not decide which of them is right: the requirement is not a STRICT
	// one. Otherwise the one whose outcome is not the expected one deviates.
	Silent bool
}

// Deviating are the letters of those who deviate from what is expected, in the order A, B.
func (e *SplitEvent) Deviating(a, b string) (letters []string) {
	if e.A.Outcome != e.A.Expected {
		letters = append(letters, a)
	}
	if e.B.Outcome != e.B.Expected {
		letters = append(letters, b)
	}
	return letters
}

// roomSplits compares the probes of every pair of runs. That one of two servers does as the recommended
// rule asks does not make it less of a split.
func (m *Matrix) roomSplits() error {
	catalogue, err := requirements.Default()
	if err != nil {
		return err
	}
	probes := make([]map[string]verdict.Probe, len(m.Columns))
	var order []string
	for i := range m.Columns {
		probes[i] = map[string]verdict.Probe{}
		all := report.Probes(m.Columns[i].Run)
		if len(all) > 0 {
			m.probed++
		}
		for _, p := range all {
			if _, again := probes[i][p.Probe]; again {
				continue
			}
			probes[i][p.Probe] = p
			if !slices.Contains(order, p.Probe) {
				order = append(order, p.Probe)
			}
		}
	}
	slices.Sort(order)
	for a := range m.Columns {
		for b := a + 1; b < len(m.Columns); b++ {
			split := RoomSplit{A: a, B: b}
			for _, id := range order {
				of, with := probes[a][id], probes[b][id]
				if !of.Outcome.Conclusive() || !with.Outcome.Conclusive() || of.Outcome == with.Outcome {
					continue
				}
				e := SplitEvent{Probe: id, A: of, B: with, Silent: true}
				if v, err := vectors.Probe(id); err != nil {
					return err
				} else if v != nil {
					e.Title = v.Title
				}
				if r := catalogue.Requirement(of.Requirement); r != nil {
					e.Silent = r.Profile != requirements.Strict
				}
				split.Events = append(split.Events, e)
			}
			if len(split.Events) > 0 {
				m.RoomSplits = append(m.RoomSplits, split)
			}
		}
	}
	return nil
}

// sentence says who does what, and who is to blame.
func (e *SplitEvent) sentence(a, b string) string {
	text := fmt.Sprintf("%s: %s, %s: %s", a, e.A.Outcome, b, e.B.Outcome)
	switch deviating := e.Deviating(a, b); {
	case e.A.Outcome == verdict.Crashed || e.B.Outcome == verdict.Crashed:
		text += "; a server must survive every event"
	case e.Silent:
		text += "; the proposal is silent, the recommended rule says " + string(e.A.Expected)
	case len(deviating) == 1:
		text += "; " + deviating[0] + " deviates"
	}
	return text
}
