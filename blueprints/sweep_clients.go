package blueprints

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/helpers/csapi"
	"countersign/matrix"
)

// keyUserID finds what may be an account key user ID in a text.
var keyUserID = regexp.MustCompile(`@[A-Za-z0-9_-]{43}:[A-Za-z0-9.\[\]:-]+`)

// sweepResponse judges one answer of the client-server API. In all of it, no user ID may contain an
// account key: clients are shown account names (MSC4243, "Server behaviour"). Every event of a room
// with account keys must say in unsigned.sender_account which key and which name sent it ("Gradual
// compatibility"), and no event of another room may.
//
// What a client or another server wrote into an event of its own accord is not the server's to
// change, and is not looked at: the body of a message, a display name, state of unknown types.
func (k *knowledge) sweepResponse(r *csapi.Response) []departure {
	body := r.JSON()
	w := &walk{k: k, r: r, path: []string{}}
	if path, err := url.PathUnescape(r.Target); err == nil {
		w.said = path
	}
	w.said += string(r.RequestBody)
	room := roomOfTarget(r.Target)
	switch eventType := stateTypeOfTarget(r.Target); {
	case r.Status != http.StatusOK:
		// The text of an error is for people, and whom it names is the server's choice.
	case eventType != "" && r.Method == http.MethodGet && !isEvent(body):
		w.content(eventType, body, room)
	default:
		w.value(body, room)
	}
	return w.found
}

// walk is one walk through an answer.
type walk struct {
	k     *knowledge
	r     *csapi.Response
	said  string   // what the client itself said in the request, which may be echoed
	path  []string // where in the answer the walk is
	found []departure
}

func (w *walk) depart(requirement, expected, format string, args ...any) {
	where := fmt.Sprintf("%s %s, at %s: ", w.r.Method, w.r.Target, strings.Join(w.path, "."))
	w.found = append(w.found, departure{requirement, expected, where + fmt.Sprintf(format, args...)})
}

// in walks into a member of an object, or an element of an array, by whatever step is.
func (w *walk) in(name string, step func()) {
	w.path = append(w.path, name)
	step()
	w.path = w.path[:len(w.path)-1]
}

func (w *walk) value(v gjson.Result, room string) {
	switch {
	case v.Type == gjson.String:
		w.text(v.Str, room)
	case v.IsArray():
		i := 0
		v.ForEach(func(_, element gjson.Result) bool {
			w.in(strconv.Itoa(i), func() { w.value(element, room) })
			i++
			return true
		})
	case isEvent(v):
		w.event(v, room)
	case v.IsObject():
		if id := v.Get("room_id"); id.Type == gjson.String {
			room = id.Str
		}
		v.ForEach(func(key, member gjson.Result) bool {
			w.in(key.Str, func() {
				w.text(key.Str, room)
				w.value(member, roomUnder(key, room))
			})
			return true
		})
	}
}

// isEvent reports whether a JSON value is an event that a user sent.
func isEvent(v gjson.Result) bool {
	return v.IsObject() && v.Get("type").Type == gjson.String && v.Get("sender").Type == gjson.String && v.Get("content").IsObject()
}

func (w *walk) event(v gjson.Result, room string) {
	if id := v.Get("room_id"); id.Type == gjson.String {
		room = id.Str
	}
	eventType := v.Get("type").Str
	v.ForEach(func(key, member gjson.Result) bool {
		w.in(key.Str, func() {
			switch key.Str {
			case "content":
				w.content(eventType, member, room)
			case "unsigned":
				w.unsigned(eventType, member, room)
			default:
				w.value(member, room)
			}
		})
		return true
	})
	version, known := w.k.versions[room]
	account := v.Get("unsigned.sender_account")
	switch {
	case !known:
	case version.HasParticipation():
		w.serverDomain(version, v)
	case version.HasAccountKeys():
		w.senderAccount(v)
	case account.Exists():
		w.depart("MSC4243-CS-31", "no sender_account in rooms without account keys", "%s", account.Raw)
	}
}

// content looks at the places where an event's content identifies users.
func (w *walk) content(eventType string, content gjson.Result, room string) {
	for _, id := range identities(eventType, content) {
		w.text(id, room)
	}
}

func (w *walk) unsigned(eventType string, unsigned gjson.Result, room string) {
	unsigned.ForEach(func(key, member gjson.Result) bool {
		w.in(key.Str, func() {
			if key.Str == "prev_content" {
				w.content(eventType, member, room)
				return
			}
			w.value(member, room)
		})
		return true
	})
}

