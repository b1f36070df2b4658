package msc4243

import (
	"context"
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// standing is the verification state of an account key user ID (Handling GDPR erasure, the diagram).
type standing string

// The standings. Open is where the text does not say what an answer means.
const (
	unverified standing = "unverified"
	verified   standing = "verified"
	erased     standing = "erased"
	open       standing = "open"
)

// change is what an answer makes of a key that was unverified, verified or erased before.
type change struct{ ofUnverified, ofVerified, ofErased standing }

func (c change) of(before standing) standing {
	return map[standing]standing{unverified: c.ofUnverified, verified: c.ofVerified, erased: c.ofErased}[before]
}

// The changes that answers make.
var (
	confirms = change{verified, verified, erased}
	erases   = change{erased, erased, erased}
	nothing  = change{unverified, verified, erased}
)

// changes are what the answers about a key make of it, by their number in matrix M2 of the catalogue.
func changes() map[string]change {
	return map[string]change{
		"S1":  confirms,                 // the account name and the domain, signed
		"S2":  confirms,                 // the same with another name; the first one stays
		"S3":  nothing,                  // no signatures
		"S4":  nothing,                  // a signature of somebody else, or a bad one
		"S5":  nothing,                  // edited after it was signed
		"S6":  nothing,                  // another domain, or none
		"S7":  nothing,                  // a name that is none
		"S8":  confirms,                 // more than the name and the domain, signed
		"S9":  nothing,                  // the same, but what is more is not signed
		"S10": nothing,                  // M_UNKNOWN
		"S11": nothing,                  // another error code, or no object
		"S12": {open, verified, erased}, // an error code and a name
		"S13": erases,                   // M_ERASED and the domain, signed
		"S14": nothing,                  // M_ERASED without a good signature
		"S15": nothing,                  // M_ERASED with another domain, or none
		"S16": erases,                   // a signed erasure among those that were not asked for by key
		"S17": {open, open, erased},     // the same in an answer without an erasure section
		"S18": nothing,                  // a name that was not asked for
		"S19": nothing,                  // the same for another domain
		"S20": nothing,                  // the key is left out
		"S21": {open, verified, erased}, // filed under another spelling of the key
		"S22": nothing,                  // a status that is an error
		"S23": nothing,                  // a body that is no answer
		"S24": nothing,                  // no answer
		"S25": confirms,                 // a name, beside an erasure section that makes no sense
		"S26": confirms,                 // a name, with unsigned or others' signatures beside (appendices, "Signing JSON")
	}
}

// odd are rows that the text leaves open although others of their number are not. The appendices,
// "Historical User IDs", have servers accept these names in user IDs.
func odd(row fakeserver.NamedAnswer) bool {
	return row.Name == "name-empty" || row.Name == "name-newline" || row.Name == "name-right-to-left"
}

// requirementOf is what a cell of the matrix is about.
func requirementOf(row fakeserver.NamedAnswer, before standing) string {
	about := changes()[row.Case]
	switch after := about.of(before); {
	case before == erased && about == erases:
		return "MSC4243-SM-08"
	case before == erased:
		return "MSC4243-SM-05"
	case row.Case == "S14" || row.Case == "S15":
		return "MSC4243-SM-07"
	case row.Case == "S2" && before == verified:
		return "MSC4243-QC-16"
	case before == verified && after == verified:
		return "MSC4243-SM-06"
	case before == verified:
		return "MSC4243-SM-04"
	case after == verified:
		return "MSC4243-SM-02"
	case row.Case == "S16":
		return "MSC4243-SM-13"
	case after == erased:
		return "MSC4243-SM-03"
	}
	return "MSC4243-SM-01"
}

// Handling GDPR erasure, the diagram of states; Server behaviour, of who is verified and unverified.
// Every answer to /query/accounts, about a key in every state.
func TestAnswers_ChangeStates(t *testing.T) {
	t.Parallel()
	for _, row := range fakeserver.AccountAnswers() {
		for _, before := range []standing{unverified, verified, erased} {
			if before != unverified && conform.UnderRaceDetector {
				continue // the same code
			}
			t.Run(row.Case+" "+row.Name+"/of "+string(before), func(t *testing.T) {
				t.Parallel()
				requirement := requirementOf(row, before)
				conform.Covers(t, requirement)
				after := changes()[row.Case].of(before)
				if before == unverified && odd(row) {
					after = open
				}
				s := bring(t, before)
				s.hear(t, requirement, row, after)
				conform.Expect(t, "after the answer %q an account key that was %s is %s", row.Name, before, after)
				s.judge(t, requirement, row, after)
			})
		}
	}
}

// subject is the user of the fake server whose account key a test is about.
type subject struct {
	*fakeserver.User
	// here is a room of which alice and the subject are members, or will be, and fay too. The last
	// answer about the subject was about a member of this room.
	here *blueprints.Room
	// witness is another member, who is verified.
	witness *fakeserver.User
	before  standing
}

// bring is a subject in a state. A subject who is unverified has not been heard of.
func bring(t *testing.T, before standing) *subject {
	t.Helper()
	r := hosting(t) // fay, of the same server, is verified
	switch before {
	case verified:
		return &subject{r.Fay, r, nil, before}
	case erased:
		s := &subject{r.Peer.Member(t, "erin"), r, r.Fay, before}
		s.joins(t, fakeserver.AccountAnswer{Erased: true})
		return s
	}
	return &subject{r.Peer.Member(t, "una"), r, r.Fay, before}
}

// joins has the subject join, of whom the homeserver has not heard, and waits until it has asked, and
// got its answer if there is one to come.
func (s *subject) joins(t testing.TB, answer fakeserver.AccountAnswer) {
	t.Helper()
	t = conform.Setup(t)
	s.AnswerWith(answer)
	blueprints.MustSend(t, s.here.Room, s.User, fakeserver.Membership(s.ID(s.here.Version), "join"))
	wait.For(t, "a question about "+s.Key(), func(context.Context) (bool, error) {
		asked := s.here.Peer.Transcript().Exchanges(fakeserver.AsksFor(s.Key()))
		return len(asked) > 0 && (slow(answer) || asked[0].Answered()), nil
	})
}

// whole reports whether an answer is about no key in particular.
func whole(a fakeserver.AccountAnswer) bool {
	return a.Status != 0 || a.Body != "" || a.Manner != fakeserver.Plain
}

// slow reports whether an answer takes as long as the homeserver has patience.
func slow(a fakeserver.AccountAnswer) bool {
	return a.Manner == fakeserver.Hang || a.Manner == fakeserver.Trickle
}

// hear has the homeserver be given the answer about the subject.
func (s *subject) hear(t *testing.T, requirement string, row fakeserver.NamedAnswer, after standing) {
	t.Helper()
	setup, answer := conform.Setup(t), row.Answer
	switch {
	case len(answer.Unsolicited) > 0:
		s.hearUnasked(t, answer, after)
	case s.before == unverified:
		s.joins(t, answer)
		if !whole(answer) {
			s.here.Join(setup, "settler") // who is seen when the answers before have been dealt with
		}
	case slow(answer):
		newcomer := &subject{s.here.Peer.Member(t, "newcomer"), s.here, nil, unverified}
		newcomer.joins(t, answer)
	case whole(answer) || len(answer.AnswerEdits) > 0:
		m := s.here.Meet(t, answer, s.User)
		if !whole(answer) {
			m.MustTrustNewcomer(t)
		}
		s.moveTo(m)
	default:
		m := s.here.Tell(t, s.User, answer)
		s.moveTo(m)
		switch {
		case after != s.before && !m.Heard(s.User):
			conform.Skip(t, "the homeserver asks neither for keys that it knows nor for erasures")
		case requirement == "MSC4243-QC-16" && !slices.Contains(m.Asked.AskedKeys(), s.Key()):
			conform.Info(t, requirement, "the homeserver does not ask again for a key that it knows; it was told the other name unasked")
		}
	}
}

// hearUnasked has the homeserver be given an answer that speaks of a key for which nobody asks: the
// subject's. One of whom the homeserver has not heard joins afterwards. What it was told decides then, not
// what it is told now: a name was not to be believed, an erasure is final.
func (s *subject) hearUnasked(t *testing.T, answer fakeserver.AccountAnswer, after standing) {
	t.Helper()
	about, members := answer.Unsolicited[0], []*fakeserver.User{s.User}
	about.Name = s.Name()
	answer.Unsolicited = []fakeserver.Unsolicited{about}
	if s.before == unverified {
		members = nil
	}
	s.AnswerWith(about.Answer)
	m := s.here.Meet(t, answer, members...)
	m.MustTrustNewcomer(t)
	s.moveTo(m)
	if about.Answer.Erased && !m.Heard(s.User) {
		conform.Skip(t, "the homeserver asks neither for keys that it knows nor for erasures")
	}
	if s.before == unverified {
		s.AnswerWith(blueprints.Unknown())
		if after == erased {
			s.AnswerWith(fakeserver.AccountAnswer{})
		}
		blueprints.MustSend(conform.Setup(t), s.here.Room, s.User, fakeserver.Membership(s.ID(s.here.Version), "join"))
	}
}

func (s *subject) moveTo(m *blueprints.Meeting) {
	if s.here = m.Room; s.User == m.Fay {
		s.witness = m.Newcomer
	}
}

// judge has the subject say something, and looks whether alice sees it.
func (s *subject) judge(t *testing.T, requirement string, row fakeserver.NamedAnswer, after standing) {
	t.Helper()
	switch {
	case after == verified && s.before == unverified && row.Case == "S2":
		s.mustBeSeen(t, "@alice:"+string(s.Server().Name()))
	case after == verified:
		s.mustBeSeen(t, string(s.NameID()))
	case after == open:
		shown := map[bool]string{true: "shown", false: "hidden"}[s.isSeen(t)]
		conform.Info(t, requirement, "after the answer "+row.Name+" what a user says who was "+string(s.before)+" is "+shown)
	case after == erased && !whole(row.Answer):
		s.mustBeHidden(t, requirement)
		// Only an erased key is not verified by a good answer.
		s.moveTo(s.here.Tell(t, s.User, fakeserver.AccountAnswer{}))
		s.mustBeHidden(t, requirement)
	default:
		s.mustBeHidden(t, requirement)
		if requirement == "MSC4243-SM-07" && s.before == unverified {
			s.here.ConfirmLate(t, s.User) // who would not be seen if they were erased
			s.mustBeSeen(t, string(s.NameID()))
		}
	}
}

// mustBeSeen asserts that what the subject says is shown under a name.
func (s *subject) mustBeSeen(t testing.TB, name string) {
	t.Helper()
	message := blueprints.MustSend(conform.Setup(t), s.here.Room, s.User, fakeserver.Message("do you see me?"))
	must.Field(t, s.here.Alice.MustSee(t, s.here.ID, message.ID()), "sender", name)
}

// mustBeHidden judges whether the subject is hidden.
func (s *subject) mustBeHidden(t testing.TB, requirement string) {
	t.Helper()
	if s.isSeen(t) {
		conform.Violation(t, requirement, "neither the user nor what they say is shown to clients", "clients are shown "+string(s.ID(s.here.Version)))
	}
}

// isSeen has the subject say something, and the witness after them, and looks for the subject in /sync,
// in /messages and in the lists of members. The homeserver must have accepted the message.
func (s *subject) isSeen(t testing.TB) bool {
	t.Helper()
	r, setup := s.here, conform.Setup(t)
	message := blueprints.MustSend(setup, r.Room, s.User, fakeserver.Message("do you see me?"))
	r.FenceBy(t, s.witness)
	r.MustHold(t, message.ID())
	member := r.Room.State("m.room.member", string(s.ID(r.Version)))
	_, joined := r.Alice.JoinedMembers(setup, r.ID).MustOK(setup).Get("joined").Map()[string(s.NameID())]
	// D-18: that history has the message under the key alone, without a domain, is for other tests to judge.
	past := eventIn(list(r.Alice.MustPage(setup, r.ID, "b")), message.ID())
	named := past.Exists() && matrix.UserID(past.Get("sender").Str).Domain() != "invalid"
	return joined || r.Alice.View().Room(r.ID).Has(message.ID()) || named ||
		eventIn(r.Alice.Members(setup, r.ID).MustOK(setup), member.ID()).Exists()
}
