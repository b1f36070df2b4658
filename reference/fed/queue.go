package fed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Limits of a transaction (server-server API, "Transactions") and of what waits for a server.
const (
	maxPDUs       = 50
	maxEDUs       = 100
	maxQueuedPDUs = 500
	maxQueuedEDUs = 500
	sendTimeout   = 30 * time.Second
)

// tableOutbox holds what is to be delivered: server name, sequence number -> event ID.
const tableOutbox = "outbox"

// EventReader reads the events that are queued.
type EventReader interface {
	ServePDU(tx *store.Tx, eventID string) (json.RawMessage, error)
}

// Queue delivers events and EDUs to other servers. Events wait in the store, so that a restart loses
// none; EDUs wait in memory. Every server with something to deliver has one worker, which sends one
// transaction at a time and ends when there is nothing left. It implements room.Outbox.
type Queue struct {
	db     *store.DB
	client *Client
	events EventReader
	logger *slog.Logger
	// ctx ends the workers; group waits for them.
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	// prefix makes transaction IDs unique across restarts.
	prefix string

	mutex   sync.Mutex
	closed  bool
	count   int
	workers map[matrix.ServerName]*worker
}

// worker is what is known about the delivery to one server.
type worker struct {
	running bool
	edus    []queuedEDU
	// more is set when something has been queued since the worker looked last.
	more bool
	// timer starts the worker again when the server has been left alone for long enough.
	timer *time.Timer
	// queued is at least how many events wait in the store, as far as this run knows.
	queued int
}

type queuedEDU struct {
	Type    string          `json:"edu_type"`
	Content json.RawMessage `json:"content"`
}

// NewQueue makes a queue; Start sets it going.
func NewQueue(db *store.DB, client *Client, logger *slog.Logger) *Queue {
	ctx, cancel := context.WithCancel(context.Background())
	return &Queue{
		db: db, client: client, logger: logger, ctx: ctx, cancel: cancel,
		prefix: rand.Text()[:12], workers: map[matrix.ServerName]*worker{},
	}
}

