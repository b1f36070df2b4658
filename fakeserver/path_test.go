package fakeserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// Every forgery of the table takes every path, or is refused with a reason.
func TestEveryForgeryTakesEveryPath(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	w := newWorld(t)
	fs, hs := w.server(t), w.server(t)
	bob, alice := user(t, fs, "bob"), user(t, hs, "alice")
	for _, row := range fakeserver.Forgeries() {
		if row.Name == "account-key-in-place-of-the-server-key" {
			continue
		}
		for _, path := range fakeserver.DeliveryPaths {
			d := s.draft(v, row.On)
			switch row.On {
			case fakeserver.AnyEvent:
				d = fakeserver.State("m.room.topic", "", map[string]any{"topic": "x", "body": "x"})
			case fakeserver.CreateEvent:
				d = fakeserver.State("m.room.create", "", map[string]any{"room_version": v.ID})
			}
			if reason := path.Refuses(row.Forgery, d); reason != "" {
				require.Regexp(t, `^[a-z].*[a-z]$`, reason)
				continue
			}
			forged, err := s.of.Forge(s.bob, d, row.Forgery)
			require.NoError(t, err, row.Name)
			var seen []fakeserver.PDU
			if path.Needs == fakeserver.Nothing {
				require.NoError(t, path.Deliver(ctx(t), s.of, s.hs.Name(), forged), "%s by %s", row.Name, path)
				seen = s.hs.PDUs()
			} else {
				room, err := fs.CreateRoom(bob, fakeserver.RoomOptions{Version: v})
				require.NoError(t, err)
				require.NoError(t, path.Deliver(ctx(t), room, "", forged), "%s by %s", row.Name, path)
				_, err = hs.JoinRoom(ctx(t), fs.Name(), room.ID(), alice)
				require.NoError(t, err, "%s by %s", row.Name, path)
				seen = hs.PDUs()
			}
			arrived := false
			for _, pdu := range seen {
				arrived = arrived || string(pdu.Raw) == string(forged.PDU)
			}
			require.True(t, arrived, "%s by %s", row.Name, path)
			require.True(t, gjson.ValidBytes(forged.PDU), row.Name)
		}
	}
}