// identities are the user IDs in an event's content by which the rules of a room identify users.
func identities(eventType string, content gjson.Result) (ids []string) {
	add := func(v gjson.Result) {
		if v.Type == gjson.String {
			ids = append(ids, v.Str)
		}
	}
	switch eventType {
	case "m.room.power_levels":
		content.Get("users").ForEach(func(user, _ gjson.Result) bool { add(user); return true })
	case "m.room.create":
		for _, user := range content.Get("additional_creators").Array() {
			add(user)
		}
	case "m.room.member":
		add(content.Get("join_authorised_via_users_server"))
	}
	return ids
}

// text looks for account key user IDs in a text that the server wrote.
func (w *walk) text(text, room string) {
	for _, id := range keyUserID.FindAllString(text, -1) {
		user := matrix.UserID(strings.TrimRight(id, ":."))
		if _, err := user.AccountKey(); err != nil || w.k.names[user] || strings.Contains(w.said, string(user)) {
			continue
		}
		if user.Domain() == "invalid" {
			continue // the domain that the proposal suggests for users of whom nobody knows the server
		}
		if version, ok := w.k.versions[room]; ok && !version.HasAccountKeys() {
			w.depart("MSC4243-RV-02", "account name user IDs in rooms without account keys", "%s", user)
			continue
		}
		w.depart("MSC4243-VIS-04", "no account key user ID in anything that a client is sent", "%s", user)
	}
}

// senderAccount judges unsigned.sender_account of an event of a room with account keys. Stripped
// state has no event ID and no unsigned, and other state may come without unsigned.
func (w *walk) senderAccount(v gjson.Result) {
	eventID := v.Get("event_id").Str
	if eventID == "" || w.stripped() || v.Get("state_key").Exists() && !v.Get("unsigned").Exists() {
		return
	}
	sender, account := v.Get("sender").Str, v.Get("unsigned.sender_account")
	key := account.Get("key")
	const rightKey = "unsigned.sender_account.key is the account key of the event's sender"
	switch inDAG, known := w.k.senders[eventID]; {
	case key.Type != gjson.String:
		w.depart("MSC4243-CS-03", rightKey, "%s by %s has unsigned %s", eventID, sender, orNothing(v.Get("unsigned")))
		return
	case known && inDAG.Localpart() != key.Str:
		w.depart("MSC4243-CS-03", rightKey, "%s was sent by %s and has the key %q", eventID, inDAG, key.Str)
	case !isAccountKey(key.Str):
		w.depart("MSC4243-CS-03", rightKey, "%s by %s has the key %q, which is none", eventID, sender, key.Str)
	}
	id := account.Get("user_id")
	if matrix.UserID(sender).Domain() == "invalid" {
		// A sender of whom no name is known, and who is shown all the same (D-18, D-83).
		if id.Exists() {
			w.depart("MSC4243-CS-05", "no unsigned.sender_account.user_id of a sender who is not verified", "%s by %s has the user_id %s", eventID, sender, id.Raw)
		}
		return
	}
	if id.Str != sender || id.Type != gjson.String {
		w.depart("MSC4243-CS-04", "unsigned.sender_account.user_id is the account name user ID of the sender",
			"%s by %s has the user_id %s", eventID, sender, orNothing(id))
	}
}

// stripped reports whether the walk is in the stripped state of an invite or knock.
func (w *walk) stripped() bool {
	for _, name := range w.path {
		if name == "invite_state" || name == "knock_state" || name == "invite_room_state" || name == "knock_room_state" {
			return true
		}
	}
	return false
}

func isAccountKey(text string) bool {
	_, err := matrix.ParseAccountKey(text)
	return err == nil
}

func orNothing(v gjson.Result) string {
	if !v.Exists() {
		return "(nothing)"
	}
	return v.Raw
}

// roomUnder is the room that a member of an object belongs to: objects that hold something per room
// are keyed by room IDs.
func roomUnder(key gjson.Result, room string) string {
	if strings.HasPrefix(key.Str, "!") {
		return key.Str
	}
	return room
}

// segmentsOfTarget are the unescaped segments of a request's path.
func segmentsOfTarget(target string) []string {
	path, _, _ := strings.Cut(target, "?")
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if text, err := url.PathUnescape(segment); err == nil {
			segments[i] = text
		}
	}
	return segments
}

// roomOfTarget is the room that a request's path names, if any.
func roomOfTarget(target string) string {
	segments := segmentsOfTarget(target)
	for i, segment := range segments[:len(segments)-1] {
		if segment == "rooms" {
			return segments[i+1]
		}
	}
	return ""
}

// stateTypeOfTarget is the event type of a request for one piece of a room's state, the answer to
// which is its content.
func stateTypeOfTarget(target string) string {
	segments := segmentsOfTarget(target)
	for i, segment := range segments {
		if segment == "rooms" && i+3 < len(segments) && segments[i+2] == "state" {
			return segments[i+3]
		}
	}
	return ""
}
