package blueprints

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"countersign/fakeserver"
	"countersign/helpers/csapi"
)

func TestOverview(t *testing.T) {
	n := &names{short: map[string]string{}}
	n.add("hs1", "one.example")
	n.add("fake1", "localhost:1234")
	assert.Equal(t, "overview\nhs1 = one.example\nfake1 = localhost:1234\n", n.String())

	for want, got := range map[string]string{
		"@alice -> hs1         POST /register                                401 M_UNAUTHORIZED": n.ofClient(&csapi.Response{
			Server: "one.example", Method: "POST", Target: "/_matrix/client/v3/register", RequestBody: []byte(`{"username":"alice-abc"}`),
			Status: 401, Body: []byte(`{"errcode":"M_UNAUTHORIZED"}`),
		}),
		"@alice -> hs1         PUT /rooms/!roomroo…/send/m.room.message      no answer": n.ofClient(&csapi.Response{
			Server: "one.example", User: "@alice-abc:one.example", Method: "PUT", Err: errors.New("hung"),
			Target: "/_matrix/client/v3/rooms/%21roomroomroomroomroomroomroomroom/send/m.room.message/t1?x=1", RequestBody: []byte(`{"type":"x"}`),
		}),
		"hs1 -> fake1          PUT /send m.room.member (join), m.room.message  200": n.ofPeer("localhost:1234", fakeserver.Exchange{
			Direction: fakeserver.Inbound, Peer: "one.example", Method: "PUT", URI: "/_matrix/federation/v1/send/t7", Status: 200,
			RequestBody: []byte(`{"pdus":[{"type":"m.room.member","sender":"@a:b","content":{"membership":"join"}},{"type":"m.room.message","sender":"@a:b"}]}`),
		}),
		"hs1 -> fake1          PUT /send …participation (accepted)           200": n.ofPeer("localhost:1234", fakeserver.Exchange{
			Direction: fakeserver.Inbound, Peer: "one.example", Method: "PUT", URI: "/_matrix/federation/v1/send/t8", Status: 200,
			RequestBody: []byte(`{"pdus":[{"type":"org.matrix.msc4345.participation","sender":"@a:b","content":{"participation":"accepted"}}]}`),
		}),
		"fake1 -> hs1          PUT /ban/!r/$e m.room.member (ban)            400 M_BAD_JSON": n.ofPeer("localhost:1234", fakeserver.Exchange{
			Direction: fakeserver.Outbound, Peer: "one.example", Method: "PUT", URI: "/_matrix/federation/unstable/org.matrix.msc4243/ban/%21r/%24e",
			RequestBody: []byte(`{"event":{"type":"m.room.member","sender":"@a:b","content":{"membership":"ban"}}}`),
			Status:      400, ResponseBody: []byte(`{"errcode":"M_BAD_JSON"}`),
		}),
		"somebody -> fake1     GET /key/v2/server                            no answer": n.ofPeer("localhost:1234", fakeserver.Exchange{
			Direction: fakeserver.Inbound, Peer: "127.0.0.1:9", Method: "GET", URI: "/_matrix/key/v2/server",
		}),
	} {
		assert.Equal(t, want, got)
	}
	assert.Empty(t, n.ofPeer("localhost:1234", fakeserver.Exchange{Direction: fakeserver.Note, Err: "closed"}))
	// What a server says cannot make a line of its own, or another part.
	assert.Equal(t, "x_y_z", part("x\n y  \r\u2028z"))
}
