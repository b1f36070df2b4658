package msc4345

import (
	"fmt"

	"countersign/matrix"
)

// standing is what a room says of a server. Who has revoked it matters to the rules as they are written
// down, and not to the prose.
type standing struct {
	participation matrix.Participation
	byItself      bool
}

// String is the standing in words, fit for a test name.
func (s standing) String() string {
	switch {
	case s.participation == "":
		return "unknown"
	case s.participation == matrix.Revoked && s.byItself:
		return "revoked-by-itself"
	}
	return string(s.participation)
}

// standings are all that a server can have.
func standings() []standing {
	return []standing{
		{}, {matrix.Requested, true}, {matrix.Accepted, false}, {matrix.Revoked, false}, {matrix.Revoked, true},
	}
}

// words are what participation events say: the three that there are, and one that there is not.
func words() []matrix.Participation {
	return []matrix.Participation{matrix.Requested, matrix.Accepted, matrix.Revoked, "invited"}
}

// acceptLevel is the accept level of the rooms of these tests, which is the default ("The accept top level
// m.room.power_levels content property"), and creatorLevel is more than anybody else's.
const (
	acceptLevel  = 100
	creatorLevel = 1 << 20
)

// author is who sends a participation event: somebody of the server that it is about, or a joined user of
// another, accepted server.
type author struct {
	name string
	// itself: the event is sent through the server that it is about, by anybody.
	itself bool
	// level is the sender's power level, and subject the highest one of the server that the event is
	// about (its implicit power level).
	level, subject int
}

// authors are the relations of power that make a difference.
func authors() []author {
	return []author{
		{name: "itself", itself: true},
		{name: "a-creator", level: creatorLevel},
		{name: "an-admin", level: 100},
		{name: "an-equal", level: 100, subject: 100},
		{name: "a-lesser", level: 100, subject: 150},
		{name: "a-moderator", level: 99},
	}
}

// move is one event about the participation of a server.
type move struct {
	from   standing
	to     matrix.Participation
	author author
}

// String is the move in words.
func (m move) String() string { return fmt.Sprintf("%s to %s by %s", m.from, m.to, m.author.name) }

// ruling is what a text makes of a move: whether it is allowed, and the requirement that says so.
type ruling struct {
	allowed     bool
	requirement string
}

// prose is what "Participation semantics" makes of a move. It "takes precedence" over the rules.
func (m move) prose() ruling {
	if m.author.itself {
		return m.proseOfItself()
	}
	switch m.to {
	case matrix.Accepted:
		return m.proseOfAccepting()
	case matrix.Revoked:
		return m.proseOfRevoking()
	case matrix.Requested:
		return ruling{false, "MSC4345-FORGE-08"} // "only the controller of the keypair"
	}
	return ruling{false, "MSC4345-PART-02"}
}

func (m move) proseOfItself() ruling {
	switch {
	case m.from.participation == "":
		if m.to == matrix.Requested {
			return ruling{true, "MSC4345-AUTH-04"}
		}
		return ruling{false, "MSC4345-AUTH-02"}
	case m.to == matrix.Revoked && m.from.participation != matrix.Revoked:
		return ruling{true, "MSC4345-AUTH-05"} // "can revoke their own key at any time"
	}
	return ruling{false, "MSC4345-AUTH-06"}
}

func (m move) proseOfAccepting() ruling {
	switch {
	case m.from.participation == matrix.Accepted:
		return ruling{false, "MSC4345-AUTH-12"}
	case m.from.participation == matrix.Revoked:
		return ruling{false, "MSC4345-AUTH-13"} // "must rejoin the room with a new keypair"
	case m.author.level < acceptLevel:
		return ruling{false, "MSC4345-AUTH-14"}
	case m.from.participation == "":
		return ruling{false, "MSC4345-AUTH-15"} // requested "always" comes first
	}
	return ruling{true, "MSC4345-AUTH-14"}
}

func (m move) proseOfRevoking() ruling {
	switch {
	case m.author.level < acceptLevel:
		return ruling{false, "MSC4345-AUTH-11"}
	case m.from.participation == matrix.Revoked:
		return ruling{false, "MSC4345-AUTH-25"}
	case m.from.participation == "":
		return ruling{false, "MSC4345-AUTH-15"}
	case m.author.level == m.author.subject:
		return ruling{false, "MSC4345-AUTH-09"} // "has less implicit power level"
	case m.author.level < m.author.subject && m.from.participation == matrix.Requested:
		return ruling{false, "MSC4345-AUTH-28"} // D-41: nobody of that server can be in the room yet
	case m.author.level < m.author.subject:
		return ruling{false, "MSC4345-AUTH-10"}
	case m.from.participation == matrix.Requested:
		return ruling{true, "MSC4345-AUTH-08"}
	}
	return ruling{true, "MSC4345-AUTH-07"}
}

// literal is what "The m.server.participation authorization rule" makes of a move as it is written down.
// Where it differs from the prose, which of the two a homeserver follows is recorded (D-32). The last step
// of rule 1.1.1, by which no server could ever request, is taken to allow.
func (m move) literal() bool {
	if m.author.itself { // rule 1.1
		if m.from.participation == "" {
			return m.to == matrix.Requested
		}
		return m.to == matrix.Revoked && m.from.participation != matrix.Revoked
	}
	switch m.to {
	case matrix.Revoked: // rule 1.2
		return m.from.participation != matrix.Requested && !m.from.byItself && m.author.level >= max(acceptLevel, m.author.subject)
	case matrix.Accepted: // rule 1.3
		return m.from.participation != matrix.Accepted && m.from.participation != matrix.Revoked && m.author.level >= acceptLevel
	}
	return false
}

// after is the standing of the server when a move was allowed.
func (m move) after() standing { return standing{m.to, m.author.itself} }

// disputed reports whether the prose and the rules make different things of the move.
func (m move) disputed() bool { return m.prose().allowed != m.literal() }
