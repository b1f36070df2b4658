package msc4243

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Impacts on end-to-end encryption says of devices, and profiles follow, that other servers are asked
// about users by account name user ID.
func TestProfiles_AreLookedUpByAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-22")
	r := hosting(t)
	fay := r.ClientID(r.Fay)
	profile := r.Alice.Profile(t, fay)
	if profile.Get("displayname").Str != r.Fay.Name() {
		conform.Violation(t, "MSC4243-CS-22", "the profile of "+fay, profile.String())
	}
	for _, asked := range r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpProfile)) {
		uri, err := url.Parse(asked.URI)
		must.NoError(conform.Setup(t), "reading "+asked.URI, err)
		if uri.Query().Get("user_id") != fay {
			conform.Violation(t, "MSC4243-CS-22", "another server to be asked for the profile of "+fay, asked.URI)
		}
	}
}

// The same in the other direction. What an account key user ID finds is recorded.
func TestProfiles_AreServedByAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-22")
	r := hosting(t)
	name := blueprints.Unique("Alice")
	r.Alice.SetProfile(t, "displayname", name).MustOK(conform.Setup(t))
	ask := func(id string) blueprints.Reply {
		return r.Peer.Ask(t, r.At, http.MethodGet, "/_matrix/federation/v1/query/profile?user_id="+url.QueryEscape(id), nil)
	}
	if answer := ask(r.Alice.UserID); answer.JSON().Get("displayname").Str != name {
		conform.Violation(t, "MSC4243-CS-22", "the profile of "+r.Alice.UserID, answer.String())
	}
	conform.Info(t, "MSC4243-CS-22", "a profile asked for by account key user ID: "+ask(string(idOf(t, r, r.Alice))).String())
}

// Client-server API, "Client Config": what a client keeps about users is its own affair, and stays as it
// was written.
func TestAccountData_StaysAsItIs(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	fay := r.ClientID(r.Fay)
	for _, c := range []struct{ name, roomID, dataType, content string }{
		{"direct chats", "", "m.direct", `{"` + fay + `":["` + r.ID + `"]}`},
		{"ignored users", "", "m.ignored_user_list", `{"ignored_users":{"@troll:example.com":{}}}`},
		{"notes about a room", r.ID, "com.example.notes", `{"about":"` + fay + `"}`},
		{"tags", r.ID, "m.tag", `{"tags":{"u.with ` + fay + `":{}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-24")
			r.Alice.SetAccountData(t, c.roomID, c.dataType, json.RawMessage(c.content)).MustOK(t)
			data := r.Alice.Sync(t, csapi.SyncRequest{}).MustOK(t)
			if c.roomID != "" {
				data = data.Get("rooms.join").Map()[c.roomID]
			}
			events := data.Get("account_data.events").Array()
			i := slices.IndexFunc(events, func(e gjson.Result) bool { return e.Get("type").Str == c.dataType })
			must.Be(t, i >= 0, "%s in /sync, got:\n%s", c.dataType, data.Raw)
			for where, content := range map[string][]byte{
				"/account_data": r.Alice.AccountData(t, c.roomID, c.dataType).Body, "/sync": []byte(events[i].Get("content").Raw),
			} {
				got, err := matrix.CanonicalJSON(content)
				must.NoError(t, "reading "+string(content), err)
				must.Equal(t, c.dataType+" in "+where, string(got), c.content)
			}
		})
	}
}
