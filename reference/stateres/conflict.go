package stateres

// partition splits the state sets into the unconflicted state map, a new map, and the conflicted state
// set ("Unconflicted state map and conflicted state set").
func partition(sets []StateMap) (unconflicted StateMap, conflicted []string) {
	if len(sets) == 0 {
		return StateMap{}, nil
	}
	unconflicted = make(StateMap, len(sets[0]))
	for place, id := range sets[0] {
		agreed := true
		for _, other := range sets[1:] {
			if other[place] != id { // event IDs are not empty, so absence differs too
				agreed = false
				break
			}
		}
		if agreed {
			unconflicted[place] = id
		}
	}
	seen := map[string]bool{}
	for _, s := range sets {
		for place, id := range s {
			if _, ok := unconflicted[place]; !ok && !seen[id] {
				seen[id] = true
				conflicted = append(conflicted, id)
			}
		}
	}
	return unconflicted, conflicted
}

// fullConflictedSet is the definition "Full conflicted set".
func (r *resolution) fullConflictedSet(sets []StateMap, unconflicted StateMap, conflicted []string) (*set, error) {
	starts, err := r.allNumbers(conflicted)
	if err != nil {
		return nil, err
	}
	full := &set{}
	for _, n := range starts {
		full.add(n)
	}
	subgraph, err := r.conflictedSubgraph(starts, full)
	if err != nil {
		return nil, err
	}
	difference, err := r.authDifference(sets, unconflicted)
	if err != nil {
		return nil, err
	}
	full.addAll(subgraph)
	full.addAll(difference)
	return full, nil
}

// authDifference is the definition "Auth difference".
//
// The auth chains of unconflicted events belong to every C_i, and so does everything behind them; they
// are walked once, and the chains of each set's other events only as far as they stay outside.
func (r *resolution) authDifference(sets []StateMap, unconflicted StateMap) (*set, error) {
	shared, err := r.chainsOfUnconflicted(unconflicted)
	if err != nil {
		return nil, err
	}
	var union, intersection *set
	for _, s := range sets {
		chain, err := r.chainsOfOthers(s, unconflicted, shared)
		if err != nil {
			return nil, err
		}
		if union == nil {
			union, intersection = &set{}, chain
		} else {
			intersection = intersection.intersect(chain)
		}
		union.addAll(chain)
	}
	return union.without(intersection), nil
}

func (r *resolution) chainsOfUnconflicted(unconflicted StateMap) (*set, error) {
	starts := make([]number, 0, len(unconflicted))
	for _, id := range unconflicted {
		n, err := r.number(id)
		if err != nil {
			return nil, err
		}
		starts = append(starts, n)
	}
	shared := &set{}
	return shared, r.addAuthChains(shared, &set{}, starts)
}

// chainsOfOthers is the union of the auth chains of a state's conflicted events, less what is shared.
func (r *resolution) chainsOfOthers(s, unconflicted StateMap, shared *set) (*set, error) {
	var starts []number
	for place, id := range s {
		if _, ok := unconflicted[place]; ok {
			continue
		}
		n, err := r.number(id)
		if err != nil {
			return nil, err
		}
		starts = append(starts, n)
	}
	chain := &set{}
	return chain, r.addAuthChains(chain, shared, starts)
}

// conflictedSubgraph is the definition "Conflicted state subgraph": every event on a path along auth
// events from one conflicted event to another. Such an event is reached from a conflicted event and
// reaches one; ends of paths are conflicted events themselves.
func (r *resolution) conflictedSubgraph(starts []number, conflicted *set) (*set, error) {
	subgraph, done := &set{}, &set{}
	// A depth-first walk that leaves an event after all of its auth events: then it is known whether
	// any of them leads to a conflicted event.
	type visit struct {
		n    number
		next int // index of the next auth event to visit
	}
	for _, start := range starts {
		if !done.add(start) {
			continue
		}
		for stack := []visit{{n: start}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			auth, err := r.auth(top.n)
			if err != nil {
				return nil, err
			}
			if top.next < len(auth) {
				a := auth[top.next]
				top.next++
				if done.add(a) {
					stack = append(stack, visit{n: a})
				}
				continue
			}
			for _, a := range auth {
				if conflicted.has(a) || subgraph.has(a) {
					subgraph.add(top.n)
				}
			}
			stack = stack[:len(stack)-1]
		}
	}
	return subgraph, nil
}
