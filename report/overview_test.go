package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseOverview(t *testing.T) {
	got := ParseOverview(`overview
hs1 = localhost:18761
fake1 = localhost:44603
+0.000s  @alice -> hs1         POST /register                                401 M_UNAUTHORIZED
a line that nobody understands
+0.016s  hs1 -> fake1          PUT /send_join/!dzer-s4…/$hJZHWL1… m.room.member (join)  200
+x  hs1 -> fake1  GET /  200

+0.000s client POST /_matrix/client/v3/register as (nobody)
+0.001s  hs1 -> fake1  GET /  200
`)
	assert.Equal(t, &Overview{
		Names: []OverviewName{{"hs1", "localhost:18761"}, {"fake1", "localhost:44603"}},
		Steps: []Step{
			{0, "@alice", "hs1", "POST /register", "401 M_UNAUTHORIZED"},
			{0.016, "hs1", "fake1", "PUT /send_join/!dzer-s4…/$hJZHWL1… m.room.member (join)", "200"},
		},
	}, got)
	assert.Nil(t, ParseOverview("+0.000s client POST /"))
	assert.Equal(t, &Overview{}, ParseOverview("overview\n"))
}
