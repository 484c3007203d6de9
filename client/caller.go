package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// waiter is the sink of a call that one goroutine waits for.
type waiter struct {
	done   chan struct{}
	answer *call.Answer
	err    error
}

func newWaiter() *waiter { return &waiter{done: make(chan struct{})} }

func (w *waiter) part(call.Part) error { return nil }

func (w *waiter) finish(a *call.Answer, err error) {
	w.answer, w.err = a, err
	close(w.done)
}

// streamer is the sink of a stream.
type streamer struct{ feed *call.Feed }

func (s streamer) part(p call.Part) error           { return s.feed.Push(p) }
func (s streamer) finish(a *call.Answer, err error) { s.feed.Finish(a, err) }

// end tells the sink the outcome. Whoever moves a flight to its last phase
// calls it, once, without a lock.
func (f *flight) end(a *call.Answer, err error) {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.sink.finish(a, err)
}

// Call implements [call.Caller].
func (c *Client) Call(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	s := call.Collect(opts)
	return c.ask(ctx, message.VerbCall, address, body, &s)
}

// ask sends a message and waits for its answer.
func (c *Client) ask(ctx context.Context, verb message.Verb, address string, body any, s *call.Settings) (*call.Answer, error) {
	w := newWaiter()
	return c.await(ctx, verb, address, body, s, w, w)
}

