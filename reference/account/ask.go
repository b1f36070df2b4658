package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Bounds of asking other servers.
const (
	askTimeout     = 8 * time.Second
	maxAnswer      = 4 << 20
	maxAskers      = 32 // domains that are asked at the same time
	erasureLimit   = 64
	maxErasurePage = 50 // requests that follow has_more, one after the other
)

const accountsPath = "/_matrix/federation/unstable/org.matrix.msc4243/query/accounts"

// Verify asks the domains of those account key user IDs that are unverified, and returns when they have
// answered, or failed, or when ctx ends; questions go on after that. Keys of this server's own domain
// are never asked for (QC-23), nor those that were asked for a short while ago. Everything that is
// asked for at the same time goes into one request per domain (MSC4243, "Server behaviour").
func (d *Directory) Verify(ctx context.Context, users ...matrix.UserID) {
	for _, q := range d.begin(users) {
		select {
		case <-q.done:
		case <-ctx.Done():
			return
		}
	}
}

// VerifyBriefly is Verify for users who have sent an event: it waits only as long as their domains can
// be expected to answer, so that those that do not hold up nothing but the first such event.
func (d *Directory) VerifyBriefly(ctx context.Context, users ...matrix.UserID) {
	for _, q := range d.begin(users) {
		timer := time.NewTimer(d.patience(q.domain))
		select {
		case <-q.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// inquiry is a question about a key that is waiting or under way; done is closed when its answer has been
// dealt with.
type inquiry struct {
	domain matrix.ServerName
	done   chan struct{}
}

// begin has those keys asked for that are unverified.
func (d *Directory) begin(users []matrix.UserID) (inquiries []inquiry) {
	for _, user := range users {
		if user.Domain() == d.ServerName || d.Lookup(user).State != Unverified {
			continue
		}
		if _, _, err := matrix.ParseAccountKeyUserID(string(user)); err != nil {
			continue
		}
		if done := d.enqueue(user); done != nil {
			inquiries = append(inquiries, inquiry{user.Domain(), done})
		}
	}
	d.startAskers()
	return inquiries
}

// enqueue has a key asked for, unless it is too early to ask again, and returns what is closed when that
// has been done.
func (d *Directory) enqueue(user matrix.UserID) chan struct{} {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if wait, ok := d.asking[user]; ok {
		return wait
	}
	if a, ok := d.attempts[user]; ok && a.asked.Add(firstRetry).After(d.Clock()) {
		d.hasten(user, a)
		return nil
	}
	domain := user.Domain()
	if d.postponed(domain, user) {
		return nil
	}
	wait := make(chan struct{})
	d.asking[user] = wait
	if _, waiting := d.pending[domain]; !waiting {
		d.order = append(d.order, domain)
	}
	d.pending[domain] = append(d.pending[domain], user)
	return wait
}

// hasten has a key asked for again as soon as may be, as there is a reason. d.mutex is held.
func (d *Directory) hasten(user matrix.UserID, a attempt) {
	if soon := a.asked.Add(firstRetry); soon.Before(a.next) {
		a.next = soon
		d.attempts[user] = a
		d.nudge()
	}
}

// startAskers starts as many workers as there are domains waiting, up to the limit. A worker that asks
// a domain does so after everything that is enqueued at the same time has been enqueued.
func (d *Directory) startAskers() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for n := len(d.order); n > 0 && d.workers < maxAskers && d.closing.Err() == nil; n-- {
		d.workers++
		d.group.Add(1)
		go d.askAll()
	}
	if d.closing.Err() != nil {
		d.abandon()
	}
}

// abandon releases those who wait for questions that will not be asked. d.mutex is held.
func (d *Directory) abandon() {
	for _, users := range d.pending {
		for _, user := range users {
			close(d.asking[user])
			delete(d.asking, user)
		}
	}
	clear(d.pending)
	d.order = nil
}

// askAll asks one waiting domain after the other.
func (d *Directory) askAll() {
	defer d.group.Done()
	for {
		domain, users, ok := d.nextDomain()
		if !ok {
			return
		}
		d.ask(domain, users)
		d.mutex.Lock()
		delete(d.busy, domain)
		d.mutex.Unlock()
	}
}

// nextDomain takes a waiting domain and as many of its keys as fit into one request.
func (d *Directory) nextDomain() (domain matrix.ServerName, users []matrix.UserID, ok bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.closing.Err() != nil {
		d.abandon()
	}
	if len(d.order) == 0 {
		d.workers--
		return "", nil, false
	}
	i := slices.IndexFunc(d.order, func(s matrix.ServerName) bool { return d.busy[s].IsZero() })
	if i < 0 {
		d.workers-- // whoever is asking those domains goes on with them
		return "", nil, false
	}
	domain = d.order[i]
	d.order = slices.Delete(d.order, i, i+1)
	d.busy[domain] = d.Clock()
	users = d.pending[domain]
	if len(users) > MaxKeys {
		d.pending[domain] = users[MaxKeys:]
		d.order = append(d.order, domain)
		users = users[:MaxKeys]
	} else {
		delete(d.pending, domain)
	}
	return domain, users, true
}

// ask asks a domain for some of its keys and deals with what it says.
func (d *Directory) ask(domain matrix.ServerName, users []matrix.UserID) {
	defer d.release(users)
	said, answered, err := d.question(domain, users)
	if err != nil {
		d.Logger.Info("account names cannot be found out", "domain", domain, "keys", len(users), "error", err)
	}
	if err := d.learn(said); err != nil {
		d.Logger.Error("storing what a domain says about its account keys", "domain", domain, "error", err)
	}
	d.notePace(domain, users, said, answered)
	d.noteAttempts(users, answered)
}

func (d *Directory) release(users []matrix.UserID) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, user := range users {
		close(d.asking[user])
		delete(d.asking, user)
	}
}

// question sends the requests: one for the keys, and more when the domain has more erased keys to tell.
// answered reports whether the domain has answered at all, be it by refusing.
func (d *Directory) question(domain matrix.ServerName, users []matrix.UserID) (said map[matrix.UserID]Entry, answered bool, err error) {
	said = map[matrix.UserID]Entry{}
	for page := 0; page < maxErasurePage; page++ {
		cursor, err := d.erasureCursor(domain)
		if err != nil {
			return said, answered, err
		}
		body, err := d.post(domain, users, cursor)
		if err != nil {
			_, refused := errors.AsType[*peer.Error](err)
			return said, answered || refused, err
		}
		answered = true
		r, err := readAnswer(body, domain, users)
		for user, e := range r.said {
			said[user] = e
		}
		if err != nil {
			return said, answered, err
		}
		if r.cursor > cursor {
			// Erasures are stored before the cursor moves past them.
			if err := d.learn(said); err != nil {
				return said, answered, err
			}
			if err := d.moveCursor(domain, r.cursor); err != nil {
				return said, answered, err
			}
		}
		if !r.more || r.cursor <= cursor {
			return said, answered, nil
		}
		users = nil // what follows is about erased keys only
	}
	return said, answered, fmt.Errorf("%s has more erased keys than %d requests can tell", domain, maxErasurePage)
}

func (d *Directory) post(domain matrix.ServerName, users []matrix.UserID, cursor int64) ([]byte, error) {
	keys := make([]string, len(users))
	for i, user := range users {
		keys[i] = user.Localpart()
	}
	body, err := json.Marshal(map[string]any{
		"account_keys": keys, "erasure": map[string]any{"id": cursor, "limit": erasureLimit},
	})
	if err != nil {
		return nil, err
	}
	return d.Peers.Call(d.closing, domain, peer.Call{
		Method: http.MethodPost, Path: accountsPath, Body: body, Timeout: askTimeout, MaxAnswer: maxAnswer,
	})
}

// erasureCursor is how far this server has read a domain's list of erased keys.
func (d *Directory) erasureCursor(domain matrix.ServerName) (id int64, err error) {
	err = d.DB.View(func(tx *store.Tx) error {
		b := tx.Table(tableServers).Get(store.Key(string(domain)))
		if b == nil {
			return nil
		}
		var r serverRecord
		err := json.Unmarshal(b, &r)
		id = r.ErasureID
		return err
	})
	return id, err
}

func (d *Directory) moveCursor(domain matrix.ServerName, id int64) error {
	return d.DB.Update(func(tx *store.Tx) error {
		return tx.Table(tableServers).Put(store.Key(string(domain)), marshal(serverRecord{ErasureID: id}))
	})
}
