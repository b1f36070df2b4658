package msc4243

import (
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// Server behaviour: a verified mapping "can be permanently cached". After a restart clients are shown
// what they were shown before, while nobody can be asked.
func TestClients_SeeTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	version := conform.AccountKeyVersion(t)
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), version.ID)
	r := blueprints.HostedOn(t, blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1)), version)
	r.FayJoins(t)
	setup := conform.Setup(t)
	local(t, r, "bob")
	r.JoinUnverified(t, "mallory")
	r.Fence(t)

	views := map[string]func(t testing.TB) *csapi.Response{
		"members":        func(t testing.TB) *csapi.Response { return r.Alice.Members(t, r.ID) },
		"joined members": func(t testing.TB) *csapi.Response { return r.Alice.JoinedMembers(t, r.ID) },
		"messages":       func(t testing.TB) *csapi.Response { return r.Alice.Messages(t, r.ID, "b", "", 100) },
		"state":          func(t testing.TB) *csapi.Response { return r.Alice.AllState(t, r.ID) },
		"sync":           func(t testing.TB) *csapi.Response { return r.Alice.Sync(t, csapi.SyncRequest{Filter: longTimeline}) },
	}
	before := map[string][]string{}
	for name, ask := range views {
		before[name] = seen(ask(setup).MustOK(setup))
	}
	must.NoError(setup, "closing the fake server", r.Peer.Close())
	conform.CanDo(t, "restarting hs1", r.HS.Restart(t.Context()))
	for name, ask := range views {
		t.Run(name, func(t *testing.T) {
			conform.Covers(t, "MSC4243-CS-33")
			must.SameSet(t, "what is shown in "+name+" after a restart", seen(ask(t).MustOK(t)), before[name])
		})
	}
}

// seen is what an answer shows of users: who has sent and who is meant by which event, and who is joined.
func seen(answer gjson.Result) (users []string) {
	for _, event := range eventsIn(answer) {
		users = append(users, event.Get("event_id").Str+" by "+event.Get("sender").Str+" for "+event.Get("state_key").Str+" "+event.Get("unsigned.sender_account").Raw)
	}
	return append(users, names(answer.Get("joined"))...)
}
