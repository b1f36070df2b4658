package msc4348

import (
	"fmt"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// MSC4348, "Proposal": an event is "cosigned by a participating server under the terms of MSC4345"; MSC4345, rule 2:
// events through servers that are not accepted are rejected, whatever they are.
func TestCosigner_IsAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		participation matrix.Participation
		taken         bool
	}{{"unknown", "", false}, {"requested", matrix.Requested, false}, {"revoked", matrix.Revoked, false}, {"accepted", matrix.Accepted, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-COSIG-01", "MSC4348-COSIG-08")
			r := visiting(t, blueprints.Options(func(o *fakeserver.RoomOptions) {
				o.PowerLevels = map[string]any{"state_default": 0, "invite": 0, "redact": 0, "kick": 0, "events": map[string]any{"m.room.power_levels": 0}}
			}))
			server := r.AnotherServer(t, c.participation)
			mallory, guest := r.Peer.Member(t, "mallory"), r.Peer.Member(t, "guest")
			own := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("to be redacted"))
			invite := fakeserver.Membership(r.UserID(guest), "invite")
			invite.CoSigners = []*fakeserver.User{guest}
			levels := r.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
			levels["events"].(map[string]any)["org.countersign.type"] = 0
			var events []*matrix.Event
			for _, d := range []fakeserver.Draft{
				fakeserver.Membership(r.UserID(mallory), "join"), fakeserver.Message("hello"), blueprints.Probe(), invite,
				fakeserver.Redaction(own.ID()), fakeserver.State("m.room.power_levels", "", levels),
			} {
				e := blueprints.NewEvent(t, r.Room, mallory, d.Through(server))
				blueprints.MustDeliver(conform.Setup(t), r.Room, e.JSON())
				events = append(events, e)
				if c.taken {
					r.Room.Add(e)
				} else {
					r.Room.AddOutlier(e)
				}
			}
			r.Fence(t)
			for _, e := range events {
				got := r.Observe(t, fakeserver.AsForged(e))
				if got.Effective() != c.taken {
					conform.Violation(t, "MSC4348-COSIG-01", fmt.Sprintf("%s through a server that is %s counts: %t", e.Type(), c.name, c.taken), got.String())
				}
			}
		})
	}
}

// D-55: of the signatures beside the account key's the one counts that belongs to the server whose participation the
// event cites. All others are ignored, whoever has made them.
func TestCosigner_IsTheCitedServer(t *testing.T) {
	t.Parallel()
	type keys struct{ cited, accepted, requested, revoked, unknown matrix.ServerKeyPair }
	for _, c := range []struct {
		name, requirement string
		signers           func(k keys) []matrix.ServerKeyPair
		taken             bool
	}{
		{"the cited one", "MSC4348-COSIG-05", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.cited} }, true},
		{"the cited one and another accepted one", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.cited, k.accepted} }, true},
		{"the cited one and a requested one", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.cited, k.requested} }, true},
		{"the cited one and a revoked one", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.cited, k.revoked} }, true},
		{"the cited one and an unknown one", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.cited, k.unknown} }, true},
		{"all of them", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair {
			return []matrix.ServerKeyPair{k.revoked, k.accepted, k.unknown, k.cited, k.requested}
		}, true},
		{"another accepted one", "MSC4348-COSIG-05", func(k keys) []matrix.ServerKeyPair { return []matrix.ServerKeyPair{k.accepted} }, false},
		{"all but the cited one", "MSC4348-COSIG-06", func(k keys) []matrix.ServerKeyPair {
			return []matrix.ServerKeyPair{k.revoked, k.accepted, k.unknown, k.requested}
		}, false},
		{"nobody", "MSC4348-COSIG-05", func(keys) []matrix.ServerKeyPair { return nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := visiting(t)
			k := keys{
				r.Room.Key(), r.AnotherServer(t, matrix.Accepted), r.AnotherServer(t, matrix.Requested), r.AnotherServer(t, matrix.Revoked),
				r.AnotherServer(t, ""),
			}
			for _, d := range []fakeserver.Draft{fakeserver.Message("who has signed this?"), blueprints.Probe()} {
				event := cosigned(t, r.Forge(t, r.Fay, d, fakeserver.Forgery{}), c.signers(k)...)
				blueprints.MustDeliver(conform.Setup(t), r.Room, event.PDU)
				r.Fence(t)
				if got := r.Observe(t, event); got.Effective() != c.taken {
					conform.Violation(t, c.requirement, fmt.Sprintf("an event that is co-signed by %s counts: %t", c.name, c.taken), got.String())
				}
			}
		})
	}
}

// cosigned is an event, under the ID that it has, with the signatures of its sender and of these servers.
func cosigned(t testing.TB, event fakeserver.Forged, servers ...matrix.ServerKeyPair) fakeserver.Forged {
	t.Helper()
	copied, err := event.CoSignedBy(servers...)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return copied
}

