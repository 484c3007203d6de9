package middleware

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// maxRoutes bounds what is kept by route pattern. Whoever may serve can make up
// patterns, and metrics and counters must not grow with them.
const maxRoutes = 1000

// byRoute keeps one T a route pattern. Reading takes no lock and allocates
// nothing. Routes beyond maxRoutes share one T.
type byRoute[T any] struct {
	create func(route string) *T

	now atomic.Pointer[map[string]*T] // replaced, never changed

	mu    sync.Mutex // held by changes of now
	other *T
}

// otherRoutes is the name under which routes beyond the bound are put together.
const otherRoutes = "other"

func newByRoute[T any](create func(route string) *T) *byRoute[T] {
	b := &byRoute[T]{create: create}
	b.now.Store(&map[string]*T{})
	return b
}

func (b *byRoute[T]) get(route string) *T {
	if v := (*b.now.Load())[route]; v != nil {
		return v
	}
	return b.add(route)
}

// all returns what is kept, in no order.
func (b *byRoute[T]) all() []*T {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Collect(maps.Values(*b.now.Load()))
	if b.other != nil {
		out = append(out, b.other)
	}
	return out
}

func (b *byRoute[T]) add(route string) *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := *b.now.Load()
	if v := have[route]; v != nil {
		return v
	}
	if len(have) >= maxRoutes {
		if b.other == nil {
			b.other = b.create(otherRoutes)
		}
		return b.other
	}
	more := maps.Clone(have)
	v := b.create(route)
	more[route] = v
	b.now.Store(&more)
	return v
}
