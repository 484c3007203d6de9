package web

import (
	"context"
	"sync"
)

// hosts bounds the requests to each host.
type hosts struct {
	limit int

	mu    sync.Mutex
	slots map[string]*hostSlots
}

// hostSlots are those of one host. users are the requests that have a slot or
// wait for one; without any it is forgotten.
type hostSlots struct {
	users int
	taken chan struct{}
}

// enter waits for a slot, until ctx ends. leave has to be called once.
func (h *hosts) enter(ctx context.Context, host string) (leave func(), err error) {
	h.mu.Lock()
	s := h.slots[host]
	if s == nil {
		s = &hostSlots{taken: make(chan struct{}, h.limit)}
		h.slots[host] = s
	}
	s.users++
	h.mu.Unlock()
	forget := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if s.users--; s.users == 0 {
			delete(h.slots, host)
		}
	}
	select {
	case s.taken <- struct{}{}:
		return func() {
			<-s.taken
			forget()
		}, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
