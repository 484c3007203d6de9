package topic

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// client is a connection that watches, or somebody in the process.
type client interface {
	// Update delivers without blocking; CodeOverloaded means that it has enough
	// waiting.
	Update(m *message.Message, s *exchange.Shared) error
	// Relief returns a channel that is closed when it takes more.
	Relief() <-chan struct{}
	// Disconnect ends it.
	Disconnect(reason string)
	// MayWatch tells whether it may watch an address now.
	MayWatch(a message.Address) *message.Error
	// Closed tells whether it is over.
	Closed() bool
}

// watch is one topic that one client watches: small, there are many.
type watch struct {
	t *topic
	v *viewer

	// Guarded by t.mu.
	seen     *event // of state: what it was given last
	offset   uint64 // of events: up to where it was given all
	deltas   deltas
	at       int32 // place in t.watchers; -1: none
	behind   bool  // it has to be given what it has missed
	answered bool  // it is not its first subscribe
}

// viewer is a client with what it watches.
//
// t.mu of a topic is taken before mu.
type viewer struct {
	hub    *Hub
	client client

	mu      sync.Mutex
	gone    chan struct{} // closed when the client is over
	over    bool
	watches []*watch // by the number of the topic
	late    []*watch // are behind
	params  int      // bytes of the parameters of all watches
	helped  bool     // somebody waits until it takes more
}

// mayStill asks again whether the client may watch, and is who it was, for one
// that had to wait.
func (v *viewer) mayStill(t *topic, a message.Address) error {
	if err := v.client.MayWatch(a); err != nil {
		return err // not a nil *message.Error in an error
	}
	c, ok := v.client.(interface{ Session() *session.Session })
	if ok && t.who != nil && keyOf(t.to, t.params, c.Session()) != t.key {
		return errOther(t.to)
	}
	return nil
}

// errOther is for those who are not any more whom a personal topic was opened for.
func errOther(to string) *message.Error {
	return &message.Error{
		Code: message.CodeRevoked, Message: "what is seen at " + to + " depends on who looks, and that has changed",
		Hint: "Subscribe again.", Retryable: true,
	}
}

// maxParams bounds the parameters of all that a connection watches, in bytes.
const maxParams = 8 << 20

// watching returns the client's watch of a topic, which may be new. t.mu is held.
func (v *viewer) watching(t *topic) (*watch, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, known := v.place(t)
	if known {
		w := v.watches[at]
		w.answered = true
		return w, nil
	}
	switch {
	case v.over:
		return nil, &message.Error{Code: message.CodeCanceled, Message: "the connection is closed"}
	case len(v.watches) >= v.hub.cfg.MaxWatches:
		return nil, message.NewError(message.CodeTooManyTopics, fmt.Sprintf("this connection watches %d topics already", len(v.watches)),
			"Unsubscribe from what nobody looks at, watch a pattern, or raise limits.watches in the node's configuration.")
	case len(t.params) > 0 && v.params+len(t.params) > maxParams:
		return nil, message.NewError(message.CodeTooManyTopics, "the parameters of what this connection watches are longer than 8 MiB",
			"Unsubscribe from what nobody looks at, or send smaller parameters.")
	}
	v.params += len(t.params)
	w := t.newWatch(v)
	v.watches = slices.Insert(v.watches, at, w)
	return w, nil
}

// place is where the watch of a topic is, or belongs. Less memory than a map,
// and most watch few topics. mu is held.
func (v *viewer) place(t *topic) (at int, known bool) {
	return slices.BinarySearchFunc(v.watches, t.number, byNumber)
}

func byNumber(w *watch, n uint64) int { return cmp.Compare(w.t.number, n) }

// drop forgets a watch.
func (v *viewer) drop(w *watch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if at, known := v.place(w.t); known && v.watches[at] == w {
		v.watches = slices.Delete(v.watches, at, at+1)
		v.params -= len(w.t.params)
	}
}

// wait has a watch given what it misses when the client takes more.
func (v *viewer) wait(w *watch) {
	v.mu.Lock()
	v.late = append(v.late, w)
	start := !v.helped && !v.over
	v.helped = v.helped || start
	v.mu.Unlock()
	if start && !v.hub.lane.Go("topic slow watcher", v.help) {
		v.mu.Lock()
		v.helped = false
		v.mu.Unlock()
	}
}

// help gives the client what it has missed, as fast as it takes it.
func (v *viewer) help(ctx context.Context) {
	for {
		select {
		case <-v.client.Relief():
		case <-v.gone:
			return
		case <-ctx.Done():
			return
		}
		v.mu.Lock()
		late := v.late
		v.late = nil
		if len(late) == 0 {
			v.helped = false
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		for i, w := range late {
			if !w.t.catchUp(w) { // and waits anew
				v.mu.Lock()
				v.late = append(v.late, late[i+1:]...)
				v.mu.Unlock()
				break
			}
		}
	}
}

// leave ends it and returns what it watched.
func (v *viewer) leave() []*watch {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return nil
	}
	v.over = true
	close(v.gone)
	list := v.watches
	v.watches, v.late = nil, nil
	return list
}

// all returns what it watches.
func (v *viewer) all() []*watch {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.watches)
}

// find returns the watch of a topic, or nil.
func (v *viewer) find(topic []byte) *watch {
	v.mu.Lock()
	defer v.mu.Unlock()
	n, err := strconv.ParseUint(string(topic), idBase, 64)
	if err != nil {
		return nil
	}
	at, known := slices.BinarySearchFunc(v.watches, n, byNumber)
	if !known || string(v.watches[at].t.id) != string(topic) { // "01" is not "1"
		return nil
	}
	return v.watches[at]
}
