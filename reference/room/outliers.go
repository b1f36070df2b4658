package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"countersign/matrix"
	"countersign/reference/rules"
	"countersign/reference/store"
)

// admitAll admits many events, on all processors. Those that are dropped are left out.
func (g *Engine) admitAll(ctx context.Context, v matrix.RoomVersion, pdus []json.RawMessage) []*matrix.Event {
	admitted := make([]*matrix.Event, len(pdus))
	var group errgroup.Group
	group.SetLimit(statesAtOnce)
	for i, pdu := range pdus {
		group.Go(func() error {
			e, err := g.admit(ctx, v, pdu)
			if err != nil {
				g.Logger.Info("an event is dropped", "error", err)
				return nil
			}
			admitted[i] = g.withItsUnsigned(e, pdu)
			return nil
		})
	}
	_ = group.Wait() // the functions return no errors
	return slices.DeleteFunc(admitted, func(e *matrix.Event) bool { return e == nil })
}

// fetchOutliers fetches events one by one, and keeps them as outliers.
func (g *Engine) fetchOutliers(ctx context.Context, r *liveRoom, server matrix.ServerName, ids []string) error {
	var mutex sync.Mutex
	var fetched []*matrix.Event
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(statesAtOnce)
	for _, id := range ids {
		group.Go(func() error {
			e, err := g.fetchEvent(ctx, server, r.version, id)
			if err != nil {
				g.Logger.Info("an event cannot be fetched", "event", id, "server", server, "error", err)
				return ctx.Err()
			}
			mutex.Lock()
			defer mutex.Unlock()
			fetched = append(fetched, e)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, e := range fetched {
		if err := g.haveNestedAuth(ctx, r, server, e); err != nil {
			return err
		}
	}
	return g.keepOutliers(r, fetched)
}

// haveNestedAuth fetches the auth chain of an event that is itself being fetched.
func (g *Engine) haveNestedAuth(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) error {
	missing, err := g.missingAuth(e)
	if err != nil || len(missing) == 0 {
		return err
	}
	chain, err := g.fetchAuthChain(ctx, server, r.id, e.ID())
	if err != nil {
		g.Logger.Info("the auth chain of an event cannot be fetched", "event", e.ID(), "server", server, "error", err)
		return nil
	}
	return g.keepOutliers(r, g.admitAll(ctx, r.version, chain))
}

// keepOutliers stores admitted events of a room whose place in the graph is not known: those that are
// referred to as auth events or as state. Each is authorised by its auth events; one whose auth events
// are not all known is dropped.
func (g *Engine) keepOutliers(r *liveRoom, events []*matrix.Event) error {
	for some := range slices.Chunk(byAuthority(events), outliersAtOnce) {
		if err := g.keepSome(r, some); err != nil {
			return err
		}
	}
	return nil
}

// outliersAtOnce is how many events are stored before others may write.
const outliersAtOnce = 500

// keepSome is keepOutliers for sorted events, in one transaction.
func (g *Engine) keepSome(r *liveRoom, events []*matrix.Event) error {
	return g.DB.Update(func(tx *store.Tx) error {
		known := source{g: g, tx: tx}
		for _, e := range events {
			if k := known.find(e.ID()); e.RoomID() != r.id || k != nil && !completes(e, k) {
				continue
			}
			auth, missing := known.authEvents(e)
			if len(missing) > 0 {
				g.Logger.Info("an event is dropped: its auth events are missing", "event", e.ID(), "missing", missing)
				continue
			}
			if err := checkCosigner(known, e); err != nil {
				g.Logger.Info("an event is dropped", "event", e.ID(), "error", err)
				continue
			}
			rec := record{outcome: Accepted}
			if refusal := authoriseOutlier(r, known, e, auth); refusal != nil {
				g.Logger.Info("an event is rejected", "event", e.ID(), "type", e.Type(), "reason", refusal)
				rec.outcome, rec.reason = Rejected, "by its auth events: "+refusal.Error()
			}
			if err := g.putEvent(tx, e, rec); err != nil {
				return err
			}
		}
		return nil
	})
}

func authoriseOutlier(r *liveRoom, events source, e *matrix.Event, auth []rules.AuthEvent) error {
	if e.IsCreate() && e.ID() != r.create.ID() {
		return errors.New("it is not the room's create event")
	}
	return r.judging(events).AuthoriseByAuthEvents(e, auth)
}

// byAuthority sorts events so that each comes after those of its auth events that are among them.
// Events that the peer has made to refer to each other in a circle cannot exist: their IDs are hashes.
func byAuthority(events []*matrix.Event) []*matrix.Event {
	return sorted(events, (*matrix.Event).AuthEvents)
}

// byParents sorts events so that each comes after those of its parents that are among them.
func byParents(events []*matrix.Event) []*matrix.Event {
	return sorted(events, (*matrix.Event).PrevEvents)
}

// sorted is a topological order; the stack is explicit, as peers choose how deep the graph is.
func sorted(events []*matrix.Event, predecessors func(*matrix.Event) []string) []*matrix.Event {
	byID := make(map[string]*matrix.Event, len(events))
	for _, e := range events {
		byID[e.ID()] = e
	}
	out := make([]*matrix.Event, 0, len(byID))
	entered := make(map[string]bool, len(byID))
	type visit struct {
		event *matrix.Event
		leave bool
	}
	for _, e := range events {
		stack := []visit{{event: e}}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if top.leave {
				out = append(out, top.event)
				continue
			}
			if entered[top.event.ID()] {
				continue
			}
			entered[top.event.ID()] = true
			stack = append(stack, visit{top.event, true})
			for _, id := range predecessors(top.event) {
				if p := byID[id]; p != nil && !entered[id] {
					stack = append(stack, visit{event: p})
				}
			}
		}
	}
	return out
}
