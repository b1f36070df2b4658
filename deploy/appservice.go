package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// AppService is an application service that every homeserver of a deployment has registered when it
// starts. It is the one thing about a homeserver that cannot be changed once it runs.
type AppService struct {
	// ID names the application service; it is part of a file name.
	ID string
	// Registration is the registration file, in YAML or, which is YAML too, in JSON (application service
	// API, "Registration").
	Registration []byte
}

var appServiceID = regexp.MustCompile(`^[a-z0-9-]+$`)

// AppServiceFiles are the registration files of the configuration by their names. The error says that an
// ID is no part of a file name.
func (c *Config) AppServiceFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, a := range c.AppServices {
		if !appServiceID.MatchString(a.ID) {
			return nil, fmt.Errorf("%q cannot name an application service: write lower-case letters, digits and hyphens", a.ID)
		}
		files[a.ID+".yaml"] = a.Registration
	}
	return files, nil
}

// WriteAppServices makes a folder with the registration files of the configuration.
func (c *Config) WriteAppServices(dir string) error {
	files, err := c.AppServiceFiles()
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