// D-55: two copies of one event, under one ID, of which each homeserver is given the other first. The event is who
// it was sent through, whichever copy came first and whoever is revoked later.
func TestCosigner_TwoCopies(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-05", "MSC4348-FORGE-09", "MSC4348-FORGE-10", "MSC4348-ACCT-05")
	conform.Scenario(t, "Two copies of one event, co-signed by different servers, reach two homeservers in different orders")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	m.MustSee(conform.Setup(t), m.Say(t, mia.User, fakeserver.Message("control").Through(mia.From)))
	event := m.Forge(t, mia.User, fakeserver.Message("whose am I?").Through(mia.From), fakeserver.Forgery{})
	claimed := cosigned(t, event, mia.To)
	evidence(t, event, claimed)
	m.Old.SendPDUs(conform.Setup(t), m.Sites[0].At, event.PDU)
	m.New.SendPDUs(conform.Setup(t), m.Sites[0].At, claimed.PDU)
	m.New.SendPDUs(conform.Setup(t), m.Sites[1].At, claimed.PDU)
	m.Fence(t)
	if got := m.Sites[1].Observe(t, claimed); got.Effective() {
		conform.Violation(t, "MSC4348-FORGE-09", "an event that another server than the cited one has co-signed has no effect", got.String())
	}
	m.Old.SendPDUs(conform.Setup(t), m.Sites[1].At, event.PDU)
	m.Keep(t, event)
	m.Fence(t)
	for _, site := range m.Sites {
		if got := site.Observe(t, event); !got.Shown {
			conform.Violation(t, "MSC4348-FORGE-10", "a bad copy does not stand in the way of the good one", site.HS.Alias()+": "+got.String())
			continue
		}
		if domain := shownLater(t, site, event.EventID).Get("unsigned.server_domain").Str; domain != string(m.Old.Name()) {
			conform.Violation(t, "MSC4348-FORGE-09", "the event is shown as one of "+string(m.Old.Name()), site.HS.Alias()+" shows the domain "+domain)
		}
	}
	m.Revoke(t, mia.To)
	m.Converge(t, "MSC4348-COSIG-05", m.Fence(t))
}

// D-55: what the gap comes to. One homeserver has the event with the signature of one server, the other one with that
// of another, and one of the servers is revoked. Whether both homeservers have the event, and allow what it allows,
// is recorded with the two copies.
func TestCosigner_TwoCopiesDiverge(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-05")
	conform.Scenario(t, "Two homeservers have copies of one event that different servers have co-signed, and one of these is revoked")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	empower(t, m, mia.ID, 50)
	m.Fence(t)
	event := m.Forge(t, mia.User, blueprints.Probe().Through(mia.From), fakeserver.Forgery{})
	claimed := cosigned(t, event, mia.To)
	evidence(t, event, claimed)
	m.Old.SendPDUs(conform.Setup(t), m.Sites[0].At, event.PDU)
	m.New.SendPDUs(conform.Setup(t), m.Sites[1].At, claimed.PDU)
	m.Fence(t)
	// hs2 first: what hs1 sends to be observed follows the event, so that hs2 asks hs1 for its copy.
	theirs := m.Sites[1].Observe(t, claimed)
	before := []blueprints.Outcome{m.Sites[0].Observe(t, event), theirs}
	m.Revoke(t, mia.From)
	m.Fence(t)
	for i, site := range m.Sites {
		after := site.Observe(t, event)
		conform.Info(t, "MSC4348-COSIG-05", fmt.Sprintf("%s was given the copy of the %s server. Before the old one is revoked: %s. Afterwards: %s.",
			site.HS.Alias(), []string{"old", "new"}[i], before[i], after))
	}
	if before[1].Effective() {
		conform.Violation(t, "MSC4348-COSIG-05", "a copy that the cited server has not co-signed has no effect", before[1].String())
	}

	// The good copy heals the room: an event follows it, by which hs2 comes to ask for it.
	m.Keep(t, event)
	m.Converge(t, "MSC4348-COSIG-05", m.Fence(t))
}

// evidence records two copies of one event.
func evidence(t testing.TB, a, b fakeserver.Forged) {
	t.Helper()
	if a.EventID != b.EventID {
		conform.HarnessError(t, "the copies %s and %s are not one event", a.EventID, b.EventID)
	}
	signatures := func(f fakeserver.Forged) string { return gjson.GetBytes(f.PDU, "signatures").Raw }
	conform.Info(t, "MSC4348-COSIG-05", fmt.Sprintf("one event, %s, is valid JSON with these signatures: %s; and with these: %s", a.EventID, signatures(a), signatures(b)))
}
