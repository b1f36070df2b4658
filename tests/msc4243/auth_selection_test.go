package msc4243

import (
	"slices"
	"strings"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Server-server API, "Auth events selection", where members are account key user IDs. An invitation is
// judged as it is sent to the room, with the invited user's account key in place of the account name.
func TestAuthEvents_Selection(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	setup := conform.Setup(t)
	carol, guest := r.Join(t, "carol"), r.Peer.Member(t, "guest")
	sent := func(t testing.TB, eventID string) *matrix.Event { return r.Peer.MustReceiveEvent(t, eventID) }
	member := func(t testing.TB, user *fakeserver.User, membership string) *matrix.Event {
		return r.MustReceiveMember(t, string(user.KeyID()), membership)
	}
	levels := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
	levels["users"] = map[string]any{r.ClientID(carol): 10}
	for _, c := range []struct {
		name string
		does func(t testing.TB) *matrix.Event
	}{
		{"a message", func(t testing.TB) *matrix.Event { return sent(t, r.Alice.MustSay(t, r.ID, "hello")) }},
		{"state", func(t testing.TB) *matrix.Event {
			return sent(t, r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "x"}))
		}},
		{"power levels", func(t testing.TB) *matrix.Event {
			return sent(t, r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", levels))
		}},
		{"an invitation", func(t testing.TB) *matrix.Event {
			r.Alice.MustInvite(t, r.ID, r.ClientID(guest))
			return member(t, guest, "invite")
		}},
		{"an invitation that is withdrawn", func(t testing.TB) *matrix.Event {
			r.Alice.MustKick(t, r.ID, r.ClientID(guest))
			return member(t, guest, "leave")
		}},
		{"another invitation", func(t testing.TB) *matrix.Event {
			r.Alice.MustInvite(t, r.ID, r.ClientID(guest))
			return r.Peer.MustReceive(t, "the second invitation", func(pdu fakeserver.PDU) bool {
				return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Membership() == "invite" && pdu.Event == r.Room.State("m.room.member", string(guest.KeyID()))
			}).Event
		}},
		{"a ban", func(t testing.TB) *matrix.Event {
			r.Alice.MustBan(t, r.ID, r.ClientID(carol))
			return member(t, carol, "ban")
		}},
		{"a local user's join", func(t testing.TB) *matrix.Event {
			return r.MustReceiveMember(t, string(idOf(t, r, local(t, r, "dave"))), "join")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conform.Covers(t, "MSC4243-AUTH-11")
			before := map[matrix.StateTuple]*matrix.Event{}
			for _, e := range r.Room.FullState() {
				before[e.Tuple()] = e
			}
			judgeSelection(t, before, c.does(conform.Setup(t)))
		})
	}
}

// judgeSelection compares the auth events of an event with the selection from the state before it.
func judgeSelection(t *testing.T, before map[matrix.StateTuple]*matrix.Event, e *matrix.Event) {
	t.Helper()
	var key *string
	if stateKey, ok := e.StateKey(); ok {
		key = &stateKey
	}
	describe := func(events []string) string { return "[" + strings.Join(events, " ") + "]" }
	var want []string
	for _, tuple := range matrix.AuthEventTuples(e.Type(), key, e.Sender(), e.Content()) {
		if at := before[tuple]; at != nil {
			want = append(want, at.ID())
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(e.AuthEvents())); !slices.Equal(got, want) {
		conform.Violation(t, "MSC4243-AUTH-11", "auth_events as selected from the state before the event: "+describe(want), describe(got)+" in "+string(e.JSON()))
	}
}
