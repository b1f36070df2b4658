package clientapi

import (
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/defect"
)

// names maps the users of rooms to those that clients know and back. *account.Directory implements it.
type names interface {
	// ClientUser is the account name user ID of a user of a room; ok is false for users that
	// clients must not be told about.
	ClientUser(v matrix.RoomVersion, user matrix.UserID) (name matrix.UserID, ok bool)
	// RoomUser is the user of a room that an account name user ID stands for.
	RoomUser(v matrix.RoomVersion, user matrix.UserID) (matrix.UserID, error)
	// Erased reports whether a user of a room has been erased.
	Erased(user matrix.UserID) bool
	// KeyUserIDs are all verified account key user IDs of an account name user ID.
	KeyUserIDs(user matrix.UserID) []matrix.UserID
}

// translator turns events of one room into what clients are shown, and what clients write into what
// the room is given. In rooms without account keys both are the same.
type translator struct {
	names   names
	version matrix.RoomVersion
	// exists reports whether a local account has a name.
	exists func(localpart string) bool
	server matrix.ServerName
	// membership is a room user's membership, empty when there is none. It chooses between the
	// several keys of one name.
	membership func(matrix.UserID) string
	// company is set for rooms with participation.
	company company
	defects defect.Set
	// lax is set where a mutant shows hidden messages; see mistakes.go.
	lax bool
	// history is set where what is shown is not sent down /sync.
	history bool
}

// user is a room's user as clients know it; ok is false when clients must not be told. D-45: in rooms with
// participation clients know users as the room does, and nobody is hidden (KEYQ-08).
func (t *translator) user(user matrix.UserID) (matrix.UserID, bool) {
	if !t.renames() {
		return user, true
	}
	name, ok := t.names.ClientUser(t.version, user)
	if ok && name.Domain() == t.server && !t.exists(name.Localpart()) && t.defects.Has("HideClosedAccounts") {
		return name, false
	}
	if !ok && t.defects.Has("CallUnverifiedUsersByTheirKeys") {
		return user, true
	}
	return name, ok
}

// visible reports whether clients may be shown an event. Events of senders who are unverified or
// erased are hidden, state events as well as messages (MSC4243, "Server behaviour"). D-18: this holds
// for every endpoint, not for /sync alone, and also for the create event and other events that a room
// can hardly be shown without; nothing is shown with a masked sender.
func (t *translator) visible(e *matrix.Event) bool {
	if _, ok := t.user(e.Sender()); !ok {
		return t.showsHidden(e)
	}
	_, ok := t.stateKey(e)
	return ok || t.defects.Has("ShowStateAboutHiddenUsers")
}

// stateKey is an event's state key as clients see it, nil when it has none. D-18(e): when it names a
// user whom clients must not be told about, there is no name to show and ok is false.
func (t *translator) stateKey(e *matrix.Event) (key *string, ok bool) {
	text, isState := e.StateKey()
	if !isState {
		return nil, true
	}
	if len(text) > 0 && text[0] == '@' && t.renames() {
		user, ok := t.user(matrix.UserID(text))
		if !ok {
			return &text, false
		}
		if e.Type() != "m.room.member" && t.defects.Has("ShowKeysInStateKeys") {
			return &text, true
		}
		text = string(user)
	}
	return &text, true
}

// event is an event as clients see it, nil when it is hidden from them.
func (t *translator) event(e *matrix.Event, around surroundings) *clientEvent {
	shown := t.stripped(e)
	if shown == nil {
		return nil
	}
	shown.EventID = e.ID()
	shown.RoomID = e.RoomID()
	shown.OriginServerTS = e.OriginServerTS()
	if e.Type() == "m.room.redaction" {
		shown.Redacts = e.Get("redacts").Str
	}
	from := provenance{}
	if shown.Unsigned != nil {
		from = shown.Unsigned.provenance
	}
	shown.Unsigned = t.unsigned(e, around)
	shown.Unsigned.provenance = from
	return shown
}

// stripped is an event in the format of stripped state, nil when it is hidden.
func (t *translator) stripped(e *matrix.Event) *clientEvent {
	if !t.visible(e) {
		return nil
	}
	sender := t.shownSender(e)
	key, _ := t.stateKey(e)
	shown := &clientEvent{Type: e.Type(), Sender: sender, StateKey: key, Content: t.contentOut(e)}
	shown.name, _ = t.knownAs(sender)
	if t.renames() && t.defects.Has("AddSenderAccountToStrippedState") {
		shown.Unsigned = &unsigned{SenderAccount: t.senderAccount(e)}
	}
	if t.company != nil {
		p := t.provenance(e)
		if t.hidesProvenance(e, p) {
			return nil
		}
		if p != (provenance{}) {
			shown.Unsigned = &unsigned{provenance: p}
		}
	}
	return shown
}

