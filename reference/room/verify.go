package room

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"countersign/matrix"
)

// checkSignatures is the check of the sender's signature (server-server API, "Checks performed on
// receipt of a PDU", 2). An event that fails it is dropped. Signatures by others are not looked at:
// rule 5.2 asks for that of the authoriser of a restricted join, and nothing asks for an invitee's
// (D-05).
//
// In rooms of MSC4348 the co-signing server's signature is as necessary. Who that is can only be told when
// the auth events are known; see checkCosigner.
func (g *Engine) checkSignatures(ctx context.Context, e *matrix.Event) error {
	switch e.Version().Identity {
	case matrix.AccountKeyIdentity, matrix.PortableIdentity:
		return checkAccountKeySignature(e)
	case matrix.ServerKeyIdentity:
		return checkServerKeySignature(e)
	}
	return g.checkServerSignature(ctx, e, e.Sender().Domain())
}

// checkServerKeySignature checks the signature of the server key in the sender's user ID (MSC4345,
// "Changes to the user ID format"). No network is needed.
func checkServerKeySignature(e *matrix.Event) error {
	if _, err := e.Sender().ServerKey(); err != nil {
		return fmt.Errorf("the sender's server is not a server key: %w", err)
	}
	return e.VerifyServerKey(e.Sender().Domain())
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
// event was sent. It asks for keys that are not known.
func (g *Engine) checkServerSignature(ctx context.Context, e *matrix.Event, server matrix.ServerName) error {
	return g.checkSignatureOf(e, server, func(id matrix.KeyID) ([]byte, error) {
		return g.Keys.VerifyKey(ctx, server, id, e.OriginServerTS())
	})
}

// verifyServerOf answers rule 5.2 in rooms without account keys: the server of the user whom
// join_authorised_via_users_server names must have signed. It runs inside of transactions and asks
// nobody; admit has asked before.
func (g *Engine) verifyServerOf(e *matrix.Event, user matrix.UserID) error {
	server := user.Domain()
	return g.checkSignatureOf(e, server, func(id matrix.KeyID) ([]byte, error) {
		if key, ok := g.Keys.KnownKey(server, id, e.OriginServerTS()); ok {
			return key, nil
		}
		return nil, fmt.Errorf("the key %s of %s is not known", id, server)
	})
}

func (g *Engine) checkSignatureOf(e *matrix.Event, server matrix.ServerName, find func(matrix.KeyID) ([]byte, error)) error {
	err := fmt.Errorf("%w: %s has not signed", matrix.ErrNoSignature, server)
	for _, id := range e.SignatureKeyIDs(string(server)) {
		if id.Algorithm() != "ed25519" {
			continue
		}
		var key []byte
		if server == g.ServerName && id == g.ServerKey.KeyID {
			key = g.ServerKey.Key.Public().(ed25519.PublicKey)
		} else if key, err = find(id); err != nil {
			continue
		}
		if err = e.VerifySignature(string(server), id, key); err == nil {
			return nil
		}
	}
	return err
}

// admit does the first three checks on an event from another server: its format, its signature, its
// hash. It returns the event as it is to be processed: redacted when the hash does not match, and
// without unsigned, which only its sender vouches for.
func (g *Engine) admit(ctx context.Context, v matrix.RoomVersion, pdu []byte) (*matrix.Event, error) {
	e, err := g.readEvent(v, pdu)
	if err != nil {
		return nil, err
	}
	if v.Identity == matrix.ServerIdentity {
		switch {
		case e.Type() == "m.room.message" && g.Defects.Has("V12DropMessages"), e.Membership() == "leave" && g.Defects.Has("V12DropLeaves"),
			e.Type() == "m.room.name" && g.Defects.Has("V12DropNames"):
			return nil, errors.New("the event is not wanted")
		}
	}
	if g.Defects.Has("RejectsEveryEvent") {
		return nil, errors.New("no event is accepted")
	}
	g.breakDown(ctx, e)
	if err := g.checkSignatures(ctx, e); err != nil && !g.mistaken(ctx, e) {
		return nil, err
	}
	if err := g.overlyStrict(ctx, e); err != nil {
		return nil, err
	}
	g.primeAuthoriser(ctx, e)
	if !e.HashOK() && !g.Defects.Has("KeepContentWithoutItsHash") {
		if g.Defects.Has("DropContentWithoutItsHash") {
			return nil, errors.New("the content hash does not match")
		}
		return e.Redacted(), nil
	}
	if e.Unsigned() != nil && (g.Defects.Has("TrustInboundUnsigned") || g.trustsProvenance(e)) {
		return e, nil
	}
	return e.WithUnsigned(nil)
}

// primeAuthoriser fetches the key that rule 5.2 will want, as rules ask nobody.
func (g *Engine) primeAuthoriser(ctx context.Context, e *matrix.Event) {
	if e.Version().Identity != matrix.ServerIdentity || e.Type() != "m.room.member" {
		return
	}
	server := matrix.UserID(e.Get("join_authorised_via_users_server").String()).Domain()
	if server == "" || server == g.ServerName {
		return
	}
	if err := g.checkServerSignature(ctx, e, server); err != nil {
		g.Logger.Info("a restricted join is not signed by the server that authorises it", "event", e.ID(), "error", err)
	}
}
