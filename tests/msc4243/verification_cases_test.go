package msc4243

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// Handling GDPR erasure: "an erased account key cannot become verified again", however often its domain
// says that it is valid, and whoever looks.
func TestErasure_IsFinal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		meanwhile func(t testing.TB, s *subject)
	}{
		{"when the domain takes it back", func(testing.TB, *subject) {}},
		{"after a restart", func(t testing.TB, s *subject) { s.here.Restart(t, s.here.HS) }},
		{"after leaving and joining again", func(t testing.TB, s *subject) {
			for _, membership := range []string{"leave", "join"} {
				blueprints.MustSend(t, s.here.Room, s.User, fakeserver.Membership(s.KeyID(), membership))
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SM-05")
			r := hostingAlone(t)
			s := &subject{r.Peer.Member(t, "erin"), r, r.Fay, unverified}
			s.joins(t, fakeserver.AccountAnswer{})
			s.mustBeSeen(conform.Setup(t), string(s.NameID()))
			m := r.Tell(t, s.User, fakeserver.AccountAnswer{Erased: true})
			s.moveTo(m)
			if !m.Heard(s.User) {
				conform.Skip(t, "the homeserver asks neither for keys that it knows nor for erasures")
			}
			s.mustBeHidden(t, "MSC4243-SM-05")

			s.AnswerWith(fakeserver.AccountAnswer{})
			c.meanwhile(conform.Setup(t), s)
			for range 2 {
				s.moveTo(s.here.Tell(t, s.User, fakeserver.AccountAnswer{}))
				s.mustBeHidden(t, "MSC4243-SM-05")
			}
			late := place{client: local(t, s.here, "late"), roomID: s.here.ID}
			join := s.here.Room.State("m.room.member", string(s.KeyID()))
			leak := eventIn(inSync(t, late, csapi.SyncRequest{Filter: longTimeline}), join.ID())
			must.Be(t, !leak.Exists(), "an erased user not to be shown to who comes later, got:\n%s", leak.Raw)
		})
	}
}

// Handling GDPR erasure, the diagram: there is no way out of Erased, and a domain may say it at any time.
func TestErasure_MayBeRepeated(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SM-08")
	r := hosting(t)
	s := &subject{r.Peer.Member(t, "erin"), r, r.Fay, unverified}
	s.joins(t, fakeserver.AccountAnswer{Erased: true})
	for i := range 3 {
		r.Peer.Member(t, "gone").Erase() // so that the erasure ID grows
		m := s.here.Tell(t, s.User, fakeserver.AccountAnswer{Erased: true})
		s.moveTo(m)
		s.mustBeHidden(t, "MSC4243-SM-08")
		conform.Observed(t, "repetition %d was dealt with", i+1)
	}
}

// stolen is a room in which the account key of fay, who is verified, is also used by a second domain, for
// a user who is verified there.
func stolen(t *testing.T) (r *blueprints.Room, thief *subject) {
	t.Helper()
	r = hosting(t)
	second := r.Scene.Peer(t)
	user := second.Member(t, "thief", fakeserver.WithAccount(r.Fay.Account()))
	there := *r
	there.Peer, there.Fay = second, user
	there.Room = second.MustJoin(conform.Setup(t), r.At, r.Version, r.ID, user)
	thief = &subject{user, &there, nil, verified}
	thief.mustBeSeen(conform.Setup(t), string(user.NameID()))
	return r, thief
}

// Handling GDPR erasure: the "domain is included to ensure that the signature [...] isn't enough to
// confirm the erasure, else the signature could be reused for different unauthorised domains". Footnote
// idunchange (D-06): the state is that of key and domain.
func TestErasure_IsForOneDomain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		domain            func(r *blueprints.Room, thief *subject) string
		after             standing
	}{
		{"an erasure of the first domain that the second one tells", "MSC4243-SM-09",
			func(r *blueprints.Room, _ *subject) string { return string(r.Peer.Name()) }, verified},
		{"an erasure of the second domain", "MSC4243-SM-10",
			func(_ *blueprints.Room, thief *subject) string { return string(thief.Server().Name()) }, erased},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r, thief := stolen(t)
			m := thief.here.Tell(t, thief.User, fakeserver.AccountAnswer{
				Erased: true, Edits: []fakeserver.Edit{{Path: "domain", JSON: `"` + c.domain(r, thief) + `"`}},
			})
			thief.moveTo(m)
			if !m.Heard(thief.User) {
				conform.Skip(t, "the homeserver asks neither for keys that it knows nor for erasures")
			}
			if c.after == erased {
				thief.mustBeHidden(t, c.requirement)
			} else {
				thief.mustBeSeen(t, string(thief.NameID()))
			}
			fay := &subject{r.Fay, r, nil, verified}
			conform.Expect(t, "%s stays verified, whose key another domain uses too", r.Fay.KeyID())
			fay.mustBeSeen(t, string(fay.NameID()))
		})
	}
}

// Handling GDPR erasure: the object of an erased key has no name. What it means with one is open; it does
// not confirm the name.
func TestErasure_WithAName(t *testing.T) {
	t.Parallel()
	for _, before := range []standing{unverified, verified} {
		t.Run("of "+string(before), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SM-11")
			s := bring(t, before)
			answer := fakeserver.AccountAnswer{Erased: true, Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"` + s.Name() + `"`}}}
			if before == unverified {
				s.joins(t, answer)
				s.mustBeHidden(t, "MSC4243-SM-11")
				return
			}
			s.moveTo(s.here.Tell(t, s.User, answer))
			said := map[bool]string{true: "is none", false: "is one"}[s.isSeen(t)]
			conform.Info(t, "MSC4243-SM-11", "an erasure with a name beside it "+said)
		})
	}
}

// Server behaviour: servers "MAY retry unverified mappings in the future", and until then an unverified
// user stays one.
func TestUnverified_StaysSoUntilItIsAskedAgain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SM-12")
	r := hostingAlone(t)
	s := &subject{r.JoinUnverified(t, "una"), r, r.Fay, unverified}
	r.Restart(t, r.HS)
	s.mustBeHidden(t, "MSC4243-SM-12")
	r.ConfirmLate(t, s.User)
	s.mustBeSeen(t, string(s.NameID()))
}

// Handling GDPR erasure, the diagram: a user whose domain fails first, in one way or another, is verified
// by the first good answer.
func TestUnverified_BecomesVerified(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"unknown", "omit", "bad-signature", "status-500", "reset"} {
		t.Run("after "+first, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SM-02")
			s := bring(t, unverified)
			s.joins(t, accountAnswer(t, first))
			s.mustBeHidden(t, "MSC4243-SM-02")
			s.here.ConfirmLate(t, s.User)
			s.mustBeSeen(t, string(s.NameID()))
		})
	}
}

// accountAnswer is a row of the table of answers to /query/accounts.
func accountAnswer(t testing.TB, name string) fakeserver.AccountAnswer {
	t.Helper()
	for _, row := range fakeserver.AccountAnswers() {
		if row.Name == name {
			return row.Answer
		}
	}
	conform.HarnessError(t, "no answer to /query/accounts is called %q", name)
	return fakeserver.AccountAnswer{}
}
