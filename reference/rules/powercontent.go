package rules

import (
	"strconv"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// The single levels of a power levels event, in the order in which rules 10.1 and 10.6 name them, and
// the one that MSC4345 adds.
const (
	usersDefault = iota
	eventsDefault
	stateDefault
	banLevel
	redactLevel
	kickLevel
	inviteLevel
	acceptLevel
	namedLevels
)

// levelNames are the properties of the levels above.
var levelNames = [namedLevels]string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite", "accept"}

// levelsOf is how many of the levels a room version has. D-37: the rules on levels apply to accept as to
// the others, although MSC4345 does not add it to them.
func levelsOf(v matrix.RoomVersion) int {
	if v.HasParticipation() {
		return namedLevels
	}
	return acceptLevel
}

// optionalLevel is a property that may be absent.
type optionalLevel struct {
	level   Level
	present bool
}

func (o optionalLevel) or(missing Level) Level {
	if o.present {
		return o.level
	}
	return missing
}

// powerContent is the content of an m.room.power_levels event.
type powerContent struct {
	named                        [namedLevels]optionalLevel
	users, events, notifications map[string]Level
	// malformed is the first of rules 10.1 to 10.3 that the content breaks, or nil. What breaks them
	// counts as absent.
	malformed error
}

// readPowerContent reads a content object of a room version.
func readPowerContent(version matrix.RoomVersion, content []byte) (p powerContent) {
	doc := gjson.ParseBytes(content)
	for i, name := range levelNames[:levelsOf(version)] {
		v := doc.Get(name)
		if !v.Exists() {
			continue
		}
		level, ok := integer(v)
		if !ok {
			p.fail("10.1", "%s is not an integer", name)
			continue
		}
		p.named[i] = optionalLevel{level, true}
	}
	p.events = p.readMap(doc, "events", "10.2", anyKey)
	p.notifications = p.readMap(doc, "notifications", "10.2", anyKey)
	// What the grammar of user IDs accepts. In rooms with account keys too: D-14, an entry that is not an
	// account key is nobody.
	p.users = p.readMap(doc, "users", "10.3", func(key string) bool {
		_, err := version.ParseUserID(key)
		return err == nil
	})
	return p
}

// readMap reads an object whose values are integers.
func (p *powerContent) readMap(doc gjson.Result, name, rule string, validKey func(string) bool) map[string]Level {
	v := doc.Get(name)
	if !v.Exists() {
		return nil
	}
	if !v.IsObject() {
		p.fail(rule, "%s is not an object", name)
		return nil
	}
	levels := make(map[string]Level)
	v.ForEach(func(key, value gjson.Result) bool {
		level, ok := integer(value)
		switch {
		case !ok:
			p.fail(rule, "%s contains something that is not an integer", name)
		case !validKey(key.Str):
			p.fail(rule, "%s contains a key that is not a user ID", name)
		default:
			levels[key.Str] = level
		}
		return true
	})
	return levels
}

func (p *powerContent) fail(rule, format string, args ...any) {
	if p.malformed == nil {
		p.malformed = reject(rule, format, args...)
	}
}

func anyKey(string) bool { return true }

// integer reads a JSON number. Canonical JSON has no others than integers.
func integer(v gjson.Result) (Level, bool) {
	if v.Type != gjson.Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	return Level(n), err == nil
}
