package fakeserver

import (
	"net/http"

	"github.com/tidwall/gjson"
)

// PushURL is where this server takes notifications, as a push gateway does (push gateway API).
func (s *Server) PushURL() string { return "https://" + string(s.name) + "/_matrix/push/v1/notify" }

// servePush accepts every notification; they are in the transcript.
func (s *Server) servePush(*Inquiry) Answer {
	return JSON(http.StatusOK, map[string]any{"rejected": []string{}})
}

// Notifications are the notifications that this server was sent as a push gateway.
func (s *Server) Notifications() (all []gjson.Result) {
	for _, e := range s.Transcript().Exchanges(Is(OpPush)) {
		all = append(all, gjson.GetBytes(e.RequestBody, "notification"))
	}
	return all
}
