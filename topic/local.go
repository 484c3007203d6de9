package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// insider is a watch from inside the process, as a client that watches one
// topic.
type insider struct {
	hub    *Hub
	to     string
	events bool
	last   *call.Position // what it has seen before, and goes on from; may be nil
	feed   *call.WatchFeed

	mu     sync.Mutex
	topic  []byte // what it is called; nil before the answer
	closed bool
	waits  route.Finisher // is told if it leaves before the answer
}

// Watch has what comes at an address given to somebody in the process, who may
// watch everything. See [call.Watcher].
func (h *Hub) Watch(ctx context.Context, address string, opts ...call.WatchOption) *call.Watch {
	s := call.CollectWatch(opts)
	s.Delta = nil // there is no line on which bytes count
	a, err := message.ParseStrict(address)
	if err != nil {
		return call.FailedWatch(address, err)
	}
	if s.Err != nil {
		return call.FailedWatch(address, s.Err)
	}
	o := options{Params: s.Params, History: s.History}
	if s.Recover != nil {
		o.Recover = &position{s.Recover.Epoch, s.Recover.Offset}
	}
	body, err := json.Marshal(o)
	if err != nil {
		return call.FailedWatch(address, err)
	}
	match, err := h.x.LookupTopic(a)
	if err != nil {
		return call.FailedWatch(address, err)
	}
	c := &insider{hub: h, to: address, events: match.Info(nil).Topic.Events, last: s.Recover}
	c.feed = call.NewWatchFeed(ctx, address, &s, func(*message.Error) { h.later(c.leave) })
	req := &route.Request{
		Message: message.Message{Verb: message.VerbSubscribe, To: []byte(address), Body: body}, Address: a,
		Peer: h.x.Local(), Received: time.Now(),
	}
	req.SetSession(session.Anonymous())
	if err := h.subscribe(c, req, c); err != nil {
		_ = c.Fail(err)
	}
	return c.feed.Watch()
}

func (c *insider) leave() {
	c.mu.Lock()
	c.closed = true
	waits := c.waits
	c.mu.Unlock()
	c.hub.gone(c)
	if waits != nil {
		waits.Finished(route.Outcome{Err: errUnwatched})
	}
}

// Reply implements route.Responder.
func (c *insider) Reply(b route.Body) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return &message.Error{Code: message.CodeCanceled, Message: "the watch is over"}
	}
	c.topic = []byte(b.Stamp.Topic)
	c.mu.Unlock()
	c.feed.Arm(c.events)
	if here := (call.Position{Epoch: b.Stamp.Epoch, Offset: b.Stamp.Offset}); c.events && c.last != nil && *c.last != here {
		c.feed.Push(call.Update{Epoch: here.Epoch, Offset: here.Offset, Gap: true}) // not all since then are kept
	}
	if b.Bytes != nil {
		c.push(&message.Message{
			Body: b.Bytes, ContentType: []byte(b.ContentType), Fault: b.Fault, Epoch: []byte(b.Stamp.Epoch), Offset: b.Stamp.Offset,
		})
	}
	return nil
}

// Fail implements route.Responder.
func (c *insider) Fail(err error) error {
	c.feed.Finish(err)
	c.hub.later(c.leave)
	return nil
}

// Part implements route.Responder.
func (c *insider) Part(route.Body) error { return nil }

// OnFinish implements route.Responder.
func (c *insider) OnFinish(f route.Finisher) {
	c.mu.Lock()
	c.waits = f
	closed := c.closed
	c.mu.Unlock()
	if closed {
		f.Finished(route.Outcome{Err: errUnwatched})
	}
}

// push gives the watch what a message says.
func (c *insider) push(m *message.Message) {
	u := call.Update{Epoch: string(m.Epoch), Offset: m.Offset, Address: string(m.To), Publisher: bytes.Clone(m.Publisher), Gap: m.Verb == message.VerbGap}
	switch {
	case m.Fault:
		u.Fault = message.DecodeError(m.Body)
	case !u.Gap:
		u.Body, u.ContentType = bytes.Clone(m.Body), string(m.ContentType)
	}
	c.feed.Push(u)
}

// Update implements client.
func (c *insider) Update(m *message.Message, _ *exchange.Shared) error {
	if m.Verb == message.VerbUnsubscribe {
		return c.Fail(message.DecodeError(m.Body))
	}
	c.push(m)
	return nil
}

// Relief implements client: it takes everything.
func (c *insider) Relief() <-chan struct{} { return nil }

// Disconnect implements client.
func (c *insider) Disconnect(reason string) {
	_ = c.Fail(message.NewError(message.CodeSlowConsumer, reason, "Read faster."))
}

// MayWatch implements client.
func (c *insider) MayWatch(message.Address) *message.Error { return nil }

// Closed implements client.
func (c *insider) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

var (
	_ client          = (*insider)(nil)
	_ route.Responder = (*insider)(nil)
)
