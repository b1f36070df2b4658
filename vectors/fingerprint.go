package vectors

import "slices"

// Followed are the IDs of the verification rules that come to the given verdicts, which are by the IDs of
// probes (Vector.Probe of the file ed25519). Of probes that are left out nothing is assumed; with all of
// them at most one rule is left. It returns nil when no verdict is given, and an empty list when no known
// rule comes to all of them.
func Followed(verdicts map[string]Verdict) ([]string, error) {
	f, err := Load("ed25519")
	if err != nil {
		return nil, err
	}
	rules, err := Rules()
	if err != nil {
		return nil, err
	}
	asked := slices.DeleteFunc(f.Vectors, func(v Vector) bool { return v.Probe == "" || verdicts[v.Probe] == "" })
	if len(asked) == 0 {
		return nil, nil
	}
	followed := []string{}
	for _, rule := range rules {
		if !slices.ContainsFunc(asked, func(v Vector) bool { return v.Rules[rule.ID] != verdicts[v.Probe] }) {
			followed = append(followed, rule.ID)
		}
	}
	return followed, nil
}

// Probe is the vector of the same kind as a probe of a server, or nil when there is none. The probe's event
// is in a room of its own, and so has other bytes.
func Probe(id string) (*Vector, error) {
	for _, name := range []string{"ed25519", "account-keys", "signatures", "canonical-json"} {
		f, err := Load(name)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(f.Vectors, func(v Vector) bool { return v.Probe == id }); i >= 0 {
			return &f.Vectors[i], nil
		}
	}
	return nil, nil
}
