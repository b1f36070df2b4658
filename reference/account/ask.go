package account

import (
	"context"

	"countersign/matrix"
)

// Verify asks the domains of those keys that are unverified, in batches, and returns when they have
// answered, or have failed, or when ctx ends. Domains that are left alone for now are not asked.
func (d *Directory) Verify(ctx context.Context, users ...matrix.UserID) {}
