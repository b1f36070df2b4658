package rules

import (
	"math"

	"countersign/matrix"
)

// Level is a power level.
type Level int64

// Infinite is the power level of room creators. No integer of canonical JSON reaches it.
const Infinite Level = math.MaxInt64

// PowerLevels answers questions about power in one state of a room. It is immutable.
type PowerLevels struct {
	room *Room
}

// PowerLevels reads the m.room.power_levels event of a state; without one the defaults of the
// client-server API hold (everyone 0, creators infinite, state_default 0).
func (r *Room) PowerLevels(state State) *PowerLevels { return &PowerLevels{room: r} }

// User is a user's power level: Infinite for creators, else the entry in users, else users_default.
func (p *PowerLevels) User(user matrix.UserID) Level { return 0 }

// Required is the level that sending an event of a type takes.
func (p *PowerLevels) Required(eventType string, isState bool) Level { return 0 }

// Invite is the level that inviting takes; default 0.
func (p *PowerLevels) Invite() Level { return 0 }

// Kick is the level that kicking takes; default 50.
func (p *PowerLevels) Kick() Level { return 50 }

// Ban is the level that banning takes; default 50.
func (p *PowerLevels) Ban() Level { return 50 }

// Redact is the level that redacting the events of others takes; default 50.
func (p *PowerLevels) Redact() Level { return 50 }
