package rules

import (
	"math"
	"strconv"

	"countersign/matrix"
)

// Level is a power level.
type Level int64

// Infinite is the power level of room creators. No integer of canonical JSON reaches it.
const Infinite Level = math.MaxInt64

// String is the number, or "infinite".
func (l Level) String() string {
	if l == Infinite {
		return "infinite"
	}
	return strconv.FormatInt(int64(l), 10)
}

// PowerLevels answers questions about power in one state of a room. It is immutable.
type PowerLevels struct {
	room    *Room
	event   *matrix.Event // nil when the room has no power levels event
	content powerContent
}

// PowerLevels reads the m.room.power_levels event of a state. Without one, and for whatever the event
// does not mention, the defaults of the client-server API hold.
func (r *Room) PowerLevels(state State) *PowerLevels {
	return r.ReadPowerLevels(state.Event(matrix.StateTuple{Type: "m.room.power_levels"}))
}

// ReadPowerLevels reads one m.room.power_levels event; nil stands for a room without one.
func (r *Room) ReadPowerLevels(e *matrix.Event) *PowerLevels {
	if last := r.levels.Load(); last != nil && last.event == e {
		return last
	}
	p := &PowerLevels{room: r, event: e}
	if e != nil {
		p.content = readPowerContent(r.Version(), e.Content())
	}
	r.levels.Store(p)
	return p
}

// User is a user's power level: Infinite for creators, else the entry in users, else users_default.
func (p *PowerLevels) User(user matrix.UserID) Level {
	if p.room.IsCreator(user) && !p.room.lowlyCreator(user) {
		return Infinite
	}
	if level, ok := p.content.users[string(user)]; ok {
		return level
	}
	return p.content.named[usersDefault].or(0)
}

// Required is the level that sending an event of a type takes. It is not asked about membership events
// and third party invites, which have rules of their own.
func (p *PowerLevels) Required(eventType string, isState bool) Level {
	if level, ok := p.content.events[eventType]; ok {
		return level
	}
	if isState {
		return p.content.named[stateDefault].or(50)
	}
	return p.content.named[eventsDefault].or(0)
}

// Invite is the invite level.
func (p *PowerLevels) Invite() Level { return p.content.named[inviteLevel].or(0) }

// Kick is the kick level.
func (p *PowerLevels) Kick() Level { return p.content.named[kickLevel].or(50) }

// Ban is the ban level.
func (p *PowerLevels) Ban() Level { return p.content.named[banLevel].or(50) }

// Redact is the redact level: what redacting the events of others takes.
func (p *PowerLevels) Redact() Level { return p.content.named[redactLevel].or(50) }

// Accept is the accept level: what deciding about the participation of servers takes (MSC4345, "The
// accept top level m.room.power_levels content property").
func (p *PowerLevels) Accept() Level {
	if p.forgetsAccept() {
		return 100
	}
	return p.content.named[acceptLevel].or(p.mistakenAccept(100))
}

// Notification is the level that triggering a notification such as "room" takes.
func (p *PowerLevels) Notification(key string) Level {
	if level, ok := p.content.notifications[key]; ok {
		return level
	}
	return 50
}
