package msc4243

import (
	"slices"
	"strings"
	"testing"

	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Server-server API, "Device Management": a client hears by account name of a device that another server's
// user has added. An update that names the account key user ID may be taken or not; clients hear of no such
// user.
func TestDeviceUpdates_FromAnotherServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-05")
	r := hosting(t, encrypted())
	setup := conform.Setup(t)
	device := equip(t, r.Peer, r.Fay)
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	for stream, id := range []matrix.UserID{r.Fay.KeyID(), r.Fay.NameID()} {
		must.NoError(setup, "sending m.device_list_update", r.Room.SendEDU(wait.Context(t), "m.device_list_update", map[string]any{
			"user_id": id, "device_id": device.ID, "stream_id": stream + 1, "prev_id": []int{}, "keys": device.Keys(t),
		}))
	}
	ids, err := lists(t, r, since, "changed", r.ClientID(r.Fay))
	if err != nil || slices.Contains(ids, string(r.Fay.KeyID())) {
		conform.Violation(t, "MSC4243-E2EE-05", r.ClientID(r.Fay)+" in device_lists.changed, and no account key user ID", strings.Join(ids, ", "))
	}
}