// await is ask with a sink of its own, which is or has the waiter w.
func (c *Client) await(ctx context.Context, verb message.Verb, address string, body any, s *call.Settings, to sink, w *waiter) (*call.Answer, error) {
	f, err := c.prepare(ctx, verb, address, body, s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	f.sink = to
	c.arm(f)
	c.mu.Unlock()
	if err := c.enqueue(ctx, f.out, w.done); err != nil {
		c.abandon(f, err)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		c.abandon(f, call.Ended(ctx))
		<-w.done
	}
	return w.answer, w.err
}

// Stream implements [call.Caller]. It never waits: a full queue ends the
// stream with CodeOverloaded.
func (c *Client) Stream(ctx context.Context, address string, body any, opts ...call.Option) *call.Stream {
	s := call.Collect(opts)
	f, err := c.prepare(ctx, message.VerbCall, address, body, &s)
	if err != nil {
		return call.Failed(err)
	}
	c.mu.Lock() // keeps a ctx that ends right now from ending a flight without a sink
	feed := call.NewFeed(ctx, s.Buffer, func(err *message.Error) { c.abandon(f, err) })
	f.sink = streamer{feed}
	c.arm(f)
	c.mu.Unlock()
	if err := c.offer(f.out); err != nil {
		c.abandon(f, err)
	}
	return feed.Stream()
}

// Gather implements [call.Caller].
func (c *Client) Gather(ctx context.Context, address string, body any, opts ...call.Option) (*call.Gathered, error) {
	s := call.Collect(opts)
	if s.Strategy.By == "" {
		s.Strategy.By = "all"
	}
	a, err := c.ask(ctx, message.VerbCall, address, body, &s)
	if err != nil {
		return nil, err
	}
	return call.DecodeGathered(a.Body)
}

// Send implements [call.Caller]. Without an acknowledgement a message is given
// up when the connection is lost just while it is written; messages that wait
// longer are sent on the next connection, in their order and with their ids.
func (c *Client) Send(ctx context.Context, address string, body any, opts ...call.Option) error {
	s := call.Collect(opts)
	if s.Ack {
		_, err := c.ask(ctx, message.VerbSend, address, body, &s)
		return err
	}
	o, err := c.outgoing(ctx, message.VerbSend, address, body, &s)
	if err != nil {
		return err
	}
	return c.enqueue(ctx, o, nil)
}

// prepare makes a flight of a message that will be answered.
func (c *Client) prepare(ctx context.Context, verb message.Verb, address string, body any, s *call.Settings) (*flight, error) {
	o, err := c.outgoing(ctx, verb, address, body, s)
	if err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	now := time.Now()
	o.deadline = s.Deadline(now, deadline, ok)
	o.flight = &flight{out: o, mid: string(o.msg.Mid), idempotent: s.Idempotent}
	if s.Strategy.Gathers() {
		// At the deadline the node sends what it has, and that takes a moment.
		o.flight.grace = gatherGrace
		if ok && !deadline.After(o.deadline) { // the context does not wait for it
			o.deadline = o.deadline.Add(-min(o.deadline.Sub(now)/10, gatherEarly))
		}
	}
	return o.flight, nil
}

// outgoing makes the message. It shares no memory with what it is made of.
func (c *Client) outgoing(ctx context.Context, verb message.Verb, address string, body any, s *call.Settings) (*outgoing, error) {
	if ctx.Err() != nil {
		return nil, call.Ended(ctx)
	}
	if _, err := message.ParseStrict(address); err != nil {
		return nil, err
	}
	b, err := call.Encode(body, s.ContentType)
	if err != nil {
		return nil, err
	}
	switch body.(type) {
	case []byte, json.RawMessage, route.Body:
		b.Bytes = bytes.Clone(b.Bytes) // it is the caller's
	}
	o := &outgoing{noWait: s.NoWait, msg: message.Message{
		Verb: verb,
		To:   []byte(address),
		Mid:  []byte(message.NewMid()),
		Body: b.Bytes,
		Ack:  s.Ack && verb == message.VerbSend,
	}}
	if b.ContentType != "" {
		o.msg.ContentType = []byte(b.ContentType)
	}
	str := s.Strategy
	// That others than calls are, only the client has to know.
	str.Idempotent = str.Idempotent && verb == message.VerbCall
	if str != (route.Selection{}) {
		o.msg.Strategy = str.AppendJSON(nil)
	}
	if s.Type != "" {
		o.msg.Type = []byte(s.Type)
	}
	if s.Authorization != "" {
		o.msg.Authorization = []byte(s.Authorization)
	}
	for _, h := range s.Headers {
		o.msg.SetHeader(h.Name, h.Value)
	}
	injectTrace(ctx, &o.msg)
	return o, c.measure(o)
}

// measure sets what the message weighs and refuses it if the node would.
func (c *Client) measure(o *outgoing) error {
	m := &o.msg
	envelope := envelopeCost + len(m.To) + len(m.Mid) + len(m.Headers) + len(m.Type) + len(m.Authorization) + len(m.Session) +
		len(m.ContentType) + len(m.Strategy)
	body := len(m.Body)
	if c.cfg.json && m.ContentType != nil {
		body = (body + 2) / 3 * 4
	}
	o.cost = envelope + body
	limit := c.frameLimit()
	// Escapes make a byte of text six at most.
	if limit == 0 || 6*envelope+envelopeCost+body <= limit {
		return nil
	}
	o.cost = len(appendFrame(nil, m, c.cfg.json)) + envelopeCost // room for the time-out
	if o.cost > limit {
		return errTooLarge(o.cost, limit)
	}
	return nil
}

func errTooLarge(size, limit int) *message.Error {
	return message.NewError(message.CodeTooLarge,
		fmt.Sprintf("the message has %d bytes, and the node takes at most %d", size, limit),
		"Send less at a time, or raise the node's limit for frames.")
}

const (
	// gatherGrace is how much longer than a gather lasts its answer may take.
	gatherGrace = time.Second
	// gatherEarly is how much earlier than a context a gather ends, at most, so
	// that its answer comes in time.
	gatherEarly = 250 * time.Millisecond
)

// arm has the flight end at its deadline; c.mu is held. It is one runtime timer
// a call rather than a wheel: a wheel would wake an idle client fifty times a
// second.
func (c *Client) arm(f *flight) {
	f.timer = time.AfterFunc(time.Until(f.out.deadline)+f.grace, func() {
		c.abandon(f, message.NewError(message.CodeDeadlineExceeded,
			"no answer from "+string(f.out.msg.To)+" in time",
			"Give it more time with WithTimeout, or find out what the service is waiting for."))
	})
}

// abandon ends a flight from our side, if it is still on.
func (c *Client) abandon(f *flight, err error) {
	c.mu.Lock()
	on := c.session.cancel(f)
	c.mu.Unlock()
	if on {
		c.nudge()
		f.end(nil, err)
	}
}

// enqueue puts a message into the queue. If that is full while the client is
// connected it waits for room, until ctx ends or over is closed. A nil error is
// returned as such, not as a nil *message.Error.
func (c *Client) enqueue(ctx context.Context, o *outgoing, over <-chan struct{}) error {
	for {
		c.mu.Lock()
		err := c.session.admit(o)
		var room <-chan struct{}
		if err == errFull && c.session.main != nil { //nolint:errorlint // that very value
			room = c.session.waitRoom()
		}
		c.mu.Unlock()
		switch {
		case err == nil:
			c.nudge()
			return nil
		case room == nil:
			return err
		}
		select {
		case <-room:
		case <-over:
			return errAbandoned
		case <-ctx.Done():
			return call.Ended(ctx)
		}
	}
}

// offer is enqueue without waiting.
func (c *Client) offer(o *outgoing) error {
	c.mu.Lock()
	err := c.session.admit(o)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	c.nudge()
	return nil
}
