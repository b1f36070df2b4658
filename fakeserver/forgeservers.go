package fakeserver

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// Party is a server key that a forgery can name, in rooms with participation.
type Party int

// The server keys that a forgery can name. Whose they are says the cast; a forgery that names one which the
// cast lacks is an error.
const (
	// Nobody is the zero Party: the honest server.
	Nobody Party = iota
	// OtherServer is the key of another accepted server; see Cast.OtherServer.
	OtherServer
	// RequestedServer is the key of a server that has requested, and was not accepted; see
	// Cast.RequestedServer.
	RequestedServer
	// RevokedServer is the key of a server that was revoked; see Cast.RevokedServer.
	RevokedServer
	// UnknownServer is a key of which the room has never heard; see Cast.UnknownServer.
	UnknownServer
	// ForeignServer is the key of a server that is accepted in another room, and unknown in this one; see
	// Cast.ForeignServer.
	ForeignServer
	// SubjectServer is the key that a participation event is about, if the sender's server holds it.
	SubjectServer
	// AccountAsServer is the sender's account key in the role of a server key.
	AccountAsServer
	// DomainKey is the key by which the sender's server signs requests and, in rooms without server keys,
	// events.
	DomainKey
)

// String is the template of the party's key.
func (p Party) String() string {
	return [...]string{"the honest server", "{other-server}", "{requested-server}", "{revoked-server}", "{unknown-server}",
		"{foreign-server}", "{subject}", "the sender's account as a server", "the domain's key"}[p]
}

// CoSignature is a deviation of the signature that a server adds to an event of somebody else. The zero
// value is honest.
type CoSignature struct {
	// Omit leaves the signature out.
	Omit bool
	// With makes the signature with another key, filed as if the honest server had made it.
	With Party
	// By replaces the signature by an honest one of another server, filed under that server's own name;
	// the event goes on naming the honest one.
	By Party
	// Entity and KeyID replace the names that the signature is filed under.
	Entity, KeyID string
	// JSON replaces the value by JSON text.
	JSON string
	// Encoding spells the signature in another way than unpadded standard base64.
	Encoding Encoding
	// FlipBits inverts bits of the signature.
	FlipBits []int
	// Second puts a second value under the key ID.
	Second Second
	// Also adds an honest signature of another server, which nothing names.
	Also Party
}

// Citation chooses which participations an event cites in auth_events.
type Citation int

// What an event can cite in place of the participation of the server that sends it.
const (
	// CurrentParticipation is what the room's state says of the server.
	CurrentParticipation Citation = iota
	// NoParticipation leaves it out.
	NoParticipation
	// StaleParticipation is the latest event that accepted the server, which the state has replaced.
	StaleParticipation
	// RequestOnly is the latest request of the server, which the state has replaced.
	RequestOnly
	// MadeUpParticipation is an acceptance that was never sent: the server has signed it for itself. The room
	// serves it when it is asked for.
	MadeUpParticipation
	// OthersParticipation is that of Cast.OtherServer instead.
	OthersParticipation
	// BothParticipations is that of Cast.OtherServer as well.
	BothParticipations
)

// aboutServers reports whether a forgery deviates in what only rooms with participation have.
func (f Forgery) aboutServers() bool {
	return f.Through != Nobody || f.Subject != "" || f.AuthorisedBy != Nobody || f.Cite != CurrentParticipation ||
		f.SignWithServer != Nobody || f.RecosignedBy != Nobody || f.CoSignature.asked() || f.Authorisation.asked()
}

// party is the key of a party.
func (b *builder) party(p Party) (matrix.ServerKeyPair, error) {
	var pair matrix.ServerKeyPair
	switch p {
	case Nobody:
		pair = b.ServerKey
	case OtherServer:
		pair = b.Cast.OtherServer
	case RequestedServer:
		pair = b.Cast.RequestedServer
	case RevokedServer:
		pair = b.Cast.RevokedServer
	case UnknownServer:
		pair = b.Cast.UnknownServer
	case ForeignServer:
		pair = b.Cast.ForeignServer
	case SubjectServer:
		if b.ProtoEvent.StateKey != nil {
			pair, _ = b.Author.server.heldKey(matrix.ServerName(*b.ProtoEvent.StateKey))
		}
	case AccountAsServer:
		pair = matrix.ServerKeyPairFromSeed(b.Author.account.Seed())
	case DomainKey:
		pair = matrix.ServerKeyPairFromSeed(b.Author.server.signer.Key.Seed())
	}
	if !isKey(pair) {
		return pair, fmt.Errorf("the cast has no %s", p)
	}
	return pair, nil
}

// role changes who sends the event, and through which server.
func (b *builder) role() error {
	if b.ByOther {
		if b.Cast.Other == nil {
			return errors.New("the cast has no other to send the event")
		}
		b.Author = b.Cast.Other
		b.become(b.Author.IDThrough(b.Version, b.ServerKey))
	}
	if b.Through != Nobody {
		pair, err := b.party(b.Through)
		if err != nil {
			return err
		}
		b.ServerKey = pair
		b.become(b.Author.IDThrough(b.Version, pair))
	}
	if b.AuthorisedBy != Nobody {
		pair, err := b.party(b.AuthorisedBy)
		if err != nil {
			return err
		}
		b.Authorising = pair
		b.Edits = append([]Edit{{"content.request_authorised_via_server", quoted(pair.Key().String())}}, b.Edits...)
	}
	if b.Subject != "" {
		return b.resubject()
	}
	return nil
}

