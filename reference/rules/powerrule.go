package rules

import (
	"countersign/matrix"
	"countersign/reference/defect"
)

// authorisePowerLevels is rule 10. current are the power levels of the state; the sender is joined and
// may send the event type.
func (r *Room) authorisePowerLevels(e *matrix.Event, current *PowerLevels) error {
	next := readPowerContent(r.Version(), e.Content())
	if next.malformed != nil {
		return next.malformed // rules 10.1 to 10.3
	}
	for creator := range r.creators { // rule 10.4
		if _, ok := next.users[string(creator)]; ok && !r.defects.Has("LetCreatorsBeListed") {
			return reject("10.4", "users contains a creator, whose power cannot be set")
		}
	}
	if current.event == nil {
		return nil // rule 10.5
	}
	c := powerChange{power: current.User(e.Sender()), sender: string(e.Sender()), defects: r.defects, before: &current.content, after: &next}
	for _, check := range []func() error{c.namedLevels, c.eventsAndNotifications, c.users} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil // rule 10.11
}

// powerChange is a change of power levels by a sender.
type powerChange struct {
	power         Level
	sender        string
	defects       defect.Set
	before, after *powerContent
}

// namedLevels is rule 10.6.
func (c *powerChange) namedLevels() error {
	for i, name := range levelNames {
		before, after := c.before.named[i], c.after.named[i]
		if before == after || name == "accept" && c.defects.Has("LetAcceptBeSetFreely") {
			continue
		}
		if before.present && before.level > c.power {
			return reject("10.6.1", "%s is %s, above the sender's power level %s", name, before.level, c.power)
		}
		if after.present && after.level > c.power {
			return reject("10.6.2", "%s becomes %s, above the sender's power level %s", name, after.level, c.power)
		}
	}
	return nil
}

// eventsAndNotifications is rules 10.7 and 10.8.
func (c *powerChange) eventsAndNotifications() error {
	for _, m := range []struct {
		name          string
		before, after map[string]Level
	}{
		{"events", c.before.events, c.after.events},
		{"notifications", c.before.notifications, c.after.notifications},
	} {
		for key, level := range m.before {
			if changedOrRemoved(key, level, m.after) && level > c.power {
				return reject("10.7.1", "the entry of %q in %s is %s, above the sender's power level %s", key, m.name, level, c.power)
			}
		}
		for key, level := range m.after {
			if addedOrChanged(key, level, m.before) && level > c.power {
				return reject("10.8.1", "the entry of %q in %s becomes %s, above the sender's power level %s", key, m.name, level, c.power)
			}
		}
	}
	return nil
}

// users is rules 10.9 and 10.10. Only rule 10.9 spares the sender's own entry, so that users can give
// up power but not gain it.
func (c *powerChange) users() error {
	for user, level := range c.before.users {
		if user != c.sender && changedOrRemoved(user, level, c.after.users) && level >= c.power {
			return reject("10.9.1", "%s has power level %s, not less than the sender's %s", user, level, c.power)
		}
	}
	for user, level := range c.after.users {
		if addedOrChanged(user, level, c.before.users) && level > c.power && !(user == c.sender && c.defects.Has("LetUsersRaiseThemselves")) {
			return reject("10.10.1", "%s would get power level %s, above the sender's %s", user, level, c.power)
		}
	}
	return nil
}

func changedOrRemoved(key string, before Level, after map[string]Level) bool {
	level, ok := after[key]
	return !ok || level != before
}

func addedOrChanged(key string, after Level, before map[string]Level) bool {
	level, ok := before[key]
	return !ok || level != after
}
