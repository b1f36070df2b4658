package rules

import (
	"countersign/matrix"
)

// authoriseParticipation is rule 1 of "The m.server.participation authorization rule" of MSC4345, by the
// prose of "Participation semantics", which takes precedence over the rules, as it says itself. Rule
// numbers in rejections are those of MSC4345, and defects (D-nn) where the prose decides. server is the
// server that sends the event.
func (r *Room) authoriseParticipation(e *matrix.Event, server matrix.ServerName, state State) error {
	stateKey, isState := e.StateKey()
	if r.takesForParticipation(stateKey) {
		return nil
	}
	if !isState {
		return reject("MSC4345 1", "the participation event has no state_key")
	}
	key, err := matrix.ParseServerKey(stateKey)
	if err != nil {
		mistaken := false
		if key, mistaken = r.mistakenServerKey(stateKey); !mistaken {
			return reject("MSC4345 1", "the state_key of the participation event: %v", err)
		}
	}
	p := participationCheck{room: r, event: e, state: state, server: server, target: key.Name()}
	p.current = participation(state, p.target)
	return p.turned(p.judge())
}

// participationCheck is one participation event on its way through rule 1.
type participationCheck struct {
	room   *Room
	event  *matrix.Event
	state  State
	server matrix.ServerName // that sends the event
	target matrix.ServerName // that the event is about
	// current is the target's participation in state.
	current matrix.Participation
}

// judge is rule 1 for an event that says which server it is about.
func (p *participationCheck) judge() error {
	if p.server == p.target { // rule 1.1
		return p.bySubject()
	}
	if err := p.checkDecider(); err != nil {
		return err
	}
	return p.decide()
}

// participation is a server's participation in a state, empty when the state says nothing of it.
func participation(state State, server matrix.ServerName) matrix.Participation {
	if e := state.Event(matrix.ParticipationPlace(server)); e != nil {
		return e.Participation()
	}
	return ""
}

// bySubject is rule 1.1: the key that the event is about has signed it. The sender may be anybody, in
// the room or not (MSC4345, "Situations where m.server.participation is sent on behalf of the server").
func (p *participationCheck) bySubject() error {
	next := p.event.Participation()
	switch {
	case p.current == "":
		return p.introduce(next)
	case next == matrix.Revoked && p.current != matrix.Revoked:
		return nil // rule 1.1.2
	}
	return reject("MSC4345 1.1.3", "the server goes from %q to %q by itself", p.current, next)
}

// introduce is rule 1.1.1: the first participation event about a server.
func (p *participationCheck) introduce(next matrix.Participation) error {
	if next == matrix.Accepted && p.room.IsCreator(p.event.Sender()) {
		return p.checkFoundersSignature() // rule 1.1.1.1
	}
	if next != matrix.Requested {
		return reject("MSC4345 1.1.1.2", "a server that has not requested becomes %q", next)
	}
	via := p.event.RequestAuthorisedVia()
	if got := participation(p.state, via); got != matrix.Accepted {
		return reject("MSC4345 1.1.1.3", "the participation of the authorising server %q is %q, not accepted", via, got)
	}
	if err := p.room.verifyServer(p.event, via); err != nil {
		return reject("MSC4345 1.1.1.4", "the authorising server has not signed: %v", err)
	}
	return requestIsAuthorised()
}

// requestIsAuthorised is rule 1.1.1.5. D-32a: read literally it rejects, so that no server could ever
// request; "Requested participation" says that a co-signed request can be authorised.
func requestIsAuthorised() error { return nil }

// checkFoundersSignature is D-53: in rooms of MSC4348 the create event, whose sender names no server, is
// co-signed by the server that its sender brings in without a request. Another creator's server has not
// signed it.
func (p *participationCheck) checkFoundersSignature() error {
	create := p.room.create
	if !p.room.Version().HasPortableAccounts() || p.event.Sender() != create.Sender() {
		return nil
	}
	if err := p.room.verifyServer(create, p.target); err != nil {
		return reject("MSC4345 1.1.1.1", "the server of the room's creator has not signed the create event (D-53): %v", err)
	}
	return nil
}

