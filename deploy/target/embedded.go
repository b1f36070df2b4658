package target

import (
	"context"

	"countersign/deploy"
)

func startEmbedded(context.Context, string, *deploy.CA, deploy.Config) (deploy.ManagedServer, error) {
	return nil, deploy.Startf("the reference homeserver is not part of this program yet; choose exec:COMMAND or docker:IMAGE")
}
