package msc4345

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// try has a user of the fake server send an event, with or without a deviation, and looks for what came of
// it. An event that has had an effect becomes part of the fake server's copy of the room.
func try(t testing.TB, r *blueprints.Room, sender *fakeserver.User, d fakeserver.Draft, f fakeserver.Forgery) (fakeserver.Forged, blueprints.Outcome) {
	t.Helper()
	event := r.Forge(t, sender, d, f)
	blueprints.MustDeliver(conform.Setup(t), r.Room, event.PDU)
	r.Fence(t)
	got := r.Observe(t, event)
	if got.Effective() {
		r.Keep(t, event)
	}
	return event, got
}

// The m.server.participation state event: it is one, and its state key is a server key.
func TestParticipation_IsState(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-01")
	r := visiting(t)
	content := map[string]any{"participation": matrix.Accepted, "unverified_domain": r.Peer.Name()}
	for name, d := range map[string]fakeserver.Draft{
		"a message": {Type: matrix.ParticipationType, Content: content},
		"a domain":  fakeserver.State(matrix.ParticipationType, string(r.Peer.Name()), content),
		"nothing":   fakeserver.State(matrix.ParticipationType, "", content),
	} {
		if _, got := try(t, r, r.Fay, d, fakeserver.Forgery{}); got.Effective() {
			conform.Violation(t, "MSC4345-PART-01", "a participation that is "+name+" has no effect", got.String())
		}
	}
}

// The participation property: "one of requested, accepted or revoked". What else it can be ends in rule 1.4.
func TestParticipation_Words(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-02")
	r := visiting(t)
	requested := r.AnotherServer(t, matrix.Requested).Key().Name()
	for _, value := range []string{`"invited"`, `"Accepted"`, `" accepted"`, `""`, `["accepted"]`, `{"accepted":true}`, `null`, `true`, `1`, ``} {
		edit := fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.participation", JSON: value}}}
		if _, got := try(t, r, r.Fay, r.Room.Accepts(requested), edit); got.Effective() {
			conform.Violation(t, "MSC4345-PART-02", fmt.Sprintf("the participation %q has no effect", value), got.String())
		}
	}
	_, got := try(t, r, r.Fay, r.Room.Accepts(requested), fakeserver.Forgery{})
	must.Be(conform.Setup(t), got.Effective(), "fay to be able to accept the server: %s", got)
}

// "participation is protected from redaction", and unverified_domain, too: a redacted copy does what the
// event does.
func TestParticipation_RedactedCopiesCount(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-03", "MSC4345-PART-04", "MSC4345-PART-05")
	r := visiting(t)
	key := r.Peer.MintServerKey()
	for _, c := range []struct {
		requirement string
		draft       func() fakeserver.Draft
		want        matrix.Participation
	}{
		// D-36: the field by which a request is authorised is not listed.
		{"MSC4345-PART-05", func() fakeserver.Draft { return r.Room.Asks(key) }, matrix.Requested},
		{"MSC4345-PART-03", func() fakeserver.Draft { return r.Room.Accepts(key.Key().Name()) }, matrix.Accepted},
		{"MSC4345-PART-03", func() fakeserver.Draft { return r.Room.Revokes(key.Key().Name()) }, matrix.Revoked},
	} {
		_, got := try(t, r, r.Fay, c.draft().With("reason", "none"), fakeserver.Forgery{Redacted: true})
		content := r.Alice.State(t, r.ID, matrix.ParticipationType, key.Key().String())
		if !got.Effective() || matrix.Participation(content.Get("participation").Str) != c.want {
			conform.Violation(t, c.requirement, fmt.Sprintf("the redacted copy of %q does what the event does", c.want), got.String()+"\n"+content.String())
			return
		}
		if c.want == matrix.Accepted && content.Get("unverified_domain").Str != string(r.Peer.Name()) {
			conform.Violation(t, "MSC4345-PART-04", "unverified_domain is there in the redacted copy", content.String())
		}
	}
}

