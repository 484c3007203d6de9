package route

import "iter"

// Params are the segments of a path that a pattern gives a name. They are found
// in the path when they are asked for, so that matching costs nothing.
//
// Params is a value: copy it freely and use it from any goroutine. The zero
// Params has no parameter. Values are parts of the path: nothing is decoded.
type Params struct {
	names []param // of the pattern; shared, never written
	path  string
}

// Get returns the segment that matched {name}, or "". Get("**") returns what a
// ** matched, without the slash in front.
func (p Params) Get(name string) string {
	for i := range p.names {
		if p.names[i].name == name {
			return p.value(&p.names[i])
		}
	}
	return ""
}

// Len is the number of parameters.
func (p Params) Len() int { return len(p.names) }

// All iterates over names and values, in the order of the path.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range p.names {
			if !yield(p.names[i].name, p.value(&p.names[i])) {
				return
			}
		}
	}
}

func (p Params) value(at *param) string {
	rest := p.path
	for range at.at {
		if rest == "" {
			return ""
		}
		_, rest = cutSegment(rest)
	}
	if rest == "" || at.rest {
		return rest[min(1, len(rest)):]
	}
	seg, _ := cutSegment(rest)
	return seg
}
