package webpage

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"countersign/report"
)

// The measures of a sequence diagram, in units of its picture.
const (
	laneNarrow = 180
	laneMiddle = 210
	laneWide   = 290 // where there are few of them
	laneMargin = 70
	laneTop    = 52
	stepHeight = 30
	letter     = 6.7 // about the width of a letter
)

// The bounds of a diagram: how many arrows it has, of which the first tell how it began, and how many
// users have a lane of their own. A scenario is drawn to be read from its beginning to its end.
const (
	arrowsShown    = 60
	arrowsScenario = 300
	arrowsFirst    = 20
	usersShown     = 4
)

// everyUser is the lane of the users where there are too many of them.
const everyUser = "users"

// diagram is what was on the wire during a test as a sequence diagram: a lane for each who took part,
// and an arrow for each request, from above.
type diagram struct {
	Width, Height int
	Bottom        int
	Lanes         []lane
	Arrows        []arrow
	// Quiet is how many requests are left out because they only wait or fetch keys.
	Quiet int
}

type lane struct {
	X          int
	Name, Full string
}

// arrow is one request, or several of the same in a row; or, without a lane to come from, a mark where
// some are left out.
type arrow struct {
	Y            int
	From, To     int // the ends of the line
	Head         string
	TextX, TextY int
	When         string
	Asked        string
	Answer       string
	Fine         bool
	Times        int
	Missing      int
}

// newDiagram draws an overview with so many arrows at most. It is nil when there is nothing to draw.
func newDiagram(o *report.Overview, shown int) *diagram {
	if o == nil {
		return nil
	}
	d := &diagram{}
	steps := d.join(o.Steps)
	if len(steps) == 0 {
		return nil
	}
	at := d.lanes(o, steps)
	missing := 0
	if len(steps) > shown {
		missing = len(steps) - shown
		steps = slices.Concat(steps[:arrowsFirst], steps[arrowsFirst+missing:])
	}
	y := laneTop
	for i, step := range steps {
		y += stepHeight
		if missing > 0 && i == arrowsFirst {
			d.Arrows = append(d.Arrows, arrow{Y: y, TextX: d.Lanes[0].X, TextY: y - 4, Missing: missing})
			y += stepHeight
		}
		d.Arrows = append(d.Arrows, newArrow(step, at[step.From], at[step.To], y))
	}
	d.Bottom = y + 12
	d.Height = d.Bottom + 8
	d.Width = d.Lanes[len(d.Lanes)-1].X + laneMargin
	for _, a := range d.Arrows {
		d.Width = max(d.Width, a.TextX+a.width())
	}
	return d
}

// joined is a step, or several of the same in a row.
type joined struct {
	report.Step
	times int
}

// join leaves out what only waits or fetches keys, and puts repeated steps together.
func (d *diagram) join(steps []report.Step) []joined {
	users := map[string]bool{}
	for _, step := range steps {
		if strings.HasPrefix(step.From, "@") {
			users[step.From] = true
		}
	}
	var kept []joined
	for _, step := range steps {
		if quiet(step) {
			d.Quiet++
			continue
		}
		if len(users) > usersShown && users[step.From] {
			step.From = everyUser
		}
		if last := len(kept) - 1; last >= 0 && kept[last].From == step.From && kept[last].To == step.To &&
			kept[last].Asked == step.Asked && kept[last].Answer == step.Answer {
			kept[last].times++
			continue
		}
		kept = append(kept, joined{step, 1})
	}
	return kept
}

// quiet reports whether a step says nothing about what happens: a poll, a request for keys, and the
// question which comes before registration.
func quiet(step report.Step) bool {
	return strings.HasPrefix(step.Asked, "GET /sync") || strings.HasPrefix(step.Asked, "GET /key/") ||
		step.Asked == "POST /register" && strings.HasPrefix(step.Answer, "401")
}

// lanes gives everyone who takes part a place: users first, then homeservers, then fake servers.
func (d *diagram) lanes(o *report.Overview, steps []joined) map[string]int {
	full, order := map[string]string{}, []string{}
	for _, name := range o.Names {
		full[name.Short] = name.Name
		order = append(order, name.Short)
	}
	rank := func(name string) int {
		switch at := slices.Index(order, name); {
		case strings.HasPrefix(name, "@") || name == everyUser:
			return -1
		case at >= 0:
			return at
		}
		return len(order)
	}
	var names []string
	for _, step := range steps {
		for _, name := range []string{step.From, step.To} {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	at := map[string]int{}
	width := laneMiddle
	switch {
	case len(names) <= 3:
		width = laneWide
	case len(names) > 5:
		width = laneNarrow
	}
	for i, name := range names {
		x := laneMargin + i*width
		at[name] = x
		d.Lanes = append(d.Lanes, lane{x, strings.TrimPrefix(name, "@"), full[name]})
	}
	return at
}

func newArrow(step joined, from, to, y int) arrow {
	const head = 7
	a := arrow{
		Y: y, From: from, To: to, TextX: min(from, to) + 8, TextY: y - 6,
		When: fmt.Sprintf("+%.3f s", step.Seconds), Asked: step.Asked, Answer: step.Answer, Times: step.times,
		Fine: strings.HasPrefix(step.Answer, "2"),
	}
	back := -head
	if to < from {
		back = head
	}
	if to == from { // somebody who asks themselves, such as a user of a server that is not known
		a.To, back = to+40, -head
	}
	a.Head = fmt.Sprintf("M%d %dl%d -4v8z", a.To, y, back)
	return a
}

// width is about how wide the text of an arrow is.
func (a *arrow) width() int {
	letters := utf8.RuneCountInString(a.Asked) + utf8.RuneCountInString(a.Answer) + 8
	return int(float64(letters)*letter) + 8
}
