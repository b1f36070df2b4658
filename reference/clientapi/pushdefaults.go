package clientapi

import (
	"encoding/json"

	"countersign/matrix"
)

// defaultRules are the predefined push rules of a user (client-server API, "Predefined Rules").
func defaultRules(user matrix.UserID) *ruleset {
	highlight := map[string]any{"set_tweak": "highlight"}
	sound := map[string]any{"set_tweak": "sound", "value": "default"}
	ring := map[string]any{"set_tweak": "sound", "value": "ring"}
	rule := func(id string, actions []any, conditions ...pushCondition) pushRule {
		return pushRule{RuleID: id, Default: true, Enabled: true, Actions: actions, Conditions: conditions}
	}
	master := rule(".m.rule.master", []any{})
	master.Enabled = false
	name := rule(".m.rule.contains_user_name", []any{"notify", sound, highlight})
	name.Pattern = user.Localpart()
	return &ruleset{
		Override: []pushRule{
			master,
			rule(".m.rule.suppress_notices", []any{}, matches("content.msgtype", "m.notice")),
			rule(".m.rule.invite_for_me", []any{"notify", sound},
				matches("type", "m.room.member"), matches("content.membership", "invite"), matches("state_key", string(user))),
			rule(".m.rule.member_event", []any{}, matches("type", "m.room.member")),
			rule(".m.rule.is_user_mention", []any{"notify", sound, highlight},
				pushCondition{Kind: "event_property_contains", Key: `content.m\.mentions.user_ids`, Value: mustJSON(user)}),
			rule(".m.rule.contains_display_name", []any{"notify", sound, highlight}, pushCondition{Kind: "contains_display_name"}),
			rule(".m.rule.is_room_mention", []any{"notify", highlight},
				pushCondition{Kind: "event_property_is", Key: `content.m\.mentions.room`, Value: json.RawMessage("true")},
				pushCondition{Kind: "sender_notification_permission", Key: "room"}),
			rule(".m.rule.roomnotif", []any{"notify", highlight},
				matches("content.body", "@room"), pushCondition{Kind: "sender_notification_permission", Key: "room"}),
			rule(".m.rule.tombstone", []any{"notify", highlight}, matches("type", "m.room.tombstone"), matches("state_key", "")),
			rule(".m.rule.reaction", []any{}, matches("type", "m.reaction")),
			rule(".m.rule.room.server_acl", []any{}, matches("type", "m.room.server_acl"), matches("state_key", "")),
			rule(".m.rule.suppress_edits", []any{},
				pushCondition{Kind: "event_property_is", Key: `content.m\.relates_to.rel_type`, Value: json.RawMessage(`"m.replace"`)}),
		},
		Content: []pushRule{name},
		Room:    []pushRule{},
		Sender:  []pushRule{},
		Underride: []pushRule{
			rule(".m.rule.call", []any{"notify", ring}, matches("type", "m.call.invite")),
			rule(".m.rule.encrypted_room_one_to_one", []any{"notify", sound},
				pushCondition{Kind: "room_member_count", Is: "2"}, matches("type", "m.room.encrypted")),
			rule(".m.rule.room_one_to_one", []any{"notify", sound},
				pushCondition{Kind: "room_member_count", Is: "2"}, matches("type", "m.room.message")),
			rule(".m.rule.message", []any{"notify"}, matches("type", "m.room.message")),
			rule(".m.rule.encrypted", []any{"notify"}, matches("type", "m.room.encrypted")),
		},
	}
}

// matches is the condition that a property of the event matches a pattern.
func matches(key, pattern string) pushCondition {
	return pushCondition{Kind: "event_match", Key: key, Pattern: &pattern}
}
