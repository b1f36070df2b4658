package clientapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// maxToDeviceBody bounds how many devices one request sends to.
const maxToDeviceBody = 1000

// sendToDevice answers PUT /sendToDevice/{eventType}/{txnId}.
func (a *API) sendToDevice(c *call) (any, error) {
	var body struct {
		Messages map[matrix.UserID]map[string]json.RawMessage `json:"messages"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.Messages == nil {
		return nil, missingParam("messages")
	}
	count := 0
	for _, devices := range body.Messages {
		count += len(devices)
	}
	if count > maxToDeviceBody {
		return nil, peer.Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the request is for more than %d devices", maxToDeviceBody)
	}
	eventType := c.PathValue("type")
	remote := byServer(body.Messages)
	for user, devices := range remote[a.server] {
		for device, content := range devices {
			message := userdb.ToDevice{Type: eventType, Sender: c.user(), Content: content}
			if err := a.users.SendToDevice(user, device, message); err != nil {
				return nil, err
			}
		}
		a.hub.wake(string(user))
	}
	delete(remote, a.server)
	messageID := sha256.Sum256([]byte(string(c.user()) + "\x00" + c.session.DeviceID + "\x00" + c.PathValue("txnID")))
	for server, messages := range remote {
		a.outbox.SendEDU([]matrix.ServerName{server}, "m.direct_to_device", mustJSON(map[string]any{
			"sender": c.user(), "type": eventType, "messages": messages,
			"message_id": hex.EncodeToString(messageID[:16]), // at most 32 characters
		}))
	}
	return empty()
}
