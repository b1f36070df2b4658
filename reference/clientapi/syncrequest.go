package clientapi

import (
	"strings"
	"time"

	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// syncRequest are the parameters of /sync.
type syncRequest struct {
	session userdb.Session
	// since is nil for an initial sync.
	since      *syncToken
	filter     filter
	fullState  bool
	stateAfter bool
	wait       time.Duration
}

func (a *API) syncRequest(c *call) (*syncRequest, error) {
	q := &syncRequest{
		session: c.session, fullState: c.queryBool("full_state"),
		// MSC4222, under the name it had before it was accepted, too.
		stateAfter: c.queryBool("use_state_after") || c.queryBool("org.matrix.msc4222.use_state_after"),
	}
	if since := c.query("since"); since != "" {
		token, err := parseSyncToken(since)
		if err != nil {
			return nil, err
		}
		q.since = &token
	}
	milliseconds, err := c.queryInt("timeout", 0, int(maxSyncWait.Milliseconds()))
	if err != nil {
		return nil, err
	}
	if q.since != nil && !q.fullState {
		q.wait = time.Duration(milliseconds) * time.Millisecond
	}
	if given := c.query("filter"); given != "" {
		raw := []byte(given)
		if !strings.HasPrefix(given, "{") {
			if raw, err = a.users.Filter(c.user(), given); err != nil {
				return nil, peer.InvalidParam("%v", err)
			}
		}
		if q.filter, err = parseFilter(raw); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// from is where the answer to the request starts, the beginning for an initial sync.
func (q *syncRequest) from() syncToken {
	if q.since == nil {
		return syncToken{}
	}
	return *q.since
}
