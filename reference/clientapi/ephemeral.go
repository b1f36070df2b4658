package clientapi

import (
	"context"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// ephemeralRoutes are about typing and reading.
func (a *API) ephemeralRoutes() []route {
	return []route{
		authed(http.MethodPut, "/v3/rooms/{roomID}/typing/{userID}", a.putTyping),
		authed(http.MethodPost, "/v3/rooms/{roomID}/receipt/{receiptType}/{eventID}", a.postReceipt),
		authed(http.MethodPost, "/v3/rooms/{roomID}/read_markers", a.readMarkers),
	}
}

// Receipt types.
const (
	receiptRead        = "m.read"
	receiptReadPrivate = "m.read.private"
	fullyRead          = "m.fully_read"
)

// others are the servers of a room but for this one.
func (a *API) others(roomID string) []matrix.ServerName {
	servers, err := a.engine.Servers(roomID)
	if err != nil {
		a.logger.Warn("the servers of a room cannot be found", "room", roomID, "error", err)
	}
	var others []matrix.ServerName
	for _, server := range servers {
		if server != a.server {
			others = append(others, server)
		}
	}
	return others
}

// putTyping answers PUT /rooms/{roomId}/typing/{userId}.
func (a *API) putTyping(c *call) (any, error) {
	var body struct {
		Typing  bool  `json:"typing"`
		Timeout int64 `json:"timeout"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	if !r.isReader(matrix.UserID(c.PathValue("userID"))) {
		return nil, peer.Forbidden("%s is not you", c.PathValue("userID"))
	}
	if !r.joined() {
		return nil, notInRoom(r.roomID)
	}
	lasts := time.Duration(0)
	if body.Typing {
		lasts = 30 * time.Second
		if body.Timeout > 0 {
			lasts = time.Duration(min(body.Timeout, maxTyping.Milliseconds())) * time.Millisecond
		}
	}
	if a.typing.set(r.roomID, r.shownAs, lasts) {
		a.hub.wake(r.roomID)
		// D-20a: EDUs are between users and servers, like end-to-end encryption, and name users by
		// account name, but in rooms with participation, which know their users by no other ID than the
		// room's (D-45).
		a.outbox.SendEDU(a.others(r.roomID), "m.typing", mustJSON(map[string]any{
			"room_id": r.roomID, "user_id": r.namedInEDUs(), "typing": body.Typing,
		}))
	}
	return empty()
}

// postReceipt answers POST /rooms/{roomId}/receipt/{receiptType}/{eventId}.
func (a *API) postReceipt(c *call) (any, error) {
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	if !r.joined() {
		return nil, notInRoom(r.roomID)
	}
	thread := gjson.GetBytes(object, "thread_id").Str
	if err := a.read(r, c.PathValue("receiptType"), c.PathValue("eventID"), thread); err != nil {
		return nil, err
	}
	return empty()
}

// readMarkers answers POST /rooms/{roomId}/read_markers.
func (a *API) readMarkers(c *call) (any, error) {
	object, err := c.object()
	if err != nil {
		return nil, err
	}
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	if !r.joined() {
		return nil, notInRoom(r.roomID)
	}
	markers := gjson.ParseBytes(object)
	for receiptType, path := range map[string]string{
		fullyRead: `m\.fully_read`, receiptRead: `m\.read`, receiptReadPrivate: `m\.read\.private`,
	} {
		if eventID := markers.Get(path).Str; eventID != "" {
			if err := a.read(r, receiptType, eventID, ""); err != nil {
				return nil, err
			}
		}
	}
	return empty()
}

// read notes how far a reader has read, and tells who should know.
func (a *API) read(r *reader, receiptType, eventID, thread string) error {
	user := r.session.User
	switch receiptType {
	case fullyRead:
		content := mustJSON(map[string]string{"event_id": eventID})
		if err := a.users.SetAccountData(user, r.roomID, fullyRead, content); err != nil {
			return err
		}
		a.hub.wake(string(user))
		return nil
	case receiptRead, receiptReadPrivate:
	default:
		return peer.InvalidParam("there is no receipt of the type %q", receiptType)
	}
	if _, err := r.findEvent(eventID); err != nil {
		return err
	}
	receipt := userdb.Receipt{RoomID: r.roomID, User: r.shownAs, Type: receiptType, EventID: eventID, TS: a.nowMillis(), Thread: thread}
	if err := a.users.SetReceipt(receipt); err != nil {
		return err
	}
	if receiptType == receiptReadPrivate {
		a.hub.wake(string(user))
		return nil
	}
	a.hub.wake(r.roomID)
	data := map[string]any{"ts": receipt.TS}
	if thread != "" {
		data["thread_id"] = thread
	}
	// D-20a, as for typing.
	a.outbox.SendEDU(a.others(r.roomID), "m.receipt", mustJSON(map[string]any{
		r.roomID: map[string]any{receiptRead: map[matrix.UserID]any{
			r.namedInEDUs(): map[string]any{"event_ids": []string{eventID}, "data": data},
		}},
	}))
	return nil
}

// eduUser is the account name user ID that an EDU of a room is about. D-20a: it may name the user by
// account name or by account key. It must be of the sending server's domain and joined to the room;
// about a user whom clients must not be told about, they are told nothing.
func (a *API) eduUser(origin matrix.ServerName, roomID, named string) (matrix.UserID, bool) {
	user := matrix.UserID(named)
	info, ok := a.engine.Room(roomID)
	if !ok || !a.engine.AcceptsEDUFrom(roomID, origin) {
		return "", false
	}
	t := a.translator(roomID, info.Version)
	inRoom, ok := t.find(user)
	if !ok {
		inRoom = user
	}
	if t.renames() && (inRoom == user && a.defects.Has("TakeEphemeralEventsByNameOnly") || inRoom != user && a.defects.Has("TakeEphemeralEventsByKeyOnly")) {
		return "", false
	}
	if t.domainOf(user, inRoom) != origin && !a.defects.Has("TakeEphemeralEventsForAnyDomain") &&
		!(info.Version.Identity == matrix.ServerKeyIdentity && a.defects.Has("LetServersTypeForEachOther")) {
		return "", false
	}
	if m, _ := a.engine.Membership(roomID, inRoom); m.Membership != "join" && !a.defects.Has("TakeEphemeralEventsOfOutsiders") {
		return "", false
	}
	if name, ok := t.user(inRoom); !ok || name != inRoom && a.defects.Has("ShowKeysInEphemeralEvents") {
		return inRoom, ok
	}
	return t.user(inRoom)
}

// receiveTyping takes an m.typing EDU.
func (a *API) receiveTyping(origin matrix.ServerName, content gjson.Result) {
	roomID := content.Get("room_id").Str
	user, ok := a.eduUser(origin, roomID, content.Get("user_id").Str)
	if !ok {
		return
	}
	lasts := time.Duration(0)
	if content.Get("typing").Bool() {
		lasts = maxTyping
	}
	if a.typing.set(roomID, user, lasts) {
		a.hub.wake(roomID)
	}
}

// receiveReceipts takes an m.receipt EDU.
func (a *API) receiveReceipts(origin matrix.ServerName, content gjson.Result) (failure error) {
	content.ForEach(func(roomID, types gjson.Result) bool {
		types.Get(`m\.read`).ForEach(func(named, receipt gjson.Result) bool {
			user, ok := a.eduUser(origin, roomID.Str, named.Str)
			if !ok {
				return true
			}
			if user, ok = a.mistakenReceipt(matrix.UserID(named.Str), user); !ok {
				return true
			}
			for _, eventID := range receipt.Get("event_ids").Array() {
				if _, known := a.engine.Event(roomID.Str, eventID.Str); !known {
					continue
				}
				failure = a.users.SetReceipt(userdb.Receipt{
					RoomID: roomID.Str, User: user, Type: receiptRead, EventID: eventID.Str,
					TS: receipt.Get("data.ts").Int(), Thread: receipt.Get("data.thread_id").Str,
				})
				a.hub.wake(roomID.Str)
			}
			return failure == nil
		})
		return failure == nil
	})
	return failure
}

// receiveToDevice takes an m.direct_to_device EDU.
func (a *API) receiveToDevice(origin matrix.ServerName, content gjson.Result) error {
	sender := matrix.UserID(content.Get("sender").Str)
	if sender.Domain() != origin && !a.defects.Has("TakeToDeviceMessagesForAnyDomain") {
		return nil
	}
	messages := map[matrix.UserID]map[string]userdb.ToDevice{}
	content.Get("messages").ForEach(func(user, devices gjson.Result) bool {
		name := matrix.UserID(user.Str)
		if name.Domain() != a.server || !a.users.Exists(name.Localpart()) || a.defects.Has("DropToDeviceMessages") {
			return true
		}
		messages[name] = map[string]userdb.ToDevice{}
		devices.ForEach(func(device, message gjson.Result) bool {
			messages[name][device.Str] = userdb.ToDevice{
				Type: content.Get("type").Str, Sender: sender, Content: []byte(message.Raw),
			}
			return true
		})
		return true
	})
	if err := a.users.ReceiveToDevice(origin, content.Get("message_id").Str, messages); err != nil {
		return err
	}
	for user := range messages {
		a.hub.wake(string(user))
	}
	return nil
}

// EDU takes an EDU from another server. EDUs that are malformed, not the origin's to send, or not
// known are passed over, as the specification asks.
func (a *API) EDU(_ context.Context, origin matrix.ServerName, eduType string, content []byte) error {
	if !gjson.ValidBytes(content) {
		return nil
	}
	edu := gjson.ParseBytes(content)
	switch eduType {
	case "m.typing":
		a.receiveTyping(origin, edu)
	case "m.receipt":
		return a.receiveReceipts(origin, edu)
	case "m.presence":
		a.receivePresence(origin, edu)
	case "m.direct_to_device":
		return a.receiveToDevice(origin, edu)
	case "m.device_list_update", "m.signing_key_update":
		return a.receiveDeviceList(origin, matrix.UserID(edu.Get("user_id").Str))
	}
	return nil
}