// Start delivers what an earlier run has left, and from then on what comes. events reads queued events.
func (q *Queue) Start(events EventReader) error {
	q.mutex.Lock()
	q.events = events
	q.mutex.Unlock()
	var servers []matrix.ServerName
	err := q.db.View(func(tx *store.Tx) error {
		tx.Table(tableOutbox).Scan(nil, nil, func(key, _ []byte) bool {
			parts, _ := store.SplitKey(key, 1)
			if server := matrix.ServerName(parts[0]); len(servers) == 0 || servers[len(servers)-1] != server {
				servers = append(servers, server)
			}
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	q.Flush(servers)
	return nil
}

// Close ends the workers and waits for them. What they have not delivered stays in the store.
func (q *Queue) Close() {
	q.mutex.Lock()
	q.closed = true
	for _, w := range q.workers {
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	q.mutex.Unlock()
	q.cancel()
	q.group.Wait()
}

// QueuePDU implements room.Outbox. When too much waits for a server the oldest is dropped: the server
// asks for it once it sees something newer.
func (q *Queue) QueuePDU(tx *store.Tx, servers []matrix.ServerName, eventID string) error {
	table := tx.Table(tableOutbox)
	for _, server := range servers {
		if _, err := matrix.ParseServerName(string(server)); err != nil {
			continue // somebody's state key that names no server
		}
		n, err := table.Next()
		if err != nil {
			return err
		}
		if err := table.Put(store.AppendInt(store.Key(string(server)), int64(n)), []byte(eventID)); err != nil {
			return err
		}
		if q.tooMany(server) {
			if err := trim(table, server); err != nil {
				return err
			}
		}
	}
	return nil
}

// tooMany counts an event for a server, and reports whether it is time to look how many are waiting.
func (q *Queue) tooMany(server matrix.ServerName) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	w := q.worker(server)
	if w.queued++; w.queued < 2*maxQueuedPDUs {
		return false
	}
	w.queued = maxQueuedPDUs
	return true
}

// trim drops the oldest events that wait for a server, down to the limit.
func trim(table store.Table, server matrix.ServerName) error {
	var keys [][]byte
	table.Scan(store.Key(string(server)), nil, func(key, _ []byte) bool {
		keys = append(keys, append([]byte(nil), key...))
		return true
	})
	for _, key := range keys[:max(len(keys)-maxQueuedPDUs, 0)] {
		if err := table.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Flush implements room.Outbox.
func (q *Queue) Flush(servers []matrix.ServerName) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for _, server := range servers {
		if _, err := matrix.ParseServerName(string(server)); err == nil {
			q.poke(server)
		}
	}
}

// SendEDU implements room.Outbox.
func (q *Queue) SendEDU(servers []matrix.ServerName, eduType string, content []byte) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for _, server := range servers {
		if server == q.client.ServerName {
			continue
		}
		w := q.worker(server)
		if len(w.edus) == maxQueuedEDUs {
			w.edus = w.edus[1:]
		}
		w.edus = append(w.edus, queuedEDU{eduType, content})
		q.poke(server)
	}
}

// Retry wakes the delivery to a server that has been heard from.
func (q *Queue) Retry(server matrix.ServerName) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if _, ok := q.workers[server]; ok {
		q.poke(server)
	}
}

func (q *Queue) worker(server matrix.ServerName) *worker {
	w, ok := q.workers[server]
	if !ok {
		w = &worker{}
		q.workers[server] = w
	}
	return w
}

// poke makes sure that a server's worker runs and looks again. q.mutex is held.
func (q *Queue) poke(server matrix.ServerName) {
	if q.closed || q.events == nil || server == q.client.ServerName {
		return
	}
	w := q.worker(server)
	w.more = true
	if !w.running {
		w.running = true
		q.group.Add(1)
		go q.run(server, w)
	}
}

// run delivers to one server until nothing is left, or until the server has to be left alone: a timer
// then starts it again, so that any number of dead servers costs no goroutines.
func (q *Queue) run(server matrix.ServerName, w *worker) {
	defer q.group.Done()
	for q.ctx.Err() == nil {
		if q.postponed(server, w) {
			return
		}
		sent, err := q.deliver(server, w)
		switch {
		case q.ctx.Err() != nil:
			return
		case err != nil:
			q.logger.Info("a transaction is not delivered", "server", server, "error", err)
			if q.client.wait(transactionsTo(server)) == 0 {
				q.client.backoff.failed(server)
			}
		case !sent && q.finish(server, w):
			return
		}
	}
}

// postponed reports whether a server is left alone for now, in which case its worker ends and a timer
// starts it again.
func (q *Queue) postponed(server matrix.ServerName, w *worker) bool {
	wait := q.client.wait(transactionsTo(server))
	if wait == 0 {
		return false
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	w.running = false
	if q.closed {
		return true
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(wait, func() { q.Flush([]matrix.ServerName{server}) })
	return true
}

// finish ends a worker, unless more has come.
func (q *Queue) finish(server matrix.ServerName, w *worker) bool {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if w.more {
		w.more = false
		return false
	}
	w.running, w.queued = false, 0
	delete(q.workers, server)
	return true
}

// deliver sends one transaction, if there is anything to send.
func (q *Queue) deliver(server matrix.ServerName, w *worker) (sent bool, err error) {
	pdus, keys, err := q.waiting(server)
	if err != nil {
		return false, err
	}
	q.mutex.Lock()
	edus := w.edus[:min(len(w.edus), maxEDUs)]
	q.count++
	id := fmt.Sprintf("%s-%d", q.prefix, q.count)
	q.mutex.Unlock()
	if len(keys) == 0 && len(edus) == 0 {
		return false, nil
	}
	if len(pdus) > 0 || len(edus) > 0 {
		if err := q.send(server, id, pdus, edus); err != nil {
			return false, err
		}
	}
	q.mutex.Lock()
	w.edus = w.edus[min(len(edus), len(w.edus)):]
	q.mutex.Unlock()
	return true, q.db.Update(func(tx *store.Tx) error {
		for _, key := range keys {
			if err := tx.Table(tableOutbox).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}

// waiting reads the events of the next transaction to a server, and the rows to delete afterwards.
func (q *Queue) waiting(server matrix.ServerName) (pdus []json.RawMessage, keys [][]byte, err error) {
	err = q.db.View(func(tx *store.Tx) error {
		var failed error
		tx.Table(tableOutbox).Scan(store.Key(string(server)), nil, func(key, id []byte) bool {
			pdu, err := q.events.ServePDU(tx, string(id))
			if err != nil {
				failed = err
				return false
			}
			if pdu != nil {
				pdus = append(pdus, pdu)
			}
			keys = append(keys, append([]byte(nil), key...))
			return len(keys) < maxPDUs && !q.client.Defects.Has("SendOneEventAtATime")
		})
		return failed
	})
	return pdus, keys, err
}

func (q *Queue) send(server matrix.ServerName, id string, pdus []json.RawMessage, edus []queuedEDU) error {
	if pdus == nil {
		pdus = []json.RawMessage{}
	}
	transaction := map[string]any{
		"origin": q.client.ServerName, "origin_server_ts": q.client.Clock().UnixMilli(), "pdus": pdus,
	}
	if q.client.Defects.Has("SendUnknownEphemeralEvents") {
		edus = append(slices.Clone(edus), queuedEDU{Type: "org.countersign.unknown", Content: json.RawMessage("{}")})
	}
	if len(edus) > 0 {
		transaction["edus"] = edus
	}
	body, err := json.Marshal(transaction)
	if err != nil {
		return err
	}
	call := transactionCall(id)
	call.Body = body
	answer, err := q.client.Call(q.ctx, server, call)
	if refusal, ok := errors.AsType[*peer.Error](err); ok && refusal.Status == http.StatusBadRequest {
		// Sending the same again would be refused again.
		q.logger.Warn("a transaction was refused and is not repeated", "server", server, "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	q.logRefusals(server, answer)
	return nil
}

// transactionCall sends a transaction, which has yet to be put into its body.
func transactionCall(id string) peer.Call {
	return peer.Call{Method: http.MethodPut, Path: "/_matrix/federation/v1" + peer.Path("send", id), Timeout: sendTimeout}
}

// transactionsTo is where a server takes transactions.
func transactionsTo(server matrix.ServerName) endpoint {
	return endpointOf(server, transactionCall("any"))
}

func (q *Queue) logRefusals(server matrix.ServerName, answer []byte) {
	var results struct {
		PDUs map[string]struct {
			Error string `json:"error"`
		} `json:"pdus"`
	}
	if err := json.Unmarshal(answer, &results); err != nil {
		return // the answer to a transaction need not say anything
	}
	for id, result := range results.PDUs {
		if result.Error != "" {
			q.logger.Info("an event was not accepted by another server", "server", server, "event", id, "error", result.Error)
		}
	}
}
