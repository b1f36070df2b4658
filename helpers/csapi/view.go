package csapi

import (
	"github.com/tidwall/gjson"
)

// View is what a client has been told by /sync since it began, put together.
type View struct {
	rooms map[string]*RoomView
	// ToDevice holds the to-device messages, in the order in which they came.
	ToDevice []gjson.Result
	// AccountData holds the newest account data of each type.
	AccountData map[string]gjson.Result
	// DevicesChanged holds the users whose devices were said to have changed.
	DevicesChanged map[string]bool
}

// RoomView is what a client has been told about one room.
type RoomView struct {
	// Section is the section of /sync that the room was last in: join, invite, knock or leave;
	// empty when it has been in none.
	Section string
	// Timeline holds the timeline events, in the order in which they came, each once.
	Timeline []gjson.Result
	// Gap is set when a timeline was limited: events are missing before some that came.
	Gap bool
	// Stripped holds the stripped state that came with an invite or was kept for a knock.
	Stripped []gjson.Result
	// Ephemeral holds the typing and receipt events, in the order in which they came.
	Ephemeral []gjson.Result
	// AccountData holds the newest account data of each type.
	AccountData map[string]gjson.Result

	state map[stateKey]gjson.Result
	seen  map[string]int
}

type stateKey struct{ eventType, key string }

func newView() *View {
	return &View{rooms: map[string]*RoomView{}, AccountData: map[string]gjson.Result{}, DevicesChanged: map[string]bool{}}
}

func newRoomView() *RoomView {
	return &RoomView{AccountData: map[string]gjson.Result{}, state: map[stateKey]gjson.Result{}, seen: map[string]int{}}
}

// Room returns what is known about a room. It is never nil.
func (v *View) Room(roomID string) *RoomView {
	if room := v.rooms[roomID]; room != nil {
		return room
	}
	return newRoomView()
}

// Event returns a timeline event, which is an absent value when it was not seen.
func (r *RoomView) Event(eventID string) gjson.Result {
	if i, ok := r.seen[eventID]; ok {
		return r.Timeline[i]
	}
	return gjson.Result{}
}

// Has reports whether the event was seen in the timeline.
func (r *RoomView) Has(eventID string) bool {
	_, ok := r.seen[eventID]
	return ok
}

// State returns the state event for a type and a state key, as the client would show it now. It is
// an absent value when there is none.
func (r *RoomView) State(eventType, key string) gjson.Result {
	return r.state[stateKey{eventType, key}]
}

// Membership returns the membership of a user as the room's state has it; empty when it has none.
func (r *RoomView) Membership(userID string) string {
	return r.State("m.room.member", userID).Get("content.membership").Str
}

// StrippedMembership returns the membership of a user in the stripped state of an invite or knock.
func (r *RoomView) StrippedMembership(userID string) string {
	for _, event := range r.Stripped {
		if event.Get("type").Str == "m.room.member" && event.Get("state_key").Str == userID {
			return event.Get("content.membership").Str
		}
	}
	return ""
}

// absorb adds one answer of /sync.
func (v *View) absorb(answer gjson.Result) {
	for _, section := range []string{"join", "invite", "knock", "leave"} {
		answer.Get("rooms." + section).ForEach(func(roomID, data gjson.Result) bool {
			room := v.rooms[roomID.Str]
			if room == nil {
				room = newRoomView()
				v.rooms[roomID.Str] = room
			}
			room.absorb(section, data)
			return true
		})
	}
	v.ToDevice = append(v.ToDevice, answer.Get("to_device.events").Array()...)
	keepNewest(v.AccountData, answer.Get("account_data.events"))
	for _, user := range answer.Get("device_lists.changed").Array() {
		v.DevicesChanged[user.Str] = true
	}
}

func keepNewest(into map[string]gjson.Result, events gjson.Result) {
	for _, event := range events.Array() {
		into[event.Get("type").Str] = event
	}
}

func (r *RoomView) absorb(section string, data gjson.Result) {
	r.Section = section
	if stripped := data.Get(section + "_state.events"); stripped.Exists() {
		r.Stripped = stripped.Array()
	}
	if data.Get("timeline.limited").Bool() {
		r.Gap = true
	}
	// With state_after, the state at the end of the timeline comes on its own and the timeline
	// says nothing about it; without, the state comes before the timeline, which changes it.
	after := StateAfter(data)
	if !after.Exists() {
		r.setState(data.Get("state.events"))
		r.setState(data.Get("timeline.events"))
	}
	for _, event := range data.Get("timeline.events").Array() {
		id := event.Get("event_id").Str
		if _, ok := r.seen[id]; !ok {
			r.seen[id] = len(r.Timeline)
			r.Timeline = append(r.Timeline, event)
		}
	}
	r.setState(after.Get("events"))
	r.Ephemeral = append(r.Ephemeral, data.Get("ephemeral.events").Array()...)
	keepNewest(r.AccountData, data.Get("account_data.events"))
}

// StateAfter is the state at the end of the timeline in what /sync says about a room, under either name
// that it has had (MSC4222). It is an absent value when the server did not say it.
func StateAfter(room gjson.Result) gjson.Result {
	if after := room.Get("state_after"); after.Exists() {
		return after
	}
	return room.Get(`org\.matrix\.msc4222\.state_after`)
}

func (r *RoomView) setState(events gjson.Result) {
	for _, event := range events.Array() {
		if key := event.Get("state_key"); key.Exists() {
			r.state[stateKey{event.Get("type").Str, key.Str}] = event
		}
	}
}
