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
	await(ctx, d.begin(source{}.subjects(users)))
}

// VerifyBriefly is Verify for users who have sent an event: it waits only as long as their domains can
// be expected to answer, so that those that do not hold up nothing but the first such event.
func (d *Directory) VerifyBriefly(ctx context.Context, users ...matrix.UserID) {
	d.awaitBriefly(ctx, d.begin(source{}.subjects(users)))
}

// await returns when all has been asked, or ctx ends.
func await(ctx context.Context, inquiries []inquiry) {
	for _, q := range inquiries {
		select {
		case <-q.done:
		case <-ctx.Done():
			return
		}
	}
}

// awaitBriefly is await with the patience that whoever is asked deserves.
func (d *Directory) awaitBriefly(ctx context.Context, inquiries []inquiry) {
	for _, q := range inquiries {
		timer := time.NewTimer(d.patience(q.source))
		select {
		case <-q.done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// subject is an account key user ID that is asked for, and by which endpoint.
type subject struct {
	user matrix.UserID
	// portable is set for accounts of rooms of MSC4348; see portable.go.
	portable bool
}

func (s subject) source() source { return source{s.user.Domain(), s.portable} }

// source is whom to ask for keys, by which of the two endpoints.
type source struct {
	domain   matrix.ServerName
	portable bool
}

// path is the endpoint.
func (s source) path() string {
	if s.portable {
		return portableAccountsPath
	}
	return accountsPath
}

// cursors is the table of how far the lists of erased keys have been read.
func (s source) cursors() string {
	if s.portable {
		return tablePortableServers
	}
	return tableServers
}

// subjects are users who are asked for by the same endpoint.
func (s source) subjects(users []matrix.UserID) []subject {
	subjects := make([]subject, len(users))
	for i, user := range users {
		subjects[i] = subject{user, s.portable}
	}
	return subjects
}

// inquiry is a question about a key that is waiting or under way; done is closed when its answer has been
// dealt with.
type inquiry struct {
	source source
	done   chan struct{}
}

// begin has those keys asked for that are unverified.
func (d *Directory) begin(subjects []subject) (inquiries []inquiry) {
	var wanted []subject
	for _, s := range subjects {
		if s.user.Domain() == d.ServerName || d.Lookup(s.user).State != Unverified && !d.asksOnceMore(s.user) {
			continue
		}
		if _, _, err := matrix.ParseAccountKeyUserID(string(s.user)); err != nil {
			continue
		}
		wanted = append(wanted, s)
	}
	d.mutex.Lock() // for all of them, so that a worker which is free meanwhile asks for all at once
	for _, s := range wanted {
		if done := d.enqueue(s); done != nil {
			inquiries = append(inquiries, inquiry{s.source(), done})
		}
	}
	d.mutex.Unlock()
	d.startAskers()
	return inquiries
}

// enqueue has a key asked for, unless it is too early to ask again, and returns what is closed when that
// has been done. d.mutex is held.
func (d *Directory) enqueue(s subject) chan struct{} {
	if wait, ok := d.asking[s]; ok {
		return wait
	}
	if a, ok := d.attempts[s]; ok && a.asked.Add(firstRetry).After(d.Clock()) && !d.Defects.Has("AskForEveryEvent") {
		d.hasten(s, a)
		return nil
	}
	if d.postponed(s) && !d.Defects.Has("AskForEveryEvent") {
		return nil
	}
	wait := make(chan struct{})
	d.asking[s] = wait
	from := s.source()
	if _, waiting := d.pending[from]; !waiting {
		d.order = append(d.order, from)
	}
	d.pending[from] = append(d.pending[from], s.user)
	return wait
}

// hasten has a key asked for again as soon as may be, as there is a reason. d.mutex is held.
func (d *Directory) hasten(s subject, a attempt) {
	if soon := a.asked.Add(firstRetry); soon.Before(a.next) {
		a.next = soon
		d.attempts[s] = a
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
	for from, users := range d.pending {
		for _, s := range from.subjects(users) {
			close(d.asking[s])
			delete(d.asking, s)
		}
	}
	clear(d.pending)
	d.order = nil
}

// askAll asks one waiting domain after the other.
func (d *Directory) askAll() {
	defer d.group.Done()
	for {
		d.gather()
		from, users, ok := d.nextSource()
		if !ok {
			return
		}
		d.ask(from, users)
		d.mutex.Lock()
		delete(d.busy, from)
		d.mutex.Unlock()
	}
}

// nextSource takes one of those who wait to be asked, and as many keys as fit into one request.
func (d *Directory) nextSource() (from source, users []matrix.UserID, ok bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.closing.Err() != nil {
		d.abandon()
	}
	if len(d.order) == 0 {
		d.workers--
		return source{}, nil, false
	}
	i := slices.IndexFunc(d.order, func(s source) bool { return d.busy[s].IsZero() })
	if i < 0 {
		d.workers-- // whoever is asking those domains goes on with them
		return source{}, nil, false
	}
	from = d.order[i]
	d.order = slices.Delete(d.order, i, i+1)
	d.busy[from] = d.Clock()
	users = d.pending[from]
	if d.Defects.Has("AskKeyByKey") && len(users) > 1 {
		d.pending[from] = users[1:]
		d.order = append(d.order, from)
		users = users[:1]
	} else if len(users) > 100 && d.Defects.Has("AskInSmallBatches") {
		d.pending[from] = users[100:]
		d.order = append(d.order, from)
		users = users[:100]
	} else if len(users) > MaxKeys && !d.Defects.Has("AskForAnyNumberOfKeys") {
		d.pending[from] = users[MaxKeys:]
		d.order = append(d.order, from)
		users = users[:MaxKeys]
	} else {
		delete(d.pending, from)
	}
	return from, users, true
}

// ask asks a domain for some of its keys and deals with what it says.
func (d *Directory) ask(from source, users []matrix.UserID) {
	subjects := from.subjects(users)
	defer d.release(subjects)
	said, answered, err := d.question(from, users)
	if err != nil {
		d.Logger.Info("account names cannot be found out", "domain", from.domain, "keys", len(users), "error", err)
	}
	d.unlearn(users, said, answered)
	if err := d.learn(said); err != nil {
		d.Logger.Error("storing what a domain says about its account keys", "domain", from.domain, "error", err)
	}
	d.notePace(from, users, said, answered)
	d.noteAttempts(subjects, answered)
}

func (d *Directory) release(subjects []subject) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, s := range subjects {
		close(d.asking[s])
		delete(d.asking, s)
	}
}

// question sends the requests: one for the keys, and more when the domain has more erased keys to tell.
// answered reports whether the domain has answered at all, be it by refusing.
func (d *Directory) question(from source, users []matrix.UserID) (said map[matrix.UserID]Entry, answered bool, err error) {
	domain := from.domain
	said = map[matrix.UserID]Entry{}
	for page := 0; page < maxErasurePage; page++ {
		cursor, err := d.erasureCursor(from)
		if err != nil {
			return said, answered, err
		}
		body, err := d.post(d.mistakenSource(from), users, cursor)
		if err != nil {
			_, refused := errors.AsType[*peer.Error](err)
			return said, answered || refused, err
		}
		answered = true
		r, err := d.readAnswer(body, domain, users)
		if r.spoiled() && d.Defects.Has("LetOneErrorSpoilAnAnswer") {
			d.giveUp(from.subjects(users))
			return said, answered, nil
		}
		for user, e := range r.said {
			said[user] = e
		}
		if err != nil {
			return said, answered, err
		}
		if r.cursor > cursor && !d.Defects.Has("ForgetTheErasureID") {
			// Erasures are stored before the cursor moves past them.
			if err := d.learn(said); err != nil {
				return said, answered, err
			}
			if err := d.moveCursor(from, r.cursor); err != nil {
				return said, answered, err
			}
		}
		if !r.more || r.cursor <= cursor && !d.Defects.Has("FollowEndlessErasures") {
			return said, answered, nil
		}
		if d.Defects.Has("ReadOnePageOfErasures") {
			return said, answered, nil
		}
		users = nil // what follows is about erased keys only
	}
	return said, answered, fmt.Errorf("%s has more erased keys than %d requests can tell", domain, maxErasurePage)
}

func (d *Directory) post(from source, users []matrix.UserID, cursor int64) ([]byte, error) {
	keys := make([]string, len(users))
	for i, user := range users {
		keys[i] = user.Localpart()
	}
	question := map[string]any{"account_keys": keys, "erasure": map[string]any{"id": cursor, "limit": erasureLimit}}
	if d.Defects.Has("AddFieldsToQuestions") {
		question["org.countersign.extra"] = true
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	return d.Peers.Call(d.closing, from.domain, peer.Call{
		Method: http.MethodPost, Path: from.path(), Body: body, Timeout: askTimeout, MaxAnswer: maxAnswer,
	})
}

// erasureCursor is how far this server has read a domain's list of erased keys.
func (d *Directory) erasureCursor(from source) (id int64, err error) {
	err = d.DB.View(func(tx *store.Tx) error {
		b := tx.Table(from.cursors()).Get(store.Key(string(from.domain)))
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

func (d *Directory) moveCursor(from source, id int64) error {
	return d.DB.Update(func(tx *store.Tx) error {
		return tx.Table(from.cursors()).Put(store.Key(string(from.domain)), marshal(serverRecord{ErasureID: id}))
	})
}
