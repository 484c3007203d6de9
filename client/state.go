package client

import (
	"context"
	"fmt"
	"slices"
)

// State is what a client is doing about its connection.
//
//	          ┌──────────── drop ───────────┐
//	          ▼                             │
//	Offline ─────► Connecting ─────► Online ┴─► Draining
//	   ▲               │ failed        ▲           │ │ drop
//	   │               │               └─ another ─┘ │
//	   └───────────────┴─────────────────────────────┘
//	any ─► Closed, by Close or when the node says not to come back
type State uint8

// The states.
const (
	// Offline waits before it tries again. Messages are queued.
	Offline State = iota
	// Connecting is trying. Messages are queued.
	Connecting
	// Online has been welcomed by a node.
	Online
	// Draining still gets its answers, but the node takes nothing new here:
	// messages are queued for the next connection, which the client is making
	// meanwhile if it knows another node.
	Draining
	// Closed is the end; [Client.Err] says why.
	Closed
)

var stateNames = [...]string{"offline", "connecting", "online", "draining", "closed"}

// String returns the state as one word.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// maxEvents bounds the events that a slow listener has not heard of yet; the
// oldest are dropped, since the last one is what counts.
const maxEvents = 64

// watchers tells functions of events, in order, from one goroutine. Guarded by
// Client.mu.
type watchers[T any] struct {
	funcs   []func(T)
	events  []T
	running bool
}

// watch adds a function; c.mu is held.
func (w *watchers[T]) watch(f func(T)) { w.funcs = append(slices.Clip(w.funcs), f) }

// add has the functions told of an event; c.mu is held.
func (w *watchers[T]) add(c *Client, event T) {
	if len(w.funcs) == 0 {
		return
	}
	if len(w.events) == maxEvents {
		w.events = slices.Delete(w.events, 0, 1)
	}
	w.events = append(w.events, event)
	w.run(c)
}

// run starts to tell what there is to tell; c.mu is held.
func (w *watchers[T]) run(c *Client) {
	if !w.running && len(w.events) > 0 {
		w.running = c.lane.Do(func(context.Context) { w.tell(c) })
	}
}

// tell runs the functions until there is nothing to tell.
func (w *watchers[T]) tell(c *Client) {
	defer func() { // also after a panic of a function, which the lane logs
		c.mu.Lock()
		defer c.mu.Unlock()
		w.running = false
		w.run(c)
	}()
	for {
		c.mu.Lock()
		if len(w.events) == 0 {
			c.mu.Unlock()
			return
		}
		event := w.events[0]
		w.events = w.events[1:]
		funcs := w.funcs
		c.mu.Unlock()
		for _, f := range funcs {
			f(event)
		}
	}
}

// OnState has f told of every change of state from now on, in order, one at a
// time. f runs on a goroutine of the client and may call it, but not
// its Close; a slow f misses old changes, never the last.
func (c *Client) OnState(f func(State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch.watch(f)
}

// setState changes the state, unless it is the last one; c.mu is held.
func (c *Client) setState(s State) {
	if c.state == s || c.state == Closed {
		return
	}
	c.state = s
	c.watch.add(c, s)
}
