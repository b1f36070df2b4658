package room

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// policyKeyID is the key ID under which every policy server signs.
const policyKeyID matrix.KeyID = "ed25519:policy_server"

// Where a policy server is asked to sign, and how long it may take.
const (
	policySignPath = "/_matrix/policy/v1/sign"
	policyTimeout  = 5 * time.Second
)

// policyServer is the server whose recommendation events of a room need (server-server API, "Policy Servers"). What
// it does not sign is as valid as anything by the authorization rules; it is just not sent, or not shown.
type policyServer struct {
	name matrix.ServerName
	key  ed25519.PublicKey
}

// policyFor is the policy server that an event needs the signature of; ok is false when the room has none, or has
// one that is not in the room, and for the events that name a policy server, which need none. r.mutex is held.
func (g *Engine) policyFor(r *liveRoom, e *matrix.Event) (p policyServer, ok bool) {
	policy := g.StateEvent(r.current, "m.room.policy", "")
	if policy == nil || e.IsState("m.room.policy", "") {
		return p, false
	}
	via, text := policy.Get("via"), policy.Get("public_keys.ed25519")
	if via.Type != gjson.String || text.Type != gjson.String {
		return p, false
	}
	key, err := matrix.DecodeBase64Padded(text.Str)
	p = policyServer{matrix.ServerName(via.Str), key}
	return p, err == nil && len(key) == ed25519.PublicKeySize && r.hasDomain(p.name)
}

// recommends reports whether the policy server has signed an event, beside its sender.
func (p policyServer) recommends(e *matrix.Event) bool {
	return e.VerifySignature(string(p.name), policyKeyID, p.key) == nil
}

// askPolicy returns an event with the signature of a policy server, which is asked for it unless it is there. The
// error is what the policy server has answered, when it refuses; what is sent is told its client as it is.
func (g *Engine) askPolicy(ctx context.Context, p policyServer, e *matrix.Event) (*matrix.Event, error) {
	if p.recommends(e) {
		return e, nil
	}
	answer, err := g.Peers.Call(ctx, p.name, peer.Call{Method: http.MethodPost, Path: policySignPath, Body: e.JSON(), Timeout: policyTimeout})
	if refusal, ok := errors.AsType[*peer.Error](err); ok {
		return nil, refusal
	}
	if err != nil {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the room's policy server cannot be asked: %v", err)
	}
	var signatures map[matrix.ServerName]map[matrix.KeyID]string
	if err := json.Unmarshal(answer, &signatures); err != nil {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the room's policy server answers with no signatures: %v", err)
	}
	raw, err := matrix.PutSignature(e.JSON(), string(p.name), policyKeyID, signatures[p.name][policyKeyID])
	if err != nil {
		return nil, err
	}
	signed, err := matrix.ParseEvent(e.Version(), raw)
	if err != nil {
		return nil, err
	}
	if !p.recommends(signed) {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the room's policy server has not signed with the key that the room has")
	}
	if g.Defects.Has("LeavePolicySignaturesOut") {
		return e, nil
	}
	return signed, nil
}

// recommended returns an event of ours as the room's policy server lets it be sent. r.mutex is held, but not while
// the policy server is waited for: the event is checked again afterwards.
func (g *Engine) recommended(r *liveRoom, e *matrix.Event) (*matrix.Event, error) {
	p, ok := g.policyFor(r, e)
	if !ok {
		return e, nil
	}
	r.mutex.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), policyTimeout)
	e, err := g.askPolicy(ctx, p, e)
	cancel()
	r.mutex.Lock()
	if err != nil {
		return nil, err
	}
	return e, g.checkLocal(r, e)
}

// checkPolicy is the seventh check of an event of another server ("Checks performed on receipt of a PDU"). It
// returns the event, with the policy server's signature if it needed one, and why it is not recommended, if it is
// not.
func (g *Engine) checkPolicy(ctx context.Context, r *liveRoom, e *matrix.Event) (recommended *matrix.Event, refusal error) {
	r.mutex.Lock()
	p, ok := g.policyFor(r, e)
	r.mutex.Unlock()
	if !ok {
		return e, nil
	}
	signed, err := g.askPolicy(ctx, p, e)
	if err != nil {
		return e, fmt.Errorf("by the policy server %s: %w", p.name, err)
	}
	return signed, nil
}
