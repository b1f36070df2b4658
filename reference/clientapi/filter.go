package clientapi

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Bounds of the limits that filters ask for.
const (
	defaultLimit = 10
	maxLimit     = 1000
)

// filter is a filter of the client-server API. Users in it are users as clients know them; it is
// applied to events after their translation.
type filter struct {
	AccountData eventFilter `json:"account_data"`
	Presence    eventFilter `json:"presence"`
	Room        roomFilter  `json:"room"`
}

// roomFilter is the part of a filter that is about rooms.
type roomFilter struct {
	Rooms        *[]string   `json:"rooms"`
	NotRooms     []string    `json:"not_rooms"`
	IncludeLeave bool        `json:"include_leave"`
	AccountData  eventFilter `json:"account_data"`
	Ephemeral    eventFilter `json:"ephemeral"`
	State        eventFilter `json:"state"`
	Timeline     eventFilter `json:"timeline"`
}

// eventFilter chooses events.
type eventFilter struct {
	Limit           *int             `json:"limit"`
	Types           *[]string        `json:"types"`
	NotTypes        []string         `json:"not_types"`
	Senders         *[]matrix.UserID `json:"senders"`
	NotSenders      []matrix.UserID  `json:"not_senders"`
	Rooms           *[]string        `json:"rooms"`
	NotRooms        []string         `json:"not_rooms"`
	ContainsURL     *bool            `json:"contains_url"`
	LazyLoadMembers bool             `json:"lazy_load_members"`
}

// parseFilter reads a filter object.
func parseFilter(raw []byte) (f filter, err error) {
	if !json.Valid(raw) {
		return f, peer.InvalidParam("the filter is not JSON")
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, peer.InvalidParam("the filter has the wrong shape: %v", err)
	}
	return f, nil
}

// parseEventFilter reads a filter for events of one room; an empty text lets everything through.
func parseEventFilter(text string) (f eventFilter, err error) {
	if text == "" {
		return f, nil
	}
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return f, peer.InvalidParam("the filter has the wrong shape: %v", err)
	}
	return f, nil
}

// limit is how many events the filter lets through at once.
func (f *eventFilter) limit() int {
	if f.Limit == nil {
		return defaultLimit
	}
	return max(0, min(*f.Limit, maxLimit))
}

// wants reports whether the filter lets an event through.
func (f *eventFilter) wants(e *clientEvent) bool {
	if !f.wantsType(e.Type) || !f.wantsRoom(e.RoomID) || !f.wantsSender(e.Sender, e.name) {
		return false
	}
	if f.ContainsURL != nil && gjson.GetBytes(e.Content, "url").Exists() != *f.ContainsURL {
		return false
	}
	return true
}

// wantsSender reports whether the filter lets a sender through, who may be known by several IDs.
func (f *eventFilter) wantsSender(known ...matrix.UserID) bool {
	isKnown := func(user matrix.UserID) bool { return slices.Contains(known, user) }
	return (f.Senders == nil || slices.ContainsFunc(*f.Senders, isKnown)) && !slices.ContainsFunc(f.NotSenders, isKnown)
}

func (f *eventFilter) wantsType(eventType string) bool {
	matches := func(pattern string) bool { return matchesWildcard(pattern, eventType) }
	return (f.Types == nil || slices.ContainsFunc(*f.Types, matches)) && !slices.ContainsFunc(f.NotTypes, matches)
}

func (f *eventFilter) wantsRoom(roomID string) bool { return wantsRoom(f.Rooms, f.NotRooms, roomID) }

func (f *roomFilter) wantsRoom(roomID string) bool { return wantsRoom(f.Rooms, f.NotRooms, roomID) }

func wantsRoom(rooms *[]string, notRooms []string, roomID string) bool {
	return (rooms == nil || slices.Contains(*rooms, roomID)) && !slices.Contains(notRooms, roomID)
}

// matchesWildcard reports whether text matches a pattern in which "*" stands for any text.
func matchesWildcard(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}
