package rules

import (
	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// authoriseMember is rule 5.
func (r *Room) authoriseMember(e *matrix.Event, server matrix.ServerName, state State) error {
	stateKey, isState := e.StateKey()
	if !isState {
		return reject("5.1", "the membership event has no state_key")
	}
	if !e.Get("membership").Exists() {
		return reject("5.1", "the membership event has no membership")
	}
	if err := r.checkTargetForm(stateKey); err != nil {
		return err
	}
	authoriser := e.Get("join_authorised_via_users_server")
	if err := r.checkAuthoriserSignature(e, authoriser); err != nil {
		return err
	}
	m := memberCheck{room: r, event: e, server: server, state: state, sender: e.Sender(), target: matrix.UserID(stateKey), authoriser: authoriser}
	switch e.Membership() {
	case "join":
		return m.join()
	case "invite":
		return m.invite()
	case "leave":
		return m.leave()
	case "ban":
		return m.ban()
	case "knock":
		return m.knock()
	}
	return reject("5.8", "unknown membership")
}

// checkAuthoriserSignature is rule 5.2, for every membership. In rooms with account keys it is the
// authoriser's account key that must have signed (MSC4243, "Impacts on restricted rooms"), and in those
// of MSC4345 the authoriser's server key.
func (r *Room) checkAuthoriserSignature(e *matrix.Event, authoriser gjson.Result) error {
	if !authoriser.Exists() {
		return nil
	}
	if !isUserID(r.Version(), authoriser) {
		return reject("5.2.1", "join_authorised_via_users_server is not a user ID")
	}
	if err := r.verify(e, matrix.UserID(authoriser.Str)); err != nil && !r.mistakenAuthoriser(e, authoriser.Str) {
		return reject("5.2.1", "no valid signature on behalf of %s: %v", authoriser.Str, err)
	}
	return nil
}

// memberCheck is one membership event on its way through rules 5.3 to 5.7.
type memberCheck struct {
	room           *Room
	event          *matrix.Event
	server         matrix.ServerName // that sends the event
	state          State
	sender, target matrix.UserID
	authoriser     gjson.Result // content.join_authorised_via_users_server
}

func (m *memberCheck) membership(user matrix.UserID) string { return Membership(m.state, user) }

// authorising is the membership of a user as far as it authorises something.
func (m *memberCheck) authorising(user matrix.UserID) string {
	return m.room.authorising(m.state, user)
}

// checkSenderJoined is what rule asks of the sender of an invite, a kick or a ban.
func (m *memberCheck) checkSenderJoined(rule string) error {
	return m.room.checkJoined(m.event, m.server, m.state, rule)
}

func (m *memberCheck) levels() *PowerLevels { return m.room.PowerLevels(m.state) }

// joinRule is the current join rule. Without one a room is invite-only, as the client-server API has it
// of m.room.join_rules.
func (m *memberCheck) joinRule() string {
	e := m.state.Event(matrix.StateTuple{Type: "m.room.join_rules"})
	if e == nil {
		return "invite"
	}
	rule := e.Get("join_rule")
	switch {
	case !rule.Exists():
		return "invite"
	case rule.Type != gjson.String:
		return "" // no rule that anyone could satisfy
	}
	return rule.Str
}

// join is rule 5.3.
func (m *memberCheck) join() error {
	if m.isFirstJoin() {
		return nil // rule 5.3.1
	}
	if err := m.mistakenRefusalOfMove(); err != nil {
		return err
	}
	if m.sender != m.target && !m.sameAccount() {
		return reject("5.3.2", "the sender joins someone else")
	}
	if m.membership(m.sender) == "ban" && !m.room.defects.Has("LetBannedUsersJoin") && !m.bannedElsewhere() {
		return reject("5.3.3", "the sender is banned")
	}
	current := m.mistakenStanding(m.authorising(m.sender))
	admitted := current == "invite" || current == "join"
	switch rule := m.joinRule(); rule {
	case "invite", "knock": // rule 5.3.4
		if admitted {
			return nil
		}
		if m.room.defects.Has("LetUninvitedUsersJoin") {
			return nil
		}
		return reject("5.3.7", "the join rule is %s, and the sender is not invited", rule)
	case "restricted", "knock_restricted": // rule 5.3.5
		if admitted {
			return nil // rule 5.3.5.1
		}
		return m.restrictedJoin()
	case "public":
		return nil // rule 5.3.6
	}
	return reject("5.3.7", "the join rule lets nobody in")
}

// isFirstJoin is the condition of rule 5.3.1. Room version 12 does not ask here who the sender is.
func (m *memberCheck) isFirstJoin() bool {
	prev := m.event.PrevEvents()
	return len(prev) == 1 && m.followsCreation(prev[0]) && m.target == m.room.create.Sender()
}

// followsCreation reports whether nothing but the creation of the room precedes an event behind prev.
// D-32: with participation, the creator's server's own participation comes between the create event and
// the first join (MSC4345, "Room creation flow").
func (m *memberCheck) followsCreation(prev string) bool {
	if !m.room.Version().HasParticipation() {
		return prev == m.room.create.ID()
	}
	if prev == m.room.create.ID() && m.room.defects.Has("JoinBeforeParticipating") {
		return true
	}
	founding := m.state.Event(matrix.ParticipationPlace(m.server))
	return founding != nil && prev == founding.ID() && m.room.isFounding(founding)
}

// restrictedJoin is rule 5.3.5.2 and 5.3.5.3.
func (m *memberCheck) restrictedJoin() error {
	if !m.authoriser.Exists() {
		return reject("5.3.5.2", "the join is restricted, and nobody has authorised it")
	}
	user := matrix.UserID(m.authoriser.Str)
	if m.authorising(user) != "join" && !m.room.defects.Has("AuthoriserNeedNotBeJoined") {
		return reject("5.3.5.2", "the authoriser %s is not a joined member", user)
	}
	if err := m.checkAuthorisersServer(user); err != nil {
		return err
	}
	if levels := m.levels(); levels.User(user) < levels.Invite() && !m.room.defects.Has("AuthoriserNeedsNoPower") && !m.room.defects.Has("GrantJoinsWithoutPower") {
		return reject("5.3.5.2", "the authoriser %s may not invite", user)
	}
	return nil
}

// invite is rule 5.4.
func (m *memberCheck) invite() error {
	if third := m.event.Get("third_party_invite"); third.Exists() {
		if m.room.defects.Has("ExemptThirdPartyInvites") {
			return nil
		}
		return m.thirdPartyInvite(third)
	}
	if err := m.checkSenderJoined("5.4.2"); err != nil {
		return err
	}
	if current := m.membership(m.target); current == "join" || current == "ban" {
		return reject("5.4.3", "the invited user's membership is %s", current)
	}
	levels := m.levels()
	if levels.User(m.sender) >= levels.Invite() {
		return nil // rule 5.4.4
	}
	return reject("5.4.5", "the inviter's power level is below the invite level %s", levels.Invite())
}

// leave is rule 5.5: leaving, rejecting an invite, retracting a knock, kicking and unbanning.
func (m *memberCheck) leave() error {
	current := m.membership(m.target)
	if m.sender == m.target { // rule 5.5.1
		current = m.authorising(m.target)
		switch current {
		case "invite", "knock":
			return nil
		case "join":
			return m.room.checkBinding(m.sender, m.server, m.state)
		}
		return reject("5.5.1", "the sender leaves with membership %s", current)
	}
	if err := m.checkSenderJoined("5.5.2"); err != nil {
		return err
	}
	levels := m.levels()
	power := m.power()
	if current == "ban" && power < levels.Ban() {
		return reject("5.5.3", "unbanning takes the ban level %s", levels.Ban())
	}
	if power >= levels.Kick() && levels.User(m.target) < power {
		return nil // rule 5.5.4
	}
	if m.room.defects.Has("LetUsersRemoveOthers") {
		return nil
	}
	return reject("5.5.5", "the kicker lacks the kick level %s, or power over the target", levels.Kick())
}

// ban is rule 5.6.
func (m *memberCheck) ban() error {
	if err := m.checkSenderJoined("5.6.1"); err != nil {
		return err
	}
	levels := m.levels()
	power := levels.User(m.sender)
	if power >= levels.Ban() && levels.User(m.target) < power {
		return nil // rule 5.6.2
	}
	if levels.User(m.target) == Infinite && m.room.defects.Has("LetCreatorsBeBanned") {
		return nil
	}
	return reject("5.6.3", "the banner lacks the ban level %s, or power over the target", levels.Ban())
}

// knock is rule 5.7.
func (m *memberCheck) knock() error {
	if rule := m.joinRule(); rule != "knock" && rule != "knock_restricted" && !m.room.defects.Has("LetAnybodyKnock") {
		return reject("5.7.1", "the join rule does not allow knocking")
	}
	if m.sender != m.target {
		return reject("5.7.2", "the sender knocks for someone else")
	}
	switch current := m.membership(m.sender); current {
	case "ban", "invite", "join":
		return reject("5.7.4", "the knocker's membership is %s", current)
	}
	return nil // rule 5.7.3
}