// checkDecider is D-32f: rule 1 returns before rule 2 and asks for no membership, but who decides about
// other servers is joined, through an accepted server ("Servers MUST accept or revoke their own
// participation before emitting any events").
func (p *participationCheck) checkDecider() error {
	if err := checkParticipates(p.server, p.state); err != nil {
		return err
	}
	return p.room.checkJoined(p.event, p.server, p.state, "MSC4345 D-32f")
}

// decide is rules 1.2 to 1.4: who may decide about other servers decides about one.
func (p *participationCheck) decide() error {
	switch next := p.event.Participation(); next {
	case matrix.Revoked:
		return p.revoke() // rule 1.2
	case matrix.Accepted:
		return p.accept() // rule 1.3
	default:
		return reject("MSC4345 1.4", "a server other than the subject sets the participation to %q", next)
	}
}

// revoke is rule 1.2, the revocation of another server.
func (p *participationCheck) revoke() error {
	if isFinal(p.current) {
		return reject("MSC4345 1.2.1", "the server has been revoked already, which is final")
	}
	if !isIntroduced(p.current) {
		return reject("MSC4345 D-32d", "the server has not requested to participate")
	}
	levels := p.room.PowerLevels(p.state)
	power := levels.User(p.event.Sender())
	if power < levels.Accept() {
		return reject("MSC4345 1.2.2", "revoking takes the accept level %s, the sender has %s", levels.Accept(), power)
	}
	if implicit := p.room.ImplicitPower(p.target, p.state); !outranks(power, implicit) {
		return reject("MSC4345 D-32c", "the server's implicit power level is %s, not less than the sender's %s", implicit, power)
	}
	return nil
}

// isFinal is rule 1.2.1. D-32b: read literally it forbids to revoke a server that has only requested,
// because the request came from its subject. The prose lets the participation of any server be revoked;
// what is final is a revocation, whoever has sent it.
func isFinal(current matrix.Participation) bool { return current == matrix.Revoked }

// isIntroduced is D-32d: rules 1.2 and 1.3 would decide about a server that has never requested.
// "Requested participation" says that a server is always introduced by itself, and the diagram shows no
// other way.
func isIntroduced(current matrix.Participation) bool { return current != "" }

// outranks is D-32c: to revoke a server takes more power than the server has, as "Revoked participation"
// says. Rule 1.2.2 lets equal power do.
func outranks(power, implicit Level) bool { return power > implicit }

// accept is rule 1.3.
func (p *participationCheck) accept() error {
	if p.current == matrix.Accepted {
		return reject("MSC4345 1.3.1", "the server is accepted already")
	}
	if isFinal(p.current) {
		return reject("MSC4345 1.3.2", "the server has been revoked, which is final")
	}
	if !isIntroduced(p.current) {
		return reject("MSC4345 D-32d", "the server has not requested to participate")
	}
	if err := p.checkSameDomain(); err != nil {
		return err
	}
	levels := p.room.PowerLevels(p.state)
	if power := levels.User(p.event.Sender()); power < levels.Accept() {
		return reject("MSC4345 1.3.3", "accepting takes the accept level %s, the sender has %s", levels.Accept(), power)
	}
	return nil
}

// checkSameDomain is D-32e: accepting does not change the domain that the server has requested with.
// "Accepted participation" says that the rules enforce it, but none does.
func (p *participationCheck) checkSameDomain() error {
	requested := p.state.Event(matrix.ParticipationPlace(p.target))
	before, after := requested.Get("unverified_domain").Raw, p.event.Get("unverified_domain").Raw
	if before != after {
		return reject("MSC4345 D-32e", "unverified_domain is not what the server has requested with")
	}
	return nil
}

// checkParticipates is rule 2: the server that sends the event is accepted. In rooms of MSC4348 that is
// the one that co-signs ("Proposal": under the terms of MSC4345).
func checkParticipates(server matrix.ServerName, state State) error {
	if got := participation(state, server); got != matrix.Accepted {
		return reject("MSC4345 2", "the participation of the sending server %s is %q, not accepted", server, got)
	}
	return nil
}
