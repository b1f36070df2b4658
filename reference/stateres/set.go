package stateres

import "math/bits"

// set is a set of events. The zero value is empty and grows as needed.
type set struct{ words []uint64 }

func (s *set) has(n number) bool {
	w := int(n >> 6)
	return w < len(s.words) && s.words[w]&(1<<(n&63)) != 0
}

// add adds an event and reports whether it was not there before.
func (s *set) add(n number) bool {
	w, bit := int(n>>6), uint64(1)<<(n&63)
	if w >= len(s.words) {
		s.words = append(s.words, make([]uint64, w+1-len(s.words))...)
	}
	if s.words[w]&bit != 0 {
		return false
	}
	s.words[w] |= bit
	return true
}

// addAll adds the events of another set.
func (s *set) addAll(other *set) {
	if len(other.words) > len(s.words) {
		s.words = append(s.words, make([]uint64, len(other.words)-len(s.words))...)
	}
	for i, w := range other.words {
		s.words[i] |= w
	}
}

// intersect returns the events that are in both sets.
func (s *set) intersect(other *set) *set {
	out := &set{words: make([]uint64, min(len(s.words), len(other.words)))}
	for i := range out.words {
		out.words[i] = s.words[i] & other.words[i]
	}
	return out
}

// without returns the events of s that are not in other.
func (s *set) without(other *set) *set {
	out := &set{words: append([]uint64(nil), s.words...)}
	for i := range min(len(s.words), len(other.words)) {
		out.words[i] &^= other.words[i]
	}
	return out
}

func (s *set) count() (n int) {
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// all iterates over the events in the order of their numbers.
func (s *set) all(yield func(number) bool) {
	for i, w := range s.words {
		for ; w != 0; w &= w - 1 {
			if !yield(number(i<<6 + bits.TrailingZeros64(w))) {
				return
			}
		}
	}
}