// unsigned is what this server has to say about an event.
func (t *translator) unsigned(e *matrix.Event, around surroundings) *unsigned {
	u := &unsigned{
		Membership: around.membership, TransactionID: around.transactionID, Relations: around.relations,
		SenderAccount: t.senderAccount(e),
	}
	if t.defects.Has("AddFieldsToUnsigned") {
		u.Extra = true
	}
	if around.nowMillis > 0 {
		age := max(0, around.nowMillis-e.OriginServerTS())
		u.Age = &age
	}
	if before := around.replaced; before != nil && !t.defects.Has("LeavePreviousContentOut") && (t.visible(before) || t.defects.Has("ShowHiddenPreviousContent")) {
		u.PrevContent = t.contentOut(before)
		if t.renames() && t.defects.Has("LeakKeysInPreviousContent") {
			u.PrevContent = before.Content()
		}
		u.PrevSender, _ = t.user(before.Sender())
		u.ReplacesState = before.ID()
	}
	if around.redaction != nil {
		// A redaction by a hidden user still redacts; who did it is not shown.
		u.RedactedBecause = t.event(around.redaction, surroundings{nowMillis: around.nowMillis})
		if u.RedactedBecause != nil && t.renames() && t.defects.Has("LeakKeysInRedactedBecause") {
			u.RedactedBecause.Sender = around.redaction.Sender()
		}
	}
	return u
}

// senderAccount is unsigned.sender_account of an event, nil in rooms other than those of MSC4243 ("Gradual
// compatibility").
func (t *translator) senderAccount(e *matrix.Event) *senderAccount {
	if !t.renames() {
		if t.version.Identity == matrix.ServerIdentity && t.defects.Has("NameSendersInOtherVersions") {
			return &senderAccount{Key: e.Sender().Localpart(), UserID: e.Sender()}
		}
		return nil
	}
	name, ok := t.user(e.Sender())
	if !ok {
		name = ""
	}
	switch {
	case t.defects.Has("LeaveSenderAccountOut"):
		return nil
	case t.defects.Has("LeaveTheNameOutOfSenderAccount"):
		name = ""
	case t.defects.Has("TellWholeUserIDsAsKeys"):
		return &senderAccount{Key: string(e.Sender()), UserID: name}
	}
	if sent := gjson.GetBytes(e.Unsigned(), "sender_account"); sent.Exists() && t.defects.Has("TrustInboundUnsigned") {
		return &senderAccount{Key: sent.Get("key").Str, UserID: matrix.UserID(sent.Get("user_id").Str)}
	}
	return &senderAccount{Key: e.Sender().Localpart(), UserID: name}
}

// contentOut is an event's content with users as clients know them. Content that is free in form (the
// body of a message, mentions) is not touched: what is in there is the sender's business (D-20).
func (t *translator) contentOut(e *matrix.Event) json.RawMessage {
	if !t.renames() {
		return t.mistakenContent(e)
	}
	switch e.Type() {
	case "m.room.create":
		return t.createOut(e.Content())
	case "m.room.member":
		return t.memberOut(e.Content())
	case "m.room.power_levels":
		return t.powerLevelsOut(e.Content())
	}
	return e.Content()
}

// createOut translates additional_creators. Creators whom clients must not be told about are left out.
func (t *translator) createOut(content []byte) json.RawMessage {
	creators := gjson.GetBytes(content, "additional_creators")
	if !creators.IsArray() || t.defects.Has("ShowKeysOfCreators") {
		return content
	}
	shown := []matrix.UserID{}
	for _, creator := range creators.Array() {
		if name, ok := t.user(matrix.UserID(creator.Str)); ok && !slices.Contains(shown, name) {
			shown = append(shown, name)
		}
	}
	return with(content, "additional_creators", shown)
}

// memberOut translates the users that the content of a membership names.
func (t *translator) memberOut(content []byte) json.RawMessage {
	for _, path := range []string{"join_authorised_via_users_server", "third_party_invite.signed.mxid"} {
		named := gjson.GetBytes(content, path)
		if !named.Exists() {
			continue
		}
		if _, _, err := matrix.ParseAccountKeyUserID(named.Str); err != nil {
			continue // not a user of the room; nothing to hide
		}
		if t.defects.Has("ShowKeysOfAuthorisers") {
			continue
		}
		if name, ok := t.user(matrix.UserID(named.Str)); ok {
			content = with(content, path, name)
		} else {
			content = without(content, path)
		}
	}
	return content
}

// powerLevelsOut translates the keys of users. Entries for users whom clients must not be told about
// are left out; powerLevelsIn puts them back when a client writes what it has read (D-18(d)). A name
// with several keys (D-19) is shown with the highest of their levels.
func (t *translator) powerLevelsOut(content []byte) json.RawMessage {
	users := gjson.GetBytes(content, "users")
	if !users.IsObject() || t.defects.Has("ShowKeysInPowerLevels") {
		return content
	}
	shown := map[matrix.UserID]json.RawMessage{}
	users.ForEach(func(key, level gjson.Result) bool {
		name, ok := t.user(matrix.UserID(key.Str))
		if !ok {
			return true
		}
		if known, taken := shown[name]; !taken || level.Int() > gjson.ParseBytes(known).Int() {
			shown[name] = json.RawMessage(level.Raw)
		}
		return true
	})
	return with(content, "users", shown)
}
