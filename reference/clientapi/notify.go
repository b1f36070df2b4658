package clientapi

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// notifier decides by a user's push rules which events of a room concern the user. Rules see events
// as clients do: users in them are account name user IDs (CS-20).
type notifier struct {
	*reader
	rules *ruleset
	state room.State
	// members counts the joined users, when a rule asks for it.
	members     func() int
	displayName string
}

func (r *reader) notifier(s room.State) (*notifier, error) {
	rules, err := r.api.rules(r.session.User)
	if err != nil {
		return nil, err
	}
	n := &notifier{reader: r, rules: rules, state: s}
	n.members = sync.OnceValue(func() int { return len(r.joinedUsers(s)) })
	if e := r.stateEvent(s, memberPlace(r.self)); e != nil {
		n.displayName = e.Get("displayname").Str
	}
	return n, nil
}

// judge reports whether an event notifies the user, and whether it is highlighted.
func (n *notifier) judge(e shownEvent) (notifies, highlights bool) {
	for _, action := range n.actions(e) {
		switch action := action.(type) {
		case string:
			notifies = notifies || action == "notify"
		case map[string]any:
			value, given := action["value"]
			highlights = highlights || action["set_tweak"] == "highlight" && (!given || value == true)
		}
	}
	return notifies, notifies && highlights
}

// actions are what the first rule that an event matches has done; none for the user's own events.
func (n *notifier) actions(e shownEvent) []any {
	if n.isReader(e.shown.Sender) && !(n.renames() && n.defects.Has("NotifyOfOwnEvents")) {
		return nil
	}
	if rule := n.firstMatch(e, gjson.ParseBytes(mustJSON(e.shown))); rule != nil {
		return rule.Actions
	}
	return nil
}

func (n *notifier) firstMatch(e shownEvent, event gjson.Result) *pushRule {
	find := func(rules []pushRule, applies func(pushRule) bool) *pushRule {
		for i := range rules {
			if rules[i].Enabled && applies(rules[i]) {
				return &rules[i]
			}
		}
		return nil
	}
	conditional := func(rule pushRule) bool {
		for _, condition := range rule.Conditions {
			if !n.holds(condition, e, event) {
				return false
			}
		}
		return true
	}
	for _, found := range []*pushRule{
		find(n.rules.Override, conditional),
		find(n.rules.Content, func(rule pushRule) bool { return matchesWords(rule.Pattern, event.Get("content.body").Str) }),
		find(n.rules.Room, func(rule pushRule) bool { return rule.RuleID == n.roomID }),
		find(n.rules.Sender, func(rule pushRule) bool {
			if n.renames() && n.defects.Has("ApplyPushRulesToKeys") {
				return rule.RuleID == string(e.Sender())
			}
			return e.shown.isBy(matrix.UserID(rule.RuleID))
		}),
		find(n.rules.Underride, conditional),
	} {
		if found != nil {
			return found
		}
	}
	return nil
}

// holds reports whether a condition holds for an event; unknown ones never do.
func (n *notifier) holds(c pushCondition, e shownEvent, event gjson.Result) bool {
	switch c.Kind {
	case "event_match":
		property := event.Get(c.Key)
		if c.Pattern == nil || property.Type != gjson.String {
			return false
		}
		if c.Key == "content.body" {
			return matchesWords(*c.Pattern, property.Str)
		}
		return matchesGlob(n.meaning(*c.Pattern), property.Str)
	case "event_property_is":
		return sameValue(event.Get(c.Key), c.Value)
	case "event_property_contains":
		for _, element := range event.Get(c.Key).Array() {
			if sameValue(element, c.Value) || element.Type == gjson.String && sameValue(element, n.meant(c.Value)) {
				return true
			}
		}
		return false
	case "contains_display_name":
		return n.displayName != "" && matchesWords(escapeGlob(n.displayName), event.Get("content.body").Str)
	case "room_member_count":
		return matchesCount(c.Is, n.members())
	case "sender_notification_permission":
		return n.mayNotify(e.Sender(), c.Key)
	}
	return false
}

// meaning is what a pattern means in the room: the predefined rules name the user by account name, events of
// rooms with participation by the room's ID (D-45).
func (n *notifier) meaning(pattern string) string {
	if pattern == string(n.session.User) {
		return string(n.shownAs)
	}
	return pattern
}

// meant is meaning for a value in JSON.
func (n *notifier) meant(value json.RawMessage) json.RawMessage {
	return mustJSON(n.meaning(gjson.ParseBytes(value).Str))
}

