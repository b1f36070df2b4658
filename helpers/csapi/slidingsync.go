package csapi

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"countersign/helpers/wait"
)

// SlidingSync calls simplified sliding sync (MSC4186) once, from a position or, when that is empty, from
// the beginning. The server may hold the request for hold when there is nothing new.
func (c *Client) SlidingSync(t testing.TB, position string, hold time.Duration, body any) *Response {
	t.Helper()
	params := []Param{Body(body), Query("timeout", strconv.FormatInt(hold.Milliseconds(), 10)), Timeout(hold + wait.Limit())}
	if position != "" {
		params = append(params, Query("pos", position))
	}
	return c.Request(t, http.MethodPost, Path("unstable", "org.matrix.simplified_msc3575", "sync"), params...)
}