// The same for events that are redacted after they were received. The reason is not protected.
func TestParticipation_SurvivesRedaction(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-03", "MSC4345-PART-04", "MSC4345-PART-07", "MSC4345-FORGE-18")
	r := visiting(t)
	key := r.AnotherServer(t, matrix.Accepted).Key().Name()
	redact := func(event *matrix.Event) gjson.Result {
		redaction := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Redaction(event.ID()))
		r.Alice.MustSee(conform.Setup(t), r.ID, redaction.ID())
		return r.Alice.State(t, r.ID, matrix.ParticipationType, string(key)).MustOK(t)
	}
	content := redact(r.Room.State(matrix.ParticipationType, string(key)))
	must.Field(t, content, "participation", string(matrix.Accepted))
	must.Field(t, content, "unverified_domain", string(r.Peer.Name()))

	revocation := blueprints.MustSend(t, r.Room, r.Fay, r.Room.Revokes(key).With("reason", "spam"))
	shown := r.MustSeeParticipation(t, key, matrix.Revoked)
	if reason := shown.Get("content.reason").Str; reason != "spam" {
		conform.Violation(t, "MSC4345-PART-07", "clients are shown the reason", shown.Raw)
	}
	content = redact(revocation)
	must.Field(t, content, "participation", string(matrix.Revoked))
	if content.Get("reason").Exists() {
		conform.Violation(t, "MSC4345-PART-07", "the reason does not survive a redaction", content.Raw)
	}
}

// The unverified_domain property: "This property is not required".
func TestParticipation_WithoutDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-06")
	r := visiting(t)
	key := r.Peer.MintServerKey()
	name := key.Key().Name()
	for _, d := range []fakeserver.Draft{
		fakeserver.Participates(name, matrix.Requested).Through(key).AuthorisedBy(r.Room.Key()),
		fakeserver.Participates(name, matrix.Accepted),
		fakeserver.Participates(name, matrix.Revoked),
	} {
		event, got := try(t, r, r.Fay, d, fakeserver.Forgery{})
		if !got.Effective() {
			conform.Violation(t, "MSC4345-PART-06", "a participation without a domain counts", got.String()+"\n"+string(event.PDU))
			return
		}
	}
}

// The accept top level m.room.power_levels content property: what it takes to accept a server, 100 when it
// is not there.
func TestAcceptLevel(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-10", "MSC4345-AUTH-14", "MSC4345-AUTH-07", "MSC4345-AUTH-11")
	r := visiting(t)
	admin := r.Peer.Member(t, "admin")
	blueprints.MustSend(conform.Setup(t), r.Room, admin, fakeserver.Membership(r.UserID(admin), "join"))
	for _, c := range []struct {
		accept any
		level  int
		may    bool
	}{{nil, 99, false}, {nil, 100, true}, {50, 49, false}, {50, 50, true}, {0, 0, true}, {150, 149, false}, {150, 150, true}} {
		setPowers(t, r, powers(c.accept, map[matrix.UserID]int{r.UserID(admin): c.level}))
		key := r.AnotherServer(t, matrix.Requested).Key().Name()
		if _, got := try(t, r, admin, r.Room.Accepts(key), fakeserver.Forgery{}); got.Effective() != c.may {
			conform.Violation(t, "MSC4345-PART-10", fmt.Sprintf("with accept at %v, power level %d accepts a server: %t", c.accept, c.level, c.may), got.String())
		}
		if c.level == 0 {
			continue // who has no power has not more than the server
		}
		requirement := map[bool]string{true: "MSC4345-AUTH-07", false: "MSC4345-AUTH-11"}[c.may]
		accepted := r.AnotherServer(t, matrix.Accepted).Key().Name()
		if _, got := try(t, r, admin, r.Room.Revokes(accepted), fakeserver.Forgery{}); got.Effective() != c.may {
			conform.Violation(t, requirement, fmt.Sprintf("with accept at %v, power level %d revokes a server: %t", c.accept, c.level, c.may), got.String())
		}
	}
}

