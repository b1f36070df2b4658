package blueprints

import (
	"strings"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// claim is what is known of a server key: at which domain it says it can be reached, and whether that
// domain's server holds it.
type claim struct {
	domain matrix.ServerName
	// sut: the key is one of a homeserver under test, for all that is known: it names the homeserver's
	// domain, and no fake server holds it.
	sut bool
	// disowned: the domain is that of a fake server, which does not hold the key, or may have said so; or that of a
	// homeserver under test, and a fake server holds the key.
	disowned bool
}

// learnClaims remembers which domains the server keys of rooms with participation name. A fake server
// names its own domain in honest requests; what it names in others is not to be believed.
func (k *knowledge) learnClaims(peers []*Peer) {
	held := map[matrix.ServerName]map[matrix.ServerName]bool{} // server keys by fake server
	anywhere := map[matrix.ServerName]bool{}
	for _, peer := range peers {
		keys := map[matrix.ServerName]bool{}
		for _, pair := range peer.ServerKeys() {
			keys[pair.Key().Name()], anywhere[pair.Key().Name()] = true, true
		}
		held[peer.Name()] = keys
	}
	for _, e := range k.events {
		domain, ok := e.UnverifiedDomain()
		if !ok || !e.IsParticipation() {
			continue
		}
		key := matrix.ServerName(e.Tuple().StateKey)
		keys, fake := held[domain]
		k.claims[key] = append(k.claims[key], claim{
			domain: domain, sut: k.homeservers[domain] && !anywhere[key], disowned: fake && !keys[key] || k.homeservers[domain] && anywhere[key],
		})
	}
}

// ofServer reports whether a server key is one of a homeserver under test.
func (k *knowledge) ofServer(key matrix.ServerName) bool {
	for _, c := range k.claims[key] {
		if c.sut {
			return true
		}
	}
	return false
}

// participating judges an event of a room with participation that a homeserver under test sent to a fake
// server and that one of its own users is said to have sent: the keys that must sign have signed it, and
// users are named as the room version has it (MSC4345, "Changes to the user ID format"; MSC4348,
// "Proposal").
func (c *pduCheck) participating(version matrix.RoomVersion) {
	known := func(id string) *matrix.Event { return c.k.events[id] }
	const named = "users are identified as the room version has it in "
	form, signed := "MSC4345-RV-03", "MSC4345-RV-04"
	if version.HasPortableAccounts() {
		form, signed = "MSC4348-ID-01", "MSC4348-ID-03"
	}
	e, err := matrix.ParseEvent(version, c.p.Raw)
	if err != nil {
		if c.k.homeservers[c.sender.Domain()] {
			c.depart(form, named+"sender", string(c.sender))
		}
		return
	}
	server := e.Sender().Domain()
	if version.HasPortableAccounts() {
		if server, err = e.Cosigner(known); err != nil {
			return // whose event it is cannot be told
		}
	}
	if !c.k.ofServer(server) || c.p.Via == fakeserver.OpInvite {
		return // D-39: an invitation may still lack the user ID of who is invited, and so its signatures
	}
	for field, id := range Identified(c.p.Raw) {
		if _, err := version.ParseUserID(string(id)); err != nil {
			c.depart(form, named+field, string(id))
		}
	}
	if err := e.VerifySender(known); err != nil {
		c.depart(signed, "an event that the keys of its sender have signed", err.Error())
	}
	for _, entity := range e.SignatureEntities() {
		if c.k.homeservers[matrix.ServerName(entity)] || strings.HasPrefix(entity, "@") {
			c.depart(signed, "signatures filed under nothing but keys", "a signature by "+entity)
		}
	}
}

// serverDomain judges unsigned.server_domain of an event that a client was shown: it is there only when
// the domain has confirmed the key, and is never what another server wrote (MSC4345, "Impositions on Client
// UI"). In rooms of MSC4348 it is that of the server that has co-signed the event.
func (w *walk) serverDomain(version matrix.RoomVersion, event gjson.Result) {
	shown := event.Get("unsigned.server_domain")
	if !shown.Exists() {
		return
	}
	requirement, server := "MSC4345-KEYQ-05", matrix.UserID(event.Get("sender").Str).Domain()
	if version.HasPortableAccounts() {
		requirement, server = "MSC4348-ACCT-05", w.k.cosigner(event.Get("event_id").Str)
	}
	claims := w.k.claims[server]
	if len(claims) == 0 {
		return // the sender is given in another form (D-45), or the key is unknown here
	}
	for _, c := range claims {
		if string(c.domain) == shown.Str && !c.disowned {
			return
		}
	}
	w.depart(requirement, "unsigned.server_domain is there only for servers whose domain has confirmed their key",
		"%s by %s has %s", event.Get("event_id").Str, event.Get("sender").Str, shown.Raw)
}

// cosigner is the server that an event of a room of MSC4348 was sent through (D-55); empty when the event, or what
// it cites, is not known.
func (k *knowledge) cosigner(eventID string) matrix.ServerName {
	e := k.events[eventID]
	if e == nil || e.IsCreate() {
		return ""
	}
	server, err := e.Cosigner(func(id string) *matrix.Event { return k.events[id] })
	if err != nil {
		return ""
	}
	return server
}
