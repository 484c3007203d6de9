package client

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/topic/delta"
)

// Watch implements [call.Watcher]. All watches of one address with the same
// params share one subscription; a new one gets the content that is there at
// once. While there is no connection a watch waits for one. After each connection
// the client goes on where it was, at whichever node: nothing is seen twice, and
// of an event topic an update with Gap says where something was missed. When the
// content cannot be had for a while, an update with Fault says so, and the client
// goes on trying.
func (c *Client) Watch(ctx context.Context, address string, opts ...call.WatchOption) *call.Watch {
	s := call.CollectWatch(opts)
	if s.Err != nil {
		return call.FailedWatch(address, s.Err)
	}
	if _, err := message.ParseStrict(address); err != nil {
		return call.FailedWatch(address, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.shut != nil {
		return call.FailedWatch(address, c.session.shut)
	}
	key := address + "\n" + string(s.Params)
	t := c.topics[key]
	if t == nil {
		t = &topic{c: c, key: key, address: address, params: s.Params, delta: s.Delta}
		c.topics[key] = t
	}
	w := &watch{history: s.History, since: s.Recover}
	w.feed = call.NewWatchFeed(ctx, address, &s, func(*message.Error) { c.unwatch(t, w) })
	t.join(w)
	return w.feed.Watch()
}

// unwatch takes note that nobody reads a watch any more.
func (c *Client) unwatch(t *topic, w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(t.watches, w); i >= 0 {
		t.watches = slices.Delete(t.watches, i, i+1)
		t.leave()
	}
}

// Get implements [call.Watcher]. It is sent again when its connection is lost.
func (c *Client) Get(ctx context.Context, address string, opts ...call.Option) (*call.Update, error) {
	s := call.Collect(opts)
	if s.ParamsErr != nil {
		return nil, s.ParamsErr
	}
	s.Idempotent, s.ContentType = true, ""
	var body any
	if s.Params != nil {
		body = slices.Concat(json.RawMessage(`{"params":`), s.Params, json.RawMessage("}"))
	}
	w := &getter{waiter: newWaiter()}
	a, err := c.await(ctx, message.VerbGet, address, body, &s, w, w.waiter)
	if err != nil {
		return nil, err
	}
	if w.stamp.fault {
		return nil, message.DecodeError(a.Body)
	}
	return &call.Update{
		Body: a.Body, ContentType: a.ContentType, Epoch: w.stamp.epoch, Offset: w.stamp.offset, Address: address,
		Publisher: w.stamp.publisher,
	}, nil
}

// Publish implements [call.Watcher].
func (c *Client) Publish(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	s := call.Collect(opts)
	return c.ask(ctx, message.VerbPublish, address, body, &s)
}

// stamp is what a reply says of a topic.
type stamp struct {
	id        string
	epoch     string
	offset    uint64
	fault     bool
	publisher []byte
}

func stampOf(m *message.Message) stamp {
	return stamp{string(m.Topic), string(m.Epoch), m.Offset, m.Fault, bytes.Clone(m.Publisher)}
}

// stamped is a sink that wants to know what a reply says of a topic. It is told
// before finish, on the goroutine that read the reply.
type stamped interface{ stampedBy(m *message.Message) }

// getter is the sink of a get.
type getter struct {
	*waiter

	stamp stamp
}

func (g *getter) stampedBy(m *message.Message) { g.stamp = stampOf(m) }

// receiveUpdate takes a content, a change of it, or an event.
func (c *Client) receiveUpdate(cn *conn, m *message.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := cn.topic(m)
	switch {
	case t == nil:
		c.stats.late.Add(1) // nobody watches it any more
	case t.events:
		t.event(m)
	default:
		t.changed(cn, m)
	}
}

// receiveGap takes note that events were missed.
func (c *Client) receiveGap(cn *conn, m *message.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := cn.topic(m); t != nil {
		t.reached(call.Position{Epoch: t.epochOf(m), Offset: m.Offset})
		for _, w := range t.watches {
			w.missed(t.at.Epoch, m.Offset)
		}
	}
}

// receiveUnsubscribe takes note that the node ends a watch.
func (c *Client) receiveUnsubscribe(cn *conn, m *message.Message) {
	e := message.DecodeError(m.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := cn.topic(m)
	if t == nil {
		return
	}
	delete(cn.topics, t.id)
	t.conn, t.id = nil, ""
	switch {
	case e.Code == message.CodeShuttingDown: // which is true of the node, not of the topic
		t.later(nil)
	case e.Retryable: // it is another one for who the client is now
		t.subscribe()
	default:
		t.end(e)
	}
}

// topic returns the topic that a message is about, if it is watched by this
// connection; Client.mu is held.
func (cn *conn) topic(m *message.Message) *topic {
	if t := cn.topics[string(m.Topic)]; t != nil && t.conn == cn {
		return t
	}
	return nil
}

// changed takes the new content of a state topic, or a change of it; c.mu is
// held. It is released while a change is applied: only the goroutine that reads
// the topic's connection changes its content.
func (t *topic) changed(cn *conn, m *message.Message) {
	epoch := t.epochOf(m)
	if epoch == t.last.Epoch && m.Offset <= t.last.Offset && m.Offset > 0 {
		return // what the reply had already
	}
	u := call.Update{Body: bytes.Clone(m.Body), Epoch: epoch, Offset: m.Offset, Publisher: bytes.Clone(m.Publisher)}
	contentType := string(m.ContentType)
	switch {
	case m.Fault:
		u.Body, u.Fault = nil, message.DecodeError(m.Body)
	case !delta.IsChange(contentType):
		u.ContentType = contentType
	case !t.has:
		return // the whole content has been asked for
	default:
		if u.Body = t.apply(contentType, t.last.Body, m.Body); t.conn != cn {
			return
		}
		if u.Body == nil {
			t.renew()
			return
		}
	}
	t.last, t.has = u, u.Fault == nil
	t.push(u)
}

// apply changes a content; nil if it cannot. c.mu is held before and after.
func (t *topic) apply(contentType string, content, change []byte) []byte {
	t.c.mu.Unlock()
	defer t.c.mu.Lock()
	body, err := delta.Apply(contentType, content, change)
	if err != nil {
		t.c.log.Warn("a change of a topic does not fit its content; the whole content is asked for", "topic", t.address, "err", err)
		return nil
	}
	return body
}

// event takes an event; c.mu is held.
func (t *topic) event(m *message.Message) {
	u := call.Update{
		Body: bytes.Clone(m.Body), ContentType: string(m.ContentType), Epoch: t.epochOf(m), Offset: m.Offset,
		Address: string(m.To), Publisher: bytes.Clone(m.Publisher),
	}
	if m.Fault {
		u.Body, u.ContentType, u.Fault = nil, "", message.DecodeError(m.Body)
	}
	t.reached(u.Position())
	for _, w := range t.watches {
		switch {
		case !w.armed:
		case u.Offset == 0:
			w.feed.Push(u)
		case u.Epoch != w.at.Epoch || u.Offset > w.at.Offset:
			w.at = u.Position()
			w.feed.Push(u)
		}
	}
}

// epochOf returns the epoch of an update, which need not name it if it is the
// same as before.
func (t *topic) epochOf(m *message.Message) string {
	epoch := t.last.Epoch
	if t.events {
		epoch = t.at.Epoch
	}
	if len(m.Epoch) == 0 || string(m.Epoch) == epoch { // no allocation
		return epoch
	}
	return string(m.Epoch)
}
