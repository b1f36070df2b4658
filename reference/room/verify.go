package room

import (
	"context"
	"fmt"
	"time"

	"countersign/matrix"
)

// verifyTimeout bounds how long the key of a server is waited for when a rule asks for a signature.
const verifyTimeout = 10 * time.Second

// checkSignatures is the check of the sender's signature (server-server API, "Checks performed on
// receipt of a PDU", 2). An event that fails it is dropped. Signatures by others are not looked at:
// rule 5.2 asks for that of the authoriser of a restricted join, and nothing asks for an invitee's
// (D-05).
func (g *Engine) checkSignatures(ctx context.Context, e *matrix.Event) error {
	if e.Version().HasAccountKeys() {
		return checkAccountKeySignature(e)
	}
	return g.checkServerSignature(ctx, e, e.Sender().Domain())
}

// checkAccountKeySignature checks the signature of the account key in the sender's localpart (MSC4243,
// "Proposal"). The localpart must be the one spelling of the key (D-08), and no network is needed.
func checkAccountKeySignature(e *matrix.Event) error {
	if _, err := e.Sender().AccountKey(); err != nil {
		return fmt.Errorf("the sender is not an account key user ID: %w", err)
	}
	return e.VerifyAccountKey(e.Sender())
}

// checkServerSignature checks that a server has signed, with any of its keys that was valid when the
// event was sent.
func (g *Engine) checkServerSignature(ctx context.Context, e *matrix.Event, server matrix.ServerName) error {
	err := fmt.Errorf("%w: %s has not signed", matrix.ErrNoSignature, server)
	for _, id := range e.SignatureKeyIDs(string(server)) {
		if id.Algorithm() != "ed25519" {
			continue
		}
		var key []byte
		if server == g.ServerName && id == g.ServerKey.KeyID {
			key = g.ServerKey.Key[32:]
		} else if key, err = g.Keys.VerifyKey(ctx, server, id, e.OriginServerTS()); err != nil {
			continue
		}
		if err = e.VerifySignature(string(server), id, key); err == nil {
			return nil
		}
	}
	return err
}

// verifyServerOf answers rule 5.2 in rooms without account keys: the server of the user whom
// join_authorised_via_users_server names must have signed.
func (g *Engine) verifyServerOf(e *matrix.Event, user matrix.UserID) error {
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	return g.checkServerSignature(ctx, e, user.Domain())
}

// admit does the first three checks on an event from another server: its format, its signature, its
// hash. It returns the event as it is to be processed: redacted when the hash does not match, and
// without unsigned, which only its sender vouches for.
func (g *Engine) admit(ctx context.Context, v matrix.RoomVersion, pdu []byte) (*matrix.Event, error) {
	e, err := matrix.ParseEvent(v, pdu)
	if err != nil {
		return nil, err
	}
	if err := g.checkSignatures(ctx, e); err != nil {
		return nil, err
	}
	if !e.HashOK() {
		return e.Redacted(), nil
	}
	return e.WithUnsigned(nil)
}