// mayNotify reports whether a user, as the room names users, has the power level for a kind of
// notification.
func (n *notifier) mayNotify(user matrix.UserID, kind string) bool {
	needed := int64(50)
	if levels := n.stateEvent(n.state, matrix.StateTuple{Type: "m.room.power_levels"}); levels != nil {
		if level, ok := levels.Get("notifications").Map()[kind]; ok {
			needed = level.Int()
		}
	}
	return n.powerOf(n.state, user) >= needed
}

func sameValue(value gjson.Result, wanted json.RawMessage) bool {
	w := gjson.ParseBytes(wanted)
	if value.IsObject() || value.IsArray() || !value.Exists() {
		return false
	}
	return value.Type == w.Type && value.Value() == w.Value()
}

// matchesCount reports whether a number is as a room_member_count condition says: a number with "==",
// "<", ">", ">=" or "<=" before it, or none.
func matchesCount(is string, count int) bool {
	digits := strings.TrimLeft(is, "=<>")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return false
	}
	switch is[:len(is)-len(digits)] {
	case "", "==":
		return count == n
	case "<":
		return count < n
	case ">":
		return count > n
	case "<=":
		return count <= n
	case ">=":
		return count >= n
	}
	return false
}

// matchesGlob reports whether a glob matches a whole text. Nearly all of the predefined patterns are plain
// text, and a rule is tried on every event.
func matchesGlob(glob, text string) bool {
	if !strings.ContainsAny(glob, "*?") {
		return strings.EqualFold(glob, text)
	}
	return globExpression(glob, `(?is)^`, `$`).MatchString(text)
}

// matchesWords reports whether a text contains what a glob matches, at the boundaries of words.
func matchesWords(glob, text string) bool {
	if glob == "" {
		return false
	}
	if !strings.ContainsAny(glob, "*?") && !strings.Contains(strings.ToLower(text), strings.ToLower(glob)) {
		return false // as nearly always, and cheaper to find out than to make the expression
	}
	return globExpression(glob, `(?is)(^|\W)`, `(\W|$)`).MatchString(text)
}

// escapeGlob is a glob that matches exactly a text, as far as globs can: they have no escapes, so that
// the wild cards stand for any one character.
func escapeGlob(text string) string { return strings.ReplaceAll(text, "*", "?") }

// globExpression is a regular expression for a glob, in which "*" stands for any text and "?" for any
// one character.
func globExpression(glob, before, after string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(glob)
	quoted = strings.ReplaceAll(quoted, `\*`, ".*?")
	quoted = strings.ReplaceAll(quoted, `\?`, ".")
	return regexp.MustCompile(before + quoted + after)
}

// unread is what a user has not read of a room.
type unread struct {
	Notifications int `json:"notification_count"`
	Highlights    int `json:"highlight_count"`
}

// maxUnread is how many events are looked at to count what is unread.
const maxUnread = 200

// unreadCounts counts what notifies the reader after the reader's receipt, or after the reader's join.
func (r *reader) unreadCounts(s room.State) (u unread, err error) {
	readUpTo, err := r.readUpTo()
	if err != nil {
		return u, err
	}
	n, err := r.notifier(s)
	if err != nil {
		return u, err
	}
	from, err := r.startOf("", true)
	if err != nil {
		return u, err
	}
	hidden := 0
	p, err := r.read(reading{from: from, backwards: true, limit: maxUnread, show: r.glance, to: func(e room.Stored) bool {
		if readUpTo.Before(e.Place) && r.notifiesOfHidden(e) {
			hidden++
		}
		// Whoever speaks has read what came before.
		return !readUpTo.Before(e.Place) || e.Sender() == r.self && !(r.renames() && r.defects.Has("NotifyOfOwnEvents"))
	}})
	if err != nil {
		return u, err
	}
	u.Notifications = hidden
	for _, e := range p.events {
		notifies, highlights := n.judge(e)
		u.Notifications += boolInt(notifies)
		u.Highlights += boolInt(highlights)
	}
	return u, nil
}

// readUpTo is the place of the newest event that the reader has read: by receipt, or else the reader's
// join.
func (r *reader) readUpTo() (room.Place, error) {
	upTo := room.Place{Major: r.own.Position}
	receipts, err := r.api.users.ReceiptsOf(r.roomID, r.shownAs)
	if err != nil {
		return upTo, err
	}
	for _, receipt := range receipts {
		if receipt.Thread != "" && receipt.Thread != "main" {
			continue
		}
		if e, ok := r.api.engine.Event(r.roomID, receipt.EventID); ok && upTo.Before(e.Place) {
			upTo = e.Place
		}
	}
	return upTo, nil
}
