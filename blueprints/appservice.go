package blueprints

import (
	"testing"

	"countersign/deploy"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Bridged is a public room that alice made and fay joined, on a homeserver of its own with which an
// application service is registered. The application service is interested in users whose account name
// user IDs begin with "@bridge_"; nobody like that is in the room yet.
func Bridged(t testing.TB, v matrix.RoomVersion) (*Room, *AppService) {
	t.Helper()
	shared := conform.Deployment(t)
	service, err := fakeserver.StartAppService(shared.PeerHost(), shared.PeerListenAddr())
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Logf("closing an application service: %v", err)
		}
	})
	registration, err := service.Registration("@bridge_.*")
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	deployment := conform.FreshDeployment(t, 1, deploy.AppService{ID: service.ID(), Registration: registration})
	r := HostedOn(t, NewSceneOn(t, deployment), v)
	r.FayJoins(t)
	return r, &AppService{service}
}

// AppService is an application service in a test.
type AppService struct{ *fakeserver.AppService }

// Await waits until the application service has been told of an event. The error says that it was not.
func (a *AppService) Await(t testing.TB, eventID string) error {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	return a.Wait(ctx, eventID)
}

// MustHear waits until the application service has been told of an event that concerns it in any case.
// The test is skipped when it never is: a homeserver need not know application services, or that they are
// registered as Complement's image contract says.
func (a *AppService) MustHear(t testing.TB, eventID string) {
	t.Helper()
	if err := a.Await(t, eventID); err != nil {
		conform.Skip(t, "the homeserver does not tell application services of events, or does not find their registrations: %v", err)
	}
}