// setPowers sets power levels, and waits until alice is shown them. D-37: where redaction does not keep accept, power
// levels that have it are another event, of which neither the ID nor the signature is right, and nothing can be tried.
func setPowers(t testing.TB, r *blueprints.Room, levels fakeserver.Draft) {
	t.Helper()
	t = conform.Setup(t)
	event := blueprints.MustSend(t, r.Room, r.Fay, levels)
	err := wait.Until(wait.Context(t), wait.Limit(), "the power levels to be the room's", func(context.Context) (bool, error) {
		return slices.Contains(blueprints.StateIDs(t, r.Alice, r.ID), event.ID()), nil
	})
	switch {
	case err == nil:
	case event.Get("accept").Exists():
		conform.Skip(t, "the homeserver does not take power levels with an accept level from elsewhere (D-37): %v", err)
	default:
		conform.Inconclusive(t, "%v", err)
	}
}

// The accept top level m.room.power_levels content property: the default does not depend on whether there are power
// levels. In a room without them nobody but its creators has any power.
func TestAcceptLevel_WithoutPowerLevels(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-10", "MSC4345-AUTH-14")
	r := visiting(t, blueprints.Options(func(o *fakeserver.RoomOptions) { o.NoPowerLevels = true }))
	guest, key := r.Join(t, "guest"), r.AnotherServer(t, matrix.Requested).Key().Name()
	if _, got := try(t, r, guest, r.Room.Accepts(key), fakeserver.Forgery{}); got.Effective() {
		conform.Violation(t, "MSC4345-PART-10", "in a room without power levels, users who have not made it accept nobody", got.String())
		return
	}
	if _, got := try(t, r, r.Fay, r.Room.Accepts(key), fakeserver.Forgery{}); !got.Effective() {
		conform.Violation(t, "MSC4345-AUTH-14", "in a room without power levels, its creator accepts servers", got.String())
	}
}

// powers drafts power levels, with an accept level or without, in which users with 50 may change them.
func powers(accept any, users map[matrix.UserID]int) fakeserver.Draft {
	content := map[string]any{"users": users, "events": map[string]int{"m.room.power_levels": 50}}
	if accept != nil {
		content["accept"] = accept
	}
	return fakeserver.State("m.room.power_levels", "", content)
}

// Room version 12, rule 10, names the levels that are integers and that nobody changes beyond their own
// power. It does not name accept (D-37).
func TestAcceptLevel_IsALevel(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-09")
	r := visiting(t)
	moderator := r.Peer.Member(t, "moderator")
	blueprints.MustSend(conform.Setup(t), r.Room, moderator, fakeserver.Membership(r.UserID(moderator), "join"))
	users := map[matrix.UserID]int{r.UserID(moderator): 50}
	for _, c := range []struct {
		from, to any
		counts   bool
	}{{40, 45, true}, {40, 60, false}, {60, 40, false}, {40, "100", false}} {
		setPowers(t, r, powers(c.from, users))
		if _, got := try(t, r, moderator, powers(c.to, users), fakeserver.Forgery{}); got.Effective() != c.counts {
			conform.Violation(t, "MSC4345-PART-09", fmt.Sprintf("a user with 50 changes accept from %v to %#v: %t", c.from, c.to, c.counts), got.String())
		}
	}
}

// Room version 12, redactions: accept is not among what power levels keep (D-37).
func TestAcceptLevel_SurvivesRedaction(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-PART-11")
	r := visiting(t)
	admin := r.Peer.Member(t, "admin")
	setup := conform.Setup(t)
	blueprints.MustSend(setup, r.Room, admin, fakeserver.Membership(r.UserID(admin), "join"))
	setPowers(t, r, powers(40, map[matrix.UserID]int{r.UserID(admin): 40}))
	levels := r.Forge(t, r.Fay, powers(50, map[matrix.UserID]int{r.UserID(admin): 50}).With("reason", "none"), fakeserver.Forgery{Redacted: true})
	r.Keep(t, levels)
	blueprints.MustDeliver(setup, r.Room, levels.PDU)
	key := r.AnotherServer(t, matrix.Requested).Key().Name()
	if _, got := try(t, r, admin, r.Room.Accepts(key), fakeserver.Forgery{}); !got.Effective() {
		conform.Violation(t, "MSC4345-PART-11", "accept counts in redacted power levels", got.String())
	}
}
