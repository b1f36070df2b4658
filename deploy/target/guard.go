package target

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"countersign/deploy"
)

// interruptTimeout bounds the closing of a deployment after an interrupt.
const interruptTimeout = 30 * time.Second

// guard closes one deployment when this process is asked to end, and then lets the signal have its
// way. Guards of several deployments need not know of one another: each gives up its claim on the
// signals when it is done and raises the signal again, and the process ends with the last one,
// when nobody claims them any more.
type guard struct {
	signals  chan os.Signal
	cancel   context.CancelCauseFunc // ends an opening that is under way
	opened   chan deploy.Deployment
	released chan struct{}
	once     sync.Once
}

// newGuard claims the signals. The context that it returns ends with the first of them, for as long
// as the deployment is being opened.
func newGuard(ctx context.Context) (*guard, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &guard{
		signals: make(chan os.Signal, 1), cancel: cancel,
		opened: make(chan deploy.Deployment, 1), released: make(chan struct{}),
	}
	signal.Notify(g.signals, endingSignals()...)
	go g.watch()
	return g, ctx
}

// protect gives the guard the deployment that was opened.
func (g *guard) protect(d deploy.Deployment) { g.opened <- d }

// release ends the guard: there is nothing, or nothing any more, to protect.
func (g *guard) release() { g.once.Do(func() { close(g.released) }) }

func (g *guard) watch() {
	defer g.cancel(nil)
	var received os.Signal
	select {
	case <-g.released:
		signal.Stop(g.signals)
		return
	case received = <-g.signals:
	}
	g.cancel(fmt.Errorf("interrupted by the signal %q", received))
	select {
	case <-g.released: // opening failed, or it is closed already
	case d := <-g.opened:
		ctx, cancel := context.WithTimeout(context.Background(), interruptTimeout)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "countersign: cleaning up after an interrupt: %v\n", err)
		}
	}
	signal.Stop(g.signals)
	raise(received)
}