// resubject has a participation event of its subject be about, and sent through, a key of another text.
func (b *builder) resubject() error {
	text, err := b.names.expand(b.Subject)
	if err != nil {
		return err
	}
	if b.Version.Identity == matrix.ServerKeyIdentity {
		b.ProtoEvent.Sender = matrix.UserID("@" + b.Author.name + ":" + text)
	}
	b.ProtoEvent.StateKey = &text
	b.subject = text
	return nil
}

// serverEntity is the name under which the sending server's signature is filed.
func (b *builder) serverEntity() string {
	if b.subject != "" {
		return b.subject
	}
	return b.ServerKey.Key().String()
}

// countersign makes the signatures of servers over an event of somebody else: of the server that sends it,
// in rooms of MSC4348, and of the one that authorises a request.
func (b *builder) countersign(message []byte) ([]filed, error) {
	cosigned := b.Version.HasPortableAccounts() && !b.SignWithServerKeyOnly && b.received == nil
	authorised := isKey(b.Authorising)
	switch {
	case b.CoSignature.asked() && !cosigned:
		return nil, errors.New("the forgery is about the co-signing server's signature, and the event has none")
	case b.Authorisation.asked() && !authorised:
		return nil, errors.New("the forgery is about the authorising server's signature, and the event has none")
	}
	var all []filed
	if cosigned {
		files, err := b.serverSignature(message, b.CoSignature, b.ServerKey, b.serverEntity())
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	if authorised {
		files, err := b.serverSignature(message, b.Authorisation, b.Authorising, b.Authorising.Key().String())
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// asked reports whether a deviation is one.
func (c CoSignature) asked() bool {
	return c.Omit || c.With != Nobody || c.By != Nobody || c.Entity != "" || c.KeyID != "" || c.JSON != "" ||
		c.Encoding != StandardBase64 || len(c.FlipBits) > 0 || c.Second != OnlyOne || c.Also != Nobody
}

func (b *builder) serverSignature(message []byte, c CoSignature, pair matrix.ServerKeyPair, entity string) (all []filed, err error) {
	signer := pair.Signer()
	signer.Entity = entity
	if c.With != Nobody {
		other, err := b.party(c.With)
		if err != nil {
			return nil, err
		}
		signer.Key = other.Signer().Key
	}
	if c.By != Nobody {
		other, err := b.party(c.By)
		if err != nil {
			return nil, err
		}
		signer = other.Signer()
	}
	if !c.Omit {
		how := spelling{
			entity: c.Entity, keyID: c.KeyID, json: c.JSON, encoding: c.Encoding, flip: c.FlipBits, second: c.Second,
		}
		f, err := how.file(b.names, signer.Entity, signer.KeyID, ed25519.Sign(signer.Key, message))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if c.Also != Nobody {
		other, err := b.party(c.Also)
		if err != nil {
			return nil, err
		}
		signer := other.Signer()
		f, err := spelling{}.file(b.names, signer.Entity, signer.KeyID, ed25519.Sign(signer.Key, message))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// resign has a server sign the finished event anew, after it was changed.
func (b *builder) resign(event []byte) ([]byte, error) {
	pair, err := b.party(b.RecosignedBy)
	if err != nil {
		return nil, err
	}
	signer := pair.Signer()
	message, err := b.Version.EventSigningBytes(event)
	if err != nil {
		return nil, err
	}
	return matrix.PutSignature(event, signer.Entity, signer.KeyID, matrix.EncodeBase64(ed25519.Sign(signer.Key, message)))
}

// CoSignedBy is the event, under the ID that it has, with the signature of its sender's account and those
// of some servers in place of all that it had: a second copy, whose co-signer is another. Signatures are no
// part of the event ID (MSC4348; D-55).
func (f Forged) CoSignedBy(servers ...matrix.ServerKeyPair) (Forged, error) {
	event, err := f.Event()
	if err != nil {
		return f, fmt.Errorf("co-signing %s anew: %w", f.EventID, err)
	}
	account := string(event.Sender().Localpart())
	var kept []filed
	gjson.GetBytes(f.PDU, "signatures").ForEach(func(entity, keys gjson.Result) bool {
		keys.ForEach(func(keyID, value gjson.Result) bool {
			if entity.String() == account {
				kept = append(kept, filed{account, keyID.String(), []string{value.Raw}})
			}
			return true
		})
		return true
	})
	for _, pair := range servers {
		signer := pair.Signer()
		kept = append(kept, filed{signer.Entity, string(signer.KeyID), []string{
			quoted(matrix.EncodeBase64(ed25519.Sign(signer.Key, event.SigningBytes())))}})
	}
	f.PDU, err = applyEdits(f.PDU, []Edit{{"signatures", writeSignatures(kept)}}, nil)
	if err != nil {
		return f, fmt.Errorf("co-signing %s anew: %w", f.EventID, err)
	}
	if f.PDU, err = matrix.CanonicalJSON(f.PDU); err != nil {
		return f, fmt.Errorf("co-signing %s anew: %w", f.EventID, err)
	}
	return f, nil
}

// AsForged is an honest event as a forgery is: ready for a [DeliveryPath], or for [Forged.CoSignedBy].
func AsForged(e *matrix.Event) Forged { return forgedOf(e) }
