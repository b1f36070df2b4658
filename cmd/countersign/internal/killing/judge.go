package killing

import (
	"cmp"
	"slices"

	"countersign/report"
	"countersign/report/killtable"
	"countersign/report/verdict"
)

// kill is what a test function's verdicts amount to for a mutant that breaks a requirement: nil when
// none is FAIL. INCONCLUSIVE and ERROR kill nothing: such a test has not found out what is wrong.
func kill(test string, judged []report.Test, requirement string) *killtable.Kill {
	k := killtable.Kill{Test: test, Requirements: []string{}}
	failed := false
	for i := range judged {
		if judged[i].Verdict != verdict.Fail {
			continue
		}
		failed = true
		k.Observed = cmp.Or(k.Observed, judged[i].Observed)
		for _, r := range judged[i].Requirements {
			if r.Verdict != verdict.Fail {
				continue
			}
			if r.ID == requirement && !k.Own {
				k.Own, k.Observed = true, r.Observed
			}
			if !slices.Contains(k.Requirements, r.ID) {
				k.Requirements = append(k.Requirements, r.ID)
			}
		}
	}
	if !failed {
		return nil
	}
	slices.Sort(k.Requirements)
	k.Observed = shortened(k.Observed)
	return &k
}

// blame is what a test function says against a server that has done nothing wrong: nil when every
// verdict is as it should be.
func blame(test string, judged []report.Test) *killtable.Kill {
	for i := range judged {
		if t := &judged[i]; !t.Verdict.AsExpected() {
			k := &killtable.Kill{Test: t.ID(), Requirements: []string{}, Observed: shortened(string(t.Verdict) + ": " + t.Observed)}
			for _, r := range t.Requirements {
				if !r.Verdict.AsExpected() {
					k.Requirements = append(k.Requirements, r.ID)
				}
			}
			return k
		}
	}
	return nil
}

// shortened is a text that fits into a table.
func shortened(text string) string {
	const limit = 240
	letters := []rune(text)
	if len(letters) <= limit {
		return text
	}
	return string(letters[:limit]) + "..."
}
