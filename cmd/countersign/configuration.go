package main

import (
	"regexp"
	"strings"
)

// secretName matches the names of variables whose values may not be published.
var secretName = regexp.MustCompile(`SECRET|PASSWORD|TOKEN|CREDENTIAL`)

// configuration are the variables of an environment that configure a run. The last entry of a name
// counts, and an empty value means unset.
func configuration(environ []string) map[string]string {
	found := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "COUNTERSIGN_") && !strings.HasPrefix(name, "COMPLEMENT_") || secretName.MatchString(name) {
			continue
		}
		found[name] = value
		if value == "" {
			delete(found, name)
		}
	}
	return found
}
