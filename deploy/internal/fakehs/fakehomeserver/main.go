// Command fakehomeserver is the fake homeserver under Complement's image contract. Its argument is
// the behaviour.
package main

import (
	"fmt"
	"net/http"
	"os"

	"countersign/deploy"
	"countersign/deploy/internal/fakehs"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "healthcheck" {
		os.Exit(healthcheck())
	}
	behaviour := os.Args[len(os.Args)-1]
	const data = "/data"
	if err := os.MkdirAll(data, 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(fakehs.Run(behaviour, deploy.ServerEnv{
		ServerName: os.Getenv("SERVER_NAME"), ClientAddr: ":8008", FederationAddr: ":8448", DataDir: data,
		CACert: "/complement/ca/ca.crt", CAKey: "/complement/ca/ca.key",
	}))
}

func healthcheck() int {
	resp, err := http.Get("http://127.0.0.1:8008/_matrix/client/versions")
	if err != nil || resp.StatusCode != http.StatusOK {
		fmt.Println("no versions:", err)
		return 1
	}
	return 0
}
