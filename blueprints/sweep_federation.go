package blueprints

import (
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// learnPeer remembers a fake server's users, the events that it was sent, and those of its own copies
// of the rooms that are known so far.
func (k *knowledge) learnPeer(server *fakeserver.Server) {
	for _, user := range server.Users() {
		k.names[user.NameID()] = true
		k.forgers[user.Key()] = true
	}
	for _, pdu := range server.PDUs() {
		k.learnEvent(pdu.Event)
		k.learnRoom(pdu.Get("room_id").Str, pdu.Version.ID)
	}
	for id := range k.versions {
		if room := server.Room(id); room != nil {
			for _, e := range slices.Concat(room.FullState(), room.Timeline()) {
				k.learnEvent(e)
			}
		}
	}
}

// sweepPDU judges an event that a homeserver under test sent to a fake server and that one of its own
// users is said to have sent. In a room with account keys the sender's account key must have signed
// it, the server's key must not have, and nobody may be identified by an account name (MSC4243,
// "Proposal"). In other rooms nobody may be identified by an account key.
func (k *knowledge) sweepPDU(p fakeserver.PDU) []departure {
	version := p.Version
	if version.ID == "" {
		version = k.versions[p.Get("room_id").Str]
	}
	sender := matrix.UserID(p.Get("sender").Str)
	if version.HasParticipation() {
		c := &pduCheck{k: k, p: p, sender: sender}
		c.participating(version)
		return c.found
	}
	if version.ID == "" || !k.homeservers[sender.Domain()] || k.forgers[sender.Localpart()] {
		return nil
	}
	c := &pduCheck{k: k, p: p, sender: sender}
	if version.HasAccountKeys() {
		c.accountKeys(version)
	} else {
		c.serverKeys()
	}
	return c.found
}

// pduCheck is the check of one event.
type pduCheck struct {
	k      *knowledge
	p      fakeserver.PDU
	sender matrix.UserID
	found  []departure
}

func (c *pduCheck) depart(requirement, expected, observed string) {
	observed += " in an event that came by " + string(c.p.Via) + ": " + string(c.p.Raw)
	c.found = append(c.found, departure{requirement, expected, observed})
}

func (c *pduCheck) accountKeys(version matrix.RoomVersion) {
	// The request of an invite or a ban names its target by the account name, because the key is
	// not known yet, and is signed when the target's server has replaced it.
	request := c.unfinished()
	for field, id := range Identified(c.p.Raw) {
		if request && field == "state_key" {
			continue
		}
		if _, err := id.AccountKey(); err != nil {
			c.depart("MSC4243-ID-03", "users are identified by account keys in "+field, string(id))
		}
	}
	for _, told := range SenderAccounts(c.p.Raw) {
		c.depart("MSC4243-CS-35", "no sender_account in what other servers are sent", told)
	}
	if request {
		return
	}
	e, err := matrix.ParseEvent(version, c.p.Raw)
	if err != nil {
		c.depart("MSC4243-SIG-01", "an event that the sender's account key has signed", err.Error())
		return
	}
	if err := e.VerifyAccountKey(e.Sender()); err != nil {
		c.depart("MSC4243-SIG-01", "an event that the sender's account key has signed", err.Error())
	}
	for _, entity := range e.SignatureEntities() {
		switch {
		case c.k.homeservers[matrix.ServerName(entity)]:
			c.depart("MSC4243-SIG-02", "no signature by a server's key", "a signature by "+entity)
		case strings.HasPrefix(entity, "@"), c.k.names[matrix.UserID("@"+entity+":"+string(c.sender.Domain()))]:
			c.depart("MSC4243-ID-06", "signatures by account keys, named by nothing but the key", "a signature by "+entity)
		}
	}
}

func (c *pduCheck) serverKeys() {
	const expected = "account name user IDs and signatures by servers in rooms without account keys"
	for field, id := range Identified(c.p.Raw) {
		if _, err := id.AccountKey(); err == nil && !c.k.names[id] {
			c.depart("MSC4243-RV-02", expected, field+" "+string(id))
		}
	}
	signed := c.unfinished() // an invite's request is signed as its version asks, and not judged here
	c.p.Get("signatures").ForEach(func(entity, _ gjson.Result) bool {
		signed = signed || entity.Str == string(c.sender.Domain())
		if isAccountKey(entity.Str) {
			c.depart("MSC4243-RV-02", expected, "a signature by "+entity.Str)
		}
		return true
	})
	if !signed {
		c.depart("MSC4243-RV-02", expected, "no signature by "+string(c.sender.Domain()))
	}
}

// unfinished reports whether the event is the request of an invite or of a ban, which is still to be
// signed by the other side.
func (c *pduCheck) unfinished() bool {
	return c.p.Event == nil && (c.p.Via == fakeserver.OpInvite || c.p.Via == fakeserver.OpBan)
}

// Identified yields the user IDs by which the rules of a room identify users in an event, each with
// the name of the property that it was found in: the sender, a state key that is a user ID, and those
// in the content of power levels, create and membership events. The event need not be a valid one.
func Identified(pdu []byte) iter.Seq2[string, matrix.UserID] {
	event := gjson.ParseBytes(pdu)
	eventType := event.Get("type").Str
	return func(yield func(string, matrix.UserID) bool) {
		if !yield("sender", matrix.UserID(event.Get("sender").Str)) {
			return
		}
		if key := event.Get("state_key").Str; strings.HasPrefix(key, "@") {
			_, err := matrix.ParseUserID(key)
			if (err == nil || eventType == "m.room.member") && !yield("state_key", matrix.UserID(key)) {
				return
			}
		}
		for _, id := range identities(eventType, event.Get("content")) {
			if !yield("content", matrix.UserID(id)) {
				return
			}
		}
	}
}

// SenderAccounts are what an event that a server was sent says in unsigned.sender_account.
func SenderAccounts(pdu []byte) (told []string) {
	if account := gjson.GetBytes(pdu, "unsigned.sender_account"); account.Exists() {
		told = append(told, account.Raw)
	}
	return told
}
