package blueprints

import (
	"sync"

	"countersign/fakeserver"
)

// Controls remembers which controls of the matrix of forgeries have passed. The control of a path that
// needs a room of its own is the same for every forgery of a kind of event: it is carried out once, and
// again by each trial for as long as it has not passed. It is safe for concurrent use.
type Controls struct {
	mu    sync.Mutex
	known map[controlOf]*control
}

// controlOf is what a control depends on: the path, and the kind of event.
type controlOf struct {
	path string
	on   fakeserver.Kind
}

type control struct {
	mu     sync.Mutex
	passed bool
}

// NewControls remembers nothing yet. One value serves all the forgeries of one room version.
func NewControls() *Controls { return &Controls{known: map[controlOf]*control{}} }

// once carries out a control unless it has passed before. When it fails, it ends the test, and the next
// test tries it again.
func (c *Controls) once(of controlOf, try func()) {
	c.mu.Lock()
	one := c.known[of]
	if one == nil {
		one = new(control)
		c.known[of] = one
	}
	c.mu.Unlock()

	one.mu.Lock()
	defer one.mu.Unlock()
	if !one.passed {
		try()
		one.passed = true
	}
}
