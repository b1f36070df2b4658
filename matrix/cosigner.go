package matrix

import (
	"errors"
	"fmt"
)

// EventFinder returns the event with an ID, or nil when it is not known. It must be safe for concurrent
// use where the caller is.
type EventFinder func(id string) *Event

// ErrNoCosigner is wrapped by the errors of events that name no co-signing server, or more than one.
var ErrNoCosigner = errors.New("the event names no co-signing server")

// Cosigner is the server that must have co-signed an event in a room whose version follows MSC4348, as
// the text of its key. D-55: the proposal has no field that names it, and a signature cannot, because
// signatures are not part of the event ID. It is the server whose participation event is among the
// auth_events, exactly one; so it is the same for everybody who has the event.
//
// Participation events also cite their subject's participation, and requests that of the server which
// authorises them. D-53: a request, and any participation event that cites nobody else's participation,
// is co-signed by its subject; another is co-signed by the one other server that it cites.
//
// find must know the events in e.AuthEvents; those in other places of the state do not matter. The error
// wraps ErrNoCosigner. A create event names no server; the first participation of its sender's does.
func (e *Event) Cosigner(find EventFinder) (ServerName, error) {
	subject := ServerName("")
	if e.IsParticipation() {
		subject = ServerName(e.stateKey)
		if e.Participation() == Requested {
			return subject, nil
		}
	}
	cosigner := subject
	found := false
	for _, id := range e.auth {
		cited := find(id)
		if cited == nil {
			return "", fmt.Errorf("%w: the auth event %s is not known", ErrNoCosigner, id)
		}
		if !cited.IsParticipation() || subject != "" && cited.stateKey == string(subject) {
			continue
		}
		if found {
			return "", fmt.Errorf("%w: it cites the participations of several", ErrNoCosigner)
		}
		cosigner, found = ServerName(cited.stateKey), true
	}
	if cosigner == "" {
		return "", fmt.Errorf("%w: it cites no participation", ErrNoCosigner)
	}
	return cosigner, nil
}

// VerifySender checks the signatures without which a server drops an event: the account key's of the
// sender in rooms of MSC4243, the server key's of the sender in rooms of MSC4345, and in rooms of MSC4348
// the sender's account key's and the co-signing server's (Cosigner). A create event of MSC4348 names no
// server, so that only its sender's signature is checked; who accepts its server's first participation
// checks the other.
//
// Signatures of others are not looked at. It fails for room version 12, whose keys must be fetched. find
// is used for MSC4348 only. The error wraps ErrNoSignature, ErrBadSignature or ErrNoCosigner.
func (e *Event) VerifySender(find EventFinder) error {
	switch e.version.Identity {
	case AccountKeyIdentity:
		return e.VerifyAccountKey(e.sender)
	case ServerKeyIdentity:
		return e.VerifyServerKey(e.sender.Domain())
	case PortableIdentity:
		return e.verifyPortable(find)
	}
	return fmt.Errorf("%w: the keys of room version %q must be fetched from the sender's server", ErrNoSignature, e.version.ID)
}

func (e *Event) verifyPortable(find EventFinder) error {
	if err := e.VerifyAccountKey(e.sender); err != nil {
		return err
	}
	if e.IsCreate() {
		return nil
	}
	server, err := e.Cosigner(find)
	if err != nil {
		return err
	}
	return e.VerifyServerKey(server)
}
