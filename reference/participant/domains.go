package participant

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/defect"
	"countersign/reference/internal/lru"
	"countersign/reference/peer"
)

// Claim is what a participation event says and nobody has proved: that a server key is the key of the
// server of a domain (MSC4345, "The unverified_domain property").
type Claim struct {
	Key    matrix.ServerName
	Domain matrix.ServerName
}

// Bounds of asking whether claims are true.
const (
	// lifetime is how long a confirmed claim counts: "may not wish to do so permanently" (MSC4345,
	// "Introducing /_matrix/key/v3/query").
	lifetime   = time.Hour
	askTimeout = 8 * time.Second
	patience   = 3 * time.Second // that an event waits for domains
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	maxClaims  = 32_768
)

// DomainsOptions are what Domains need.
type DomainsOptions struct {
	ServerName matrix.ServerName
	Keys       *Keys
	// Peers reaches other servers, with the backoff that all kinds of requests share.
	Peers  peer.Caller
	Logger *slog.Logger
	Clock  func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
}

// Domains finds out which domains server keys belong to, by asking the domains (MSC4345, "Introducing
// /_matrix/key/v3/query"). It is safe for concurrent use.
type Domains struct {
	DomainsOptions
	// confirmed are the claims that were confirmed, and until when that counts.
	confirmed *lru.Cache[Claim, time.Time]
	// silent are the domains that nobody waits for, as they have not answered the last time.
	silent *lru.Cache[matrix.ServerName, struct{}]

	// mutex guards what follows.
	mutex     sync.Mutex
	listeners []func(Claim)
	// questions are the claims that are being asked about, or whose domain has not confirmed them.
	questions map[Claim]*question
	// busy are the domains that are being asked; each is asked one thing at a time.
	busy map[matrix.ServerName]bool

	// believed are the keys of claims that were confirmed, for a mutant that mixes claims up.
	believed sync.Map

	closing context.Context
	close   context.CancelFunc
	group   sync.WaitGroup
}

// question is a claim that is not confirmed.
type question struct {
	// done is closed when the answer that is waited for has been dealt with; nil when none is.
	done     chan struct{}
	failures int
	// timer asks again.
	timer *time.Timer
}

// NewDomains makes Domains that know nothing yet. Close ends its questions.
func NewDomains(options DomainsOptions) *Domains {
	closing, cancel := context.WithCancel(context.Background())
	return &Domains{
		DomainsOptions: options, confirmed: lru.New[Claim, time.Time](maxClaims), silent: lru.New[matrix.ServerName, struct{}](maxClaims),
		questions: map[Claim]*question{}, busy: map[matrix.ServerName]bool{}, closing: closing, close: cancel,
	}
}

// Close ends the questions that are under way and waits for that.
func (d *Domains) Close() {
	d.mutex.Lock()
	d.close()
	for _, q := range d.questions {
		if q.timer != nil {
			q.timer.Stop()
		}
	}
	d.mutex.Unlock()
	d.group.Wait()
}

// OnVerified has f called whenever a claim is confirmed that was not. f must not block.
func (d *Domains) OnVerified(f func(Claim)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.listeners = append(d.listeners, f)
}

// Verified reports whether a claim is known to be true, without asking anybody. This server knows its own
// keys; of others it believes what their domains have said a while ago at most.
func (d *Domains) Verified(c Claim) bool {
	if c.Domain == d.ServerName {
		_, ok := d.Keys.Find(c.Key)
		return ok || d.Defects.Has("TakeItsOwnDomainForVerified")
	}
	until, ok := d.confirmed.Get(c)
	if !ok {
		return c.Domain != "" && (d.verifiesMore(c) || d.Defects.Has("VerifyDomainsUnasked"))
	}
	return d.Clock().Before(until) || d.Defects.Has("RememberDomainsForever")
}

// Verify asks the domains of claims that are not known to be true. It waits for the answers as long as a
// domain can be expected to answer, or until ctx ends; questions go on after that, and those that were
// not confirmed are repeated with growing pauses. An event is accepted whatever comes of it ("Impositions on
// Client UI" asks for an answer before server_domain is shown, and for nothing else), so that a domain that
// keeps one event waiting in vain keeps no other until it has answered.
func (d *Domains) Verify(ctx context.Context, claims ...Claim) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers := make([]<-chan struct{}, len(claims))
	for i, c := range claims {
		answers[i] = d.ask(c, false)
	}
	for i, c := range claims {
		if _, silent := d.silent.Get(c.Domain); answers[i] == nil || silent {
			continue
		}
		select {
		case <-answers[i]:
		case <-waiting.Done():
			if ctx.Err() == nil {
				d.silent.Put(c.Domain, struct{}{})
			}
		}
	}
}

// Begin is Verify without waiting.
func (d *Domains) Begin(c Claim) { d.ask(c, false) }

// Confirm asks the domain of a claim now, however lately it has not confirmed it, and reports whether it
// does. It is for claims that the domain itself makes, in a request that it has signed.
func (d *Domains) Confirm(ctx context.Context, c Claim) bool {
	if done := d.ask(c, true); done != nil {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	return d.Verified(c)
}

// ask has a claim asked about, unless it is known to be true or, if it is not urgent, was asked about a
// short while ago, and returns what is closed when that has been done.
func (d *Domains) ask(c Claim, urgent bool) (done <-chan struct{}) {
	if c.Domain == "" || c.Domain == d.ServerName || d.Verified(c) || d.mistakenSilence() {
		return nil
	}
	if _, err := matrix.ParseServerKey(string(c.Key)); err != nil {
		return nil
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.closing.Err() != nil {
		return nil
	}
	q, ok := d.questions[c]
	if !ok {
		if len(d.questions) >= maxClaims {
			return nil // they are asked about with a later event
		}
		q = &question{}
		d.questions[c] = q
	}
	if urgent && q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
	if q.done == nil && q.timer == nil {
		q.done = make(chan struct{})
		d.start(c.Domain)
	}
	return q.done
}
