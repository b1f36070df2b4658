package account

import (
	"encoding/json"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/store"
)

// How often keys that are unverified are asked for again, and domains for their erased keys.
const (
	firstRetry   = time.Second
	lastRetry    = 5 * time.Minute
	retryPause   = 250 * time.Millisecond
	maxAttempts  = 100_000 // keys that are remembered for a retry
	pollInterval = 24 * time.Hour
)

// noteAttempts remembers that keys were asked for, if they are still unverified.
func (d *Directory) noteAttempts(subjects []subject, answered bool) {
	var left []subject
	for _, s := range subjects {
		if d.Lookup(s.user).State == Unverified {
			left = append(left, s)
		}
	}
	if err := d.rememberUnverified(left); err != nil {
		d.Logger.Error("storing which account keys are unverified", "error", err)
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, s := range left {
		a := d.attempts[s]
		if a.asked.After(d.Clock()) {
			continue // a mutant has given it up
		}
		a.answered = answered
		a.asked = d.Clock()
		a.next = a.asked.Add(min(firstRetry<<min(a.failures, 20), lastRetry))
		a.failures++
		if d.Defects.Has("NeverAskAgain") {
			a.next, a.asked = a.asked.Add(pollInterval), a.asked.Add(pollInterval)
		}
		if len(d.attempts) >= maxAttempts {
			clear(d.attempts) // they are asked for again with the next event by them
		}
		d.attempts[s] = a
	}
	d.nudge()
}

// rememberUnverified keeps keys in the store, so that they are retried after a restart.
func (d *Directory) rememberUnverified(subjects []subject) error {
	var unknown []subject
	err := d.DB.View(func(tx *store.Tx) error {
		for _, s := range subjects {
			if tx.Table(tableRemote).Get(store.Key(string(s.user))) == nil {
				unknown = append(unknown, s)
			}
		}
		return nil
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	return d.DB.Update(func(tx *store.Tx) error {
		for _, s := range unknown {
			key := store.Key(string(s.user))
			if tx.Table(tableRemote).Get(key) != nil {
				continue
			}
			if err := tx.Table(tableRemote).Put(key, marshal(remoteRecord{Portable: s.portable})); err != nil {
				return err
			}
		}
		return nil
	})
}

// recall schedules the keys that an earlier run has left unverified.
func (d *Directory) recall() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.DB.View(func(tx *store.Tx) error {
		var failed error
		tx.Table(tableRemote).Scan(nil, nil, func(key, value []byte) bool {
			var r remoteRecord
			if failed = json.Unmarshal(value, &r); failed != nil || len(d.attempts) >= maxAttempts {
				return false
			}
			if parts, _ := store.SplitKey(key, 1); r.State == Unverified && len(parts) == 1 && !d.Defects.Has("ForgetWhomToAskAtRestart") {
				d.attempts[subject{matrix.UserID(parts[0]), r.Portable}] = attempt{next: d.Clock()}
			}
			return true
		})
		return failed
	})
}

// nudge has the retrying look again. d.mutex is held.
func (d *Directory) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Start has unverified keys retried, and domains polled for erased keys, until Close.
func (d *Directory) Start() error {
	if err := d.loseAtRestart(); err != nil {
		return err
	}
	if err := d.recall(); err != nil {
		return err
	}
	d.group.Add(1)
	go d.retry()
	return nil
}

func (d *Directory) retry() {
	defer d.group.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	looks := time.Now() // when the timer fires
	polled := d.Clock()
	for {
		select {
		case <-d.closing.Done():
			return
		case <-d.wake:
			// What fails together is looked at together; what fails meanwhile does not put that off.
			if soon := time.Now().Add(retryPause); soon.Before(looks) {
				timer.Reset(retryPause)
				looks = soon
			}
			continue
		case <-timer.C:
		}
		due, next := d.due()
		if len(due) > 0 {
			d.begin(due) // the answers are dealt with as they come
		}
		if now := d.Clock(); now.Sub(polled) > pollInterval {
			polled = now
			d.poll()
		}
		next = max(next, retryPause)
		timer.Reset(next)
		looks = time.Now().Add(next)
	}
}

// due are the keys to ask for now, those whose domain has never answered first (MSC4243, "Server
// behaviour"), and how long it is until the next one is due.
func (d *Directory) due() (subjects []subject, next time.Duration) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	now := d.Clock()
	next = pollInterval
	for s, a := range d.attempts {
		if wait := a.next.Sub(now); wait > 0 {
			next = min(next, wait)
		} else if _, asking := d.asking[s]; !asking {
			subjects = append(subjects, s)
		}
	}
	slices.SortFunc(subjects, func(a, b subject) int {
		x, y := d.attempts[a].answered, d.attempts[b].answered
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	})
	return subjects, next
}

// poll asks every server whose erasures have been read before for new ones.
func (d *Directory) poll() {
	var sources []source
	err := d.DB.View(func(tx *store.Tx) error {
		for _, portable := range [...]bool{false, true} {
			tx.Table(source{portable: portable}.cursors()).Scan(nil, nil, func(key, _ []byte) bool {
				parts, _ := store.SplitKey(key, 1)
				sources = append(sources, source{matrix.ServerName(parts[0]), portable})
				return true
			})
		}
		return nil
	})
	if err != nil {
		d.Logger.Error("reading which servers to poll for erased keys", "error", err)
	}
	d.mutex.Lock()
	for _, from := range sources {
		if _, waiting := d.pending[from]; !waiting {
			d.pending[from] = nil
			d.order = append(d.order, from)
		}
	}
	d.mutex.Unlock()
	d.startAskers()
}
