package room

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Paths of the server-server API.
const (
	federationV1    = "/_matrix/federation/v1"
	federationV2    = "/_matrix/federation/v2"
	federation4243  = "/_matrix/federation/unstable/org.matrix.msc4243"
	maxStateAnswer  = 64 << 20 // the answers that hold a whole room state
	maxStateEvents  = 100_000
	statesAtOnce    = 16 // events fetched, or checked, at the same time
	fewMissingState = 40
)

// call sends a request and reads its answer into a value.
func (g *Engine) call(ctx context.Context, server matrix.ServerName, c peer.Call, into any) error {
	body, err := g.Peers.Call(ctx, server, c)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s answers %s %s with JSON of another shape: %w", server, c.Method, c.Path, err)
	}
	return nil
}

func (g *Engine) fetchEvent(ctx context.Context, server matrix.ServerName, v matrix.RoomVersion, id string) (*matrix.Event, error) {
	var answer struct {
		PDUs []json.RawMessage `json:"pdus"`
	}
	path := federationV1 + peer.Path("event", id)
	if err := g.call(ctx, server, peer.Call{Method: http.MethodGet, Path: path}, &answer); err != nil {
		return nil, err
	}
	if len(answer.PDUs) != 1 {
		return nil, fmt.Errorf("%s answers /event with %d events", server, len(answer.PDUs))
	}
	e, err := g.admit(trusting(ctx, "TrustFetchedEvents"), v, answer.PDUs[0])
	if err != nil {
		return nil, fmt.Errorf("the event %s from %s: %w", id, server, err)
	}
	if e.ID() != id {
		return nil, fmt.Errorf("%s answers /event for %s with %s", server, id, e.ID())
	}
	return e, nil
}

// fetchMissing asks for the events between what this server has and an event.
func (g *Engine) fetchMissing(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) ([]json.RawMessage, error) {
	r.mutex.Lock()
	earliest := r.extremities
	r.mutex.Unlock()
	body, err := json.Marshal(map[string]any{
		"earliest_events": earliest, "latest_events": []string{e.ID()}, "limit": maxGapEvents, "min_depth": 0,
	})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Events []json.RawMessage `json:"events"`
	}
	path := federationV1 + peer.Path("get_missing_events", r.id)
	if err := g.call(ctx, server, peer.Call{Method: http.MethodPost, Path: path, Body: body}, &answer); err != nil {
		return nil, err
	}
	if len(answer.Events) > maxGapEvents {
		answer.Events = answer.Events[:maxGapEvents]
	}
	return answer.Events, nil
}

// stateAnswer is the answer of /state, and of /event_auth without the first part.
type stateAnswer struct {
	PDUs      []json.RawMessage `json:"pdus"`
	AuthChain []json.RawMessage `json:"auth_chain"`
}

// stateIDsAnswer is the answer of /state_ids.
type stateIDsAnswer struct {
	PDUIDs       []string `json:"pdu_ids"`
	AuthChainIDs []string `json:"auth_chain_ids"`
}

func (g *Engine) fetchStateIDs(ctx context.Context, server matrix.ServerName, roomID, eventID string) (answer stateIDsAnswer, err error) {
	err = g.call(ctx, server, stateCall("state_ids", roomID, eventID), &answer)
	if n := len(answer.PDUIDs) + len(answer.AuthChainIDs); err == nil && n > maxStateEvents {
		err = fmt.Errorf("%s names %d state and auth events", server, n)
	}
	return answer, err
}

func (g *Engine) fetchState(ctx context.Context, server matrix.ServerName, roomID, eventID string) (answer stateAnswer, err error) {
	err = g.call(ctx, server, stateCall("state", roomID, eventID), &answer)
	return answer, err
}

func stateCall(endpoint, roomID, eventID string) peer.Call {
	return peer.Call{
		Method: http.MethodGet, Path: federationV1 + peer.Path(endpoint, roomID),
		Query: url.Values{"event_id": {eventID}}, MaxAnswer: maxStateAnswer,
	}
}

func (g *Engine) fetchAuthChain(ctx context.Context, server matrix.ServerName, roomID, eventID string) ([]json.RawMessage, error) {
	var answer stateAnswer
	path := federationV1 + peer.Path("event_auth", roomID, eventID)
	err := g.call(ctx, server, peer.Call{Method: http.MethodGet, Path: path, MaxAnswer: maxStateAnswer}, &answer)
	return answer.AuthChain, err
}

func (g *Engine) fetchBackfill(ctx context.Context, server matrix.ServerName, roomID string, from []string, limit int) ([]json.RawMessage, error) {
	var answer stateAnswer
	err := g.call(ctx, server, peer.Call{
		Method: http.MethodGet, Path: federationV1 + peer.Path("backfill", roomID),
		Query: url.Values{"v": from, "limit": {strconv.Itoa(limit)}}, MaxAnswer: maxStateAnswer,
	}, &answer)
	if len(answer.PDUs) > limit {
		answer.PDUs = answer.PDUs[:limit]
	}
	return answer.PDUs, err
}
