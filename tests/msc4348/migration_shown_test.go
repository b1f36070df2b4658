package msc4348

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// shownLater is an event as a client is shown it when a homeserver has verified the server's domain and the
// account's name, or, when it never has, as it is shown at last. When they are verified is the homeserver's own
// affair.
func shownLater(t testing.TB, r *blueprints.Room, eventID string) (event gjson.Result) {
	t.Helper()
	err := wait.Until(wait.Context(t), wait.Limit(), "the domain and the name to be verified", func(context.Context) (bool, error) {
		event = r.Alice.Event(conform.Setup(t), r.ID, eventID).MustOK(conform.Setup(t))
		return event.Get("unsigned.server_domain").Exists() && event.Get("unsigned.account").Exists(), nil
	})
	if err != nil {
		t.Log(err) // the event shows what is missing
	}
	return event
}

// MSC4345, "Impositions on Client UI"; MSC4348, "Obtaining account and profile information as a client": after a
// move clients are shown the same user, at the domain of the server that has co-signed.
func TestMigration_ClientsSeeTheNewDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-14", "MSC4348-ACCT-05")
	conform.Scenario(t, "Clients see that a user has moved")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	before := m.Say(t, mia.User, fakeserver.Message("before").Through(mia.From))
	m.MustSee(conform.Setup(t), before)
	for _, site := range m.Sites {
		if domain := shownLater(t, site, before.ID()).Get("unsigned.server_domain").Str; domain != string(m.Old.Name()) {
			conform.Violation(t, "MSC4348-ACCT-05", "before the move server_domain is "+string(m.Old.Name()), site.HS.Alias()+" shows "+domain)
		}
	}
	m.Join(t, mia, mia.To)
	after := m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To))
	m.Fence(t)
	for _, site := range m.Sites {
		event := shownLater(t, site, after.ID())
		if sender := event.Get("sender").Str; sender != string(mia.ID) && sender != string(mia.NameID()) {
			conform.Violation(t, "MSC4348-MIG-14", "the same user as before", site.HS.Alias()+" shows the sender "+sender)
		}
		if domain := event.Get("unsigned.server_domain").Str; domain != string(m.New.Name()) {
			conform.Violation(t, "MSC4348-ACCT-05", "after the move server_domain is "+string(m.New.Name()), site.HS.Alias()+" shows "+event.Get("unsigned").Raw)
		}
		old := shownLater(t, site, before.ID()).Get("unsigned.server_domain")
		conform.Info(t, "MSC4348-MIG-14", fmt.Sprintf("%s shows of an event from before the move the %s domain", site.HS.Alias(),
			map[string]string{string(m.Old.Name()): "old", string(m.New.Name()): "new", "": "server with no"}[old.Str]))
	}
}

// MSC4348, "Obtaining account and profile information as a server": the participation of the co-signing server
// says whom to ask. D-58: which name counts when the old and the new server give different ones is open.
func TestMigration_NewServerIsAskedForTheName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-15", "MSC4348-ACCT-03")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	for _, site := range m.Sites {
		asked := m.Old.MustBeAsked(t, fakeserver.OpQueryAccounts, fakeserver.AsksFor(mia.Key()), by(site))
		conform.Observed(t, "the old server was asked by %s", asked.Peer)
	}
	renamed := m.New.User(mia.Name())
	renamed.AnswerWith(fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"another-name"`}}})
	m.Join(t, mia, mia.To)
	said := m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To))
	m.Fence(t)
	for _, site := range m.Sites {
		asked := false
		err := wait.Until(wait.Context(t), wait.Limit(), "the new server to be asked", func(context.Context) (bool, error) {
			asked = len(m.New.Transcript().Exchanges(func(e fakeserver.Exchange) bool { return fakeserver.AsksFor(mia.Key())(e) && by(site)(e) })) > 0
			return asked, nil
		})
		if err != nil {
			conform.Violation(t, "MSC4348-MIG-15", "the new server is asked about an account that has moved there", site.HS.Alias()+" has not asked it: "+err.Error())
		}
		name := shownLater(t, site, said.ID()).Get("unsigned.account").Str
		conform.Info(t, "MSC4348-MIG-15", fmt.Sprintf("%s shows, when the new server gives another name than the old one: %s", site.HS.Alias(),
			map[string]string{mia.Name(): "the name that the old server gave", "another-name": "the name that the new server gives", "": "no name"}[name]))
	}
}

// by matches the requests of a homeserver.
func by(site *blueprints.Room) func(fakeserver.Exchange) bool {
	return func(e fakeserver.Exchange) bool { return e.Peer == site.At }
}

// MSC4345, "The unverified_domain property": "Its primary purpose is to provide routing." D-56: a user is where
// the membership was co-signed.
func TestMigration_EventsGoToTheNewServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-17")
	conform.Scenario(t, "Events follow an account to its new server")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	for _, site := range m.Sites {
		told(t, m.Old, site, m.ID)
	}
	m.Join(t, mia, mia.To)
	m.Fence(t)
	for _, site := range m.Sites {
		first := told(t, m.New, site, m.ID)
		last := told(t, m.New, site, m.ID)
		for _, text := range []string{first, last} {
			if heard(m.Old, text) {
				conform.Violation(t, "MSC4348-MIG-17", "a server without users in the room is sent no more of it", site.HS.Alias()+" has sent its message to the old server")
			}
		}
	}
}

// told has a homeserver's user say something, and waits until a fake server was sent it.
func told(t testing.TB, peer *blueprints.Peer, site *blueprints.Room, roomID string) (text string) {
	t.Helper()
	text = blueprints.Unique("who hears me")
	site.Alice.MustSay(conform.Setup(t), roomID, text)
	judge := conform.Judge(t, "MSC4348-MIG-17")
	peer.MustReceive(judge, "a message for the only user of the server", saying(text))
	return text
}

// heard reports whether a fake server was sent a message.
func heard(peer *blueprints.Peer, text string) bool {
	for _, pdu := range peer.PDUs() {
		if saying(text)(pdu) {
			return true
		}
	}
	return false
}

// saying matches a message by its text: a fake server that is in the room only by what others say of it cannot
// read events.
func saying(text string) func(fakeserver.PDU) bool {
	return func(pdu fakeserver.PDU) bool { return pdu.Get("content.body").Str == text }
}

// MSC4345, "Terminology": the implicit power of a server is that of its users, who in rooms of MSC4348 are those
// whose memberships it has co-signed (D-56). It goes where they go.
func TestMigration_ImplicitPowerGoesWithTheUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-07")
	conform.Scenario(t, "A server can be revoked when its administrator has moved away")
	m := migrating(t)
	mia, ada := m.Mover(t, "mia"), m.Mover(t, "ada")
	m.Say(t, m.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{"users": map[string]any{string(mia.ID): 100, string(ada.ID): 100}}))
	revoke := func() *matrix.Event {
		return m.Try(t, ada.User, m.Room.Room.Revokes(mia.From.Key().Name()).Through(ada.From))
	}
	early := revoke()
	m.Fence(t)
	m.Refuses(t, "MSC4348-COSIG-07", "the revocation of a server that has a user of the same power", early)

	m.Join(t, mia, mia.To)
	late := revoke()
	m.Room.Room.Add(late)
	fence := m.Fence(t)
	m.Takes(t, "MSC4348-COSIG-07", "the revocation of a server whose user of the same power has moved away", late)
	m.Converge(t, "MSC4348-COSIG-07", fence)
}
