package room

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/account"
)

// The mistakes that a homeserver can make with what becomes of an event that was checked.

// overlyStrict refuses events that are as they should be.
func (g *Engine) overlyStrict(ctx context.Context, e *matrix.Event) error {
	if g.Defects.None() {
		return nil
	}
	if e.Version().Identity != matrix.AccountKeyIdentity {
		return g.overlyStrictOfParticipants(ctx, e)
	}
	if err := g.refusedElsewhere(e); err != nil {
		return err
	}
	age := g.Clock().Sub(time.UnixMilli(e.OriginServerTS())).Abs()
	switch {
	case age > 7*24*time.Hour && g.Defects.Has("RefuseOldEvents"):
		return errors.New("the key of the sender was not valid at the time of the event")
	case len(e.SignatureKeyIDs(e.Sender().Localpart())) > 1 && g.Defects.Has("RefuseOtherKeyIDs"):
		return errors.New("there is a signature that cannot be checked")
	case len(e.SignatureEntities()) > 1 && e.Type() != "m.room.member" && g.Defects.Has("RefuseForeignSignatures"):
		return errors.New("there is a signature by somebody else")
	case g.Defects.Has("AskForServerKeys"):
		_, err := g.Keys.VerifyKey(ctx, e.Sender().Domain(), matrix.AccountKeyID, e.OriginServerTS())
		g.Logger.Debug("the keys of a server were asked for", "error", err)
	}
	return nil
}

// isUnverified reports whether nobody has confirmed the sender of an event.
func (g *Engine) isUnverified(e *matrix.Event) bool {
	return e.Version().Identity == matrix.AccountKeyIdentity && g.Directory.Lookup(e.Sender()).State == account.Unverified
}

// acceptsEverything reports whether an event that is to be refused is accepted all the same. A server that
// crashes on such events does so now.
func (g *Engine) acceptsEverything() bool {
	if g.Defects.Has("CrashesOnAForgery") && g.Crash != nil {
		g.Crash()
	}
	return g.Defects.Has("AcceptsEveryEvent")
}

// neglects reports whether an event is not built upon because its sender is unverified.
func (g *Engine) neglects(e *matrix.Event) bool {
	return g.isUnverified(e) && g.Defects.Has("DoNotBuildOnUnverifiedUsers")
}

// mistakenRefusal is what a mutant makes of the check of an event against the current state. It looks
// accounts up, and is no part of a transaction.
func (g *Engine) mistakenRefusal(e *matrix.Event, refusal error) error {
	switch {
	case refusal == nil && g.isUnverified(e) && g.Defects.Has("SoftFailUnverifiedUsers"):
		return errors.New("the sender is unverified")
	case refusal == nil:
		return nil
	case g.acceptsEverything() || g.Defects.Has("NeverSoftFail") || g.takesLate(refusal),
		g.isUnverified(e) && g.Defects.Has("NeverSoftFailUnverifiedUsers"):
		return nil
	}
	return refusal
}

// oldest is the state that was stored first.
func oldest(states []State) State {
	return slices.MinFunc(states, func(a, b State) int { return cmp.Compare(a.group-1, b.group-1) }) // 0 is not stored yet
}
