package webpage

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

func TestDiagram(t *testing.T) {
	assert.Nil(t, newDiagram(nil, arrowsShown))
	assert.Nil(t, newDiagram(&report.Overview{Steps: []report.Step{{From: "@a", To: "hs1", Asked: "GET /sync", Answer: "200"}}}, arrowsShown))

	d := newDiagram(&report.Overview{
		Names: []report.OverviewName{{Short: "hs1", Name: "one.example"}, {Short: "hs2", Name: "two.example"}, {Short: "fake1", Name: "localhost:1"}},
		Steps: []report.Step{
			{Seconds: 0, From: "@alice", To: "hs1", Asked: "POST /register", Answer: "401 M_UNAUTHORIZED"},
			{Seconds: 0.1, From: "fake1", To: "hs2", Asked: "PUT /send m.room.message", Answer: "200"},
			{Seconds: 0.2, From: "fake1", To: "hs2", Asked: "PUT /send m.room.message", Answer: "200"},
			{Seconds: 0.3, From: "@alice", To: "hs1", Asked: "POST /join", Answer: "no answer"},
		},
	}, arrowsShown)
	var lanes []string
	for _, l := range d.Lanes {
		lanes = append(lanes, l.Name+" "+l.Full)
	}
	assert.Equal(t, []string{"alice ", "hs1 one.example", "hs2 two.example", "fake1 localhost:1"}, lanes)
	require.Len(t, d.Arrows, 2)
	assert.Equal(t, 1, d.Quiet)
	assert.Equal(t, 2, d.Arrows[0].Times, "what is repeated is one arrow")
	assert.Greater(t, d.Arrows[0].From, d.Arrows[0].To, "it points to the left")
	assert.True(t, d.Arrows[0].Fine)
	assert.False(t, d.Arrows[1].Fine)
}

// A test with very many requests and users makes a picture that can be looked at.
func TestDiagram_IsBounded(t *testing.T) {
	o := &report.Overview{}
	for i := range 500 {
		o.Steps = append(o.Steps, report.Step{From: fmt.Sprintf("@user%d", i%50), To: "hs1", Asked: fmt.Sprintf("PUT /x/%d", i), Answer: "200"})
	}
	d := newDiagram(o, arrowsShown)
	assert.Len(t, d.Lanes, 2)
	assert.Equal(t, everyUser, d.Lanes[0].Name)
	require.Len(t, d.Arrows, arrowsShown+1)
	assert.Equal(t, 500-arrowsShown, d.Arrows[arrowsFirst].Missing)
	assert.Equal(t, "PUT /x/499", d.Arrows[arrowsShown].Asked)
}
