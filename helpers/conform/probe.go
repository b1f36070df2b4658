package conform

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"countersign/deploy"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/report/verdict"
)

// probe asks every homeserver of a deployment what it is and which room versions it offers, all at
// once. The error names the homeserver, and the request that it did not answer as the
// specification says.
func probe(ctx context.Context, deployment deploy.Deployment) (map[string]verdict.Fact, error) {
	servers := deployment.Servers()
	found := make([]verdict.Fact, len(servers))
	group, ctx := errgroup.WithContext(ctx)
	for i, server := range servers {
		group.Go(func() (err error) {
			found[i], err = probeServer(ctx, deployment, server)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	facts := make(map[string]verdict.Fact, len(servers))
	for _, fact := range found {
		facts[fact.Server] = fact
	}
	return facts, nil
}

func probeServer(ctx context.Context, deployment deploy.Deployment, server deploy.Server) (verdict.Fact, error) {
	origin := server.Origin()
	fact := verdict.Fact{
		Server: server.Alias(), Target: origin.Target, Digest: origin.Digest, ServerName: server.Name(),
		RoomVersions: map[string]string{},
	}
	client := csapi.NewNamed("probe", server)
	defer client.Close()
	if err := client.RegisterAccount(ctx, "probe-"+strings.ToLower(rand.Text()), rand.Text()); err != nil {
		return fact, fmt.Errorf("%s cannot be tested, because no account can be made on it: %w", server.Alias(), err)
	}
	r, err := client.Do(ctx, http.MethodGet, csapi.Path("v3", "capabilities"))
	if err == nil && !r.OK() {
		err = fmt.Errorf("expected status 200 and a JSON body, got:\n%s", r)
	}
	if err != nil {
		return fact, fmt.Errorf("%s cannot be tested, because it does not say what it is capable of: %w", server.Alias(), err)
	}
	// A dot in a room version is part of its name here, so the map is walked and not queried.
	for version, stability := range r.Get(`capabilities.m\.room_versions.available`).Map() {
		fact.RoomVersions[version] = stability.String()
	}
	fact.Name, fact.Version = implementation(ctx, deployment, server)
	return fact, nil
}

// implementation asks for the name and the version of the software over federation. Both are
// empty when it does not say: that is its right, and the report then goes without.
func implementation(ctx context.Context, deployment deploy.Deployment, server deploy.Server) (name, version string) {
	ctx, cancel := context.WithTimeout(ctx, wait.Limit())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server.Name()+"/_matrix/federation/v1/version", nil)
	if err != nil {
		return "", ""
	}
	response, err := deployment.Transport().RoundTrip(request)
	if err != nil {
		return "", ""
	}
	defer response.Body.Close()
	var answer struct {
		Server struct{ Name, Version string }
	}
	if json.NewDecoder(io.LimitReader(response.Body, 64<<10)).Decode(&answer) != nil {
		return "", ""
	}
	return answer.Server.Name, answer.Server.Version
}
