package script

import (
	"slices"
	"sync"
)

// maxPrograms bounds the programs that are kept.
const maxPrograms = 2000

// programs keeps what was compiled for as long as the files are the same.
type programs struct {
	tree  *tree
	limit int

	mu   sync.Mutex
	list map[string]*slot
}

// slot is the newest program of a script. Its lock has a script compiled once
// however many want it.
type slot struct {
	mu   sync.Mutex
	prog *program
}

func newPrograms(t *tree, limit int) *programs {
	return &programs{tree: t, limit: limit, list: map[string]*slot{}}
}

// get returns the program of a script as its files are now. It reads files.
func (ps *programs) get(path string) *program {
	ps.mu.Lock()
	s := ps.list[path]
	if s == nil {
		if len(ps.list) >= maxPrograms {
			clear(ps.list)
		}
		s = &slot{}
		ps.list[path] = s
	}
	ps.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prog != nil {
		s.prog = ps.fresh(s.prog)
	}
	if s.prog == nil {
		s.prog = compile(ps.tree, path, ps.limit)
	}
	return s.prog
}

// fresh returns a program if its files are what they were, else nil. It knows
// more about them than before if they were young.
func (ps *programs) fresh(p *program) *program {
	var sources []source
	for i, s := range p.sources {
		now, ok := ps.tree.same(s, ps.limit)
		if !ok {
			return nil
		}
		if s.young && !now.young {
			if sources == nil {
				sources = slices.Clone(p.sources)
			}
			sources[i] = now
		}
	}
	if sources == nil {
		return p
	}
	next := *p
	next.sources = sources
	return &next
}
