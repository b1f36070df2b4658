package clientapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// showsHidden reports whether a mutant shows an event whose sender clients must not be told about.
func (t *translator) showsHidden(e *matrix.Event) bool {
	if t.masks(e) {
		return true
	}
	if _, isState := e.StateKey(); isState {
		return t.defects.Has("ShowHiddenState")
	}
	if t.lax {
		return true
	}
	return t.defects.Has("ShowHiddenMessages")
}

// shownSender is the sender of an event as clients see it.
func (t *translator) shownSender(e *matrix.Event) matrix.UserID {
	sender, ok := t.user(e.Sender())
	switch {
	case !ok && (t.masks(e) || t.lax):
		return matrix.UserID("@" + e.Sender().Localpart() + ":invalid")
	case !ok:
		return e.Sender() // only a mutant shows it
	case t.renames() && t.defects.Has("ShowKeysAsSenders"):
		return e.Sender()
	}
	return sender
}

// listsHidden are the memberships that a mutant lists although clients must not be told about them.
func (r *reader) listsHidden(e room.Stored) bool {
	return !r.visible(e.Event) && e.Type() == "m.room.member" && r.defects.Has("ListHiddenMembers")
}

// mistakenHero is a hero of a room by the ID that a mutant tells.
func (r *reader) mistakenHero(name matrix.UserID) matrix.UserID {
	if user, ok := r.find(name); ok && user != name && r.defects.Has("NameHeroesByKey") {
		return user
	}
	return name
}

// hiddenReferences are the references to an event that a mutant counts although their senders are hidden.
func (r *reader) hiddenReferences(e room.Stored) (found []map[string]string) {
	children, err := r.api.relations.children(r.roomID, e.ID())
	if err != nil {
		return nil
	}
	for _, child := range children {
		hidden, ok := r.api.engine.Event(r.roomID, child.eventID)
		if ok && !r.visible(hidden.Event) && r.defects.Has("AggregateHiddenEvents") {
			found = append(found, map[string]string{"event_id": child.eventID})
		}
	}
	return found
}

// notifiesOfHidden reports whether a mutant counts an event as unread that clients are not shown.
func (r *reader) notifiesOfHidden(e room.Stored) bool {
	return !r.visible(e.Event) && e.Type() == "m.room.message" && r.defects.Has("CountHiddenEvents")
}

// mistakenServer is the server that a mutant takes for the one which an event came into the room through.
func (t *translator) mistakenServer(e *matrix.Event, honest room.Participant) room.Participant {
	if !t.version.HasPortableAccounts() {
		return honest
	}
	if now, ok := t.company.ServerOfUser(e.Sender()); ok && now.Key != honest.Key && t.defects.Has("ShowTheLatestDomain") {
		return now
	}
	return honest
}

// mistakenProvenance is what clients are told of where an event comes from.
func (t *translator) mistakenProvenance(e *matrix.Event, server room.Participant, honest provenance) provenance {
	p := honest
	if claimed := e.Unsigned(); claimed != nil && (t.defects.Has("TrustInboundServerDomain") || t.defects.Has("TrustInboundAccount") || t.defects.Has("TrustUnsignedOfFetchedEvents")) {
		if domain := gjson.GetBytes(claimed, "server_domain").Str; domain != "" {
			p.ServerDomain = matrix.ServerName(domain)
		}
		if name := gjson.GetBytes(claimed, "account").Str; name != "" {
			p.Account = name
		}
	}
	switch {
	case p.ServerDomain == "" && server.UnverifiedDomain != "" && t.defects.Has("ShowUnverifiedDomains"):
		p.ServerDomain = server.UnverifiedDomain
	case p.Account != "" && t.defects.Has("ShowUserIDsForAccounts"):
		p.Account = "@" + p.Account + ":" + string(p.ServerDomain)
	}
	return p
}

// hidesProvenance reports whether a mutant hides an event for where it comes from.
func (t *translator) hidesProvenance(e *matrix.Event, p provenance) bool {
	switch {
	case e.IsParticipation() || e.IsCreate():
		return false
	case p.ServerDomain == "" && !t.version.HasPortableAccounts() && t.defects.Has("HideEventsOfUnverifiedServers"):
		return true
	case !t.version.HasPortableAccounts():
		return false
	}
	server, ok := t.company.ServerOf(e)
	revoked := ok && server.Participation == matrix.Revoked // whose users were shown before
	return p.Account == "" && !revoked && e.Type() == "m.room.message" && t.defects.Has("HideNamelessAccounts") ||
		revoked && t.defects.Has("DropThePastOfRevokedServers")
}

// mistakenContent is the content of an event that needs no translation.
func (t *translator) mistakenContent(e *matrix.Event) json.RawMessage {
	if !e.IsParticipation() || !gjson.GetBytes(e.Content(), "unverified_domain").Exists() || !t.defects.Has("RedactDomains") || e.HashOK() {
		return e.Content()
	}
	content, err := sjson.DeleteBytes(e.Content(), "unverified_domain")
	if err != nil {
		return e.Content()
	}
	return content
}

// hashedAsShown is an event with the ID that it would have if it were what clients are shown.
func hashedAsShown(e *clientEvent) *clientEvent {
	other := *e
	sum := sha256.Sum256([]byte(string(e.Sender) + string(e.Content)))
	other.EventID = "$" + base64.RawURLEncoding.EncodeToString(sum[:])
	return &other
}

// mistakenAccountData is what a client has stored about a room, with users as the room names them where it says
// nothing but who they are.
func (a *API) mistakenAccountData(roomID string, content json.RawMessage) json.RawMessage {
	info, ok := a.engine.Room(roomID)
	if !ok || !a.defects.Has("TranslateAccountData") {
		return content
	}
	t := a.translator(info.ID, info.Version)
	gjson.ParseBytes(content).ForEach(func(key, value gjson.Result) bool {
		if user, ok := t.find(matrix.UserID(value.Str)); ok && value.Type == gjson.String {
			if changed, err := sjson.SetBytes(content, gjson.Escape(key.Str), user); err == nil {
				content = changed
			}
		}
		return true
	})
	return content
}
