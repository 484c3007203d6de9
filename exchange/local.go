package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// Local is the caller inside the node's own process. Its calls take the same
// way through middleware and routing as everybody's.
type Local struct{ x *Exchange }

// Local returns the node's own caller.
func (x *Exchange) Local() Local { return Local{x} }

// ID implements route.Peer with the id of the node.
func (l Local) ID() string { return l.x.cfg.NodeID }

// Listener implements route.Peer.
func (l Local) Listener() string { return "" }

// RemoteAddr implements route.Peer.
func (l Local) RemoteAddr() string { return "" }

// feeder is the asker of a call from inside the process.
type feeder struct {
	prompt
	feed *call.Feed
}

func (f *feeder) answer(c *Call, a answer) error {
	if f.feed == nil {
		return nil // the caller's context ended before the call began
	}
	body := append([]byte(nil), a.body...)
	if a.body != nil && body == nil {
		body = []byte{}
	}
	switch a.verb {
	case message.VerbPart:
		return f.feed.Push(call.Part{Body: body, ContentType: a.contentType, Seq: a.seq})
	case message.VerbError:
		f.feed.Finish(nil, a.err)
	default:
		f.feed.Finish(&call.Answer{Body: body, ContentType: a.contentType, From: string(c.address())}, nil)
	}
	return nil
}

// Stream implements call.Caller.
func (l Local) Stream(ctx context.Context, address string, body any, opts ...call.Option) *call.Stream {
	return l.ask(ctx, message.VerbCall, address, body, call.Collect(opts))
}

func (l Local) ask(ctx context.Context, verb message.Verb, address string, body any, s call.Settings) *call.Stream {
	if ctx.Err() != nil {
		return call.Failed(call.Ended(ctx))
	}
	m, err := l.message(ctx, verb, address, body, s)
	if err != nil {
		return call.Failed(err)
	}
	if !l.x.oneMore() {
		return call.Failed(errShuttingDown)
	}
	f := new(feeder)
	c := l.x.newCall(m, f, l, time.Now())
	feed := call.NewFeed(ctx, s.Buffer, func(e *message.Error) {
		// A part that finds no room ends the call itself, and holds its lock.
		if e.Code != message.CodeSlowConsumer {
			_ = c.Fail(e)
		}
	})
	c.mu.Lock()
	f.feed = feed
	c.mu.Unlock()
	c.start(l.x.inbound)
	return feed.Stream()
}

// gatherEarly is how much earlier than the context of its caller a gather ends,
// at most.
const gatherEarly = 250 * time.Millisecond

// message builds the envelope of a call from inside the process.
func (l Local) message(ctx context.Context, verb message.Verb, address string, body any, s call.Settings) (*message.Message, error) {
	b, err := call.Encode(body, s.ContentType)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	deadline, ok := ctx.Deadline()
	if ok && s.Strategy.Gathers() { // before the context, with what there is then
		deadline = deadline.Add(-min(deadline.Sub(now)/10, gatherEarly))
	}
	m := &message.Message{
		Verb: verb, To: []byte(address), From: l.x.address, Mid: []byte(message.NewMid()),
		Timestamp: message.AppendTimestamp(nil, now), Type: []byte(s.Type),
		Timeout:  max(s.Deadline(now, deadline, ok).Sub(now), time.Millisecond),
		Strategy: s.Strategy.AppendJSON(nil), Ack: s.Ack, Body: b.Bytes,
	}
	if b.ContentType != "" {
		m.ContentType = []byte(b.ContentType)
	}
	if s.Authorization != "" {
		m.Authorization = []byte(s.Authorization)
	}
	for _, h := range s.Headers {
		m.SetHeader(h.Name, h.Value)
	}
	return m, nil
}

// Call implements call.Caller.
func (l Local) Call(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	return l.Stream(ctx, address, body, opts...).Answer()
}

// Gather implements call.Caller.
func (l Local) Gather(ctx context.Context, address string, body any, opts ...call.Option) (*call.Gathered, error) {
	s := call.Collect(opts)
	if s.Strategy.By == "" {
		s.Strategy.By = route.ByAll
	}
	a, err := l.ask(ctx, message.VerbCall, address, body, s).Answer()
	if err != nil {
		return nil, err
	}
	return call.DecodeGathered(a.Body)
}

// Send implements call.Caller. Inside the node a message is handed over, or
// not, before Send returns.
func (l Local) Send(ctx context.Context, address string, body any, opts ...call.Option) error {
	s := call.Collect(opts)
	st := l.ask(ctx, message.VerbSend, address, body, s)
	if s.Ack {
		_, err := st.Answer()
		return err
	}
	select {
	case <-st.Done():
		_, err := st.Answer()
		return err
	default:
		return nil
	}
}

// Get returns the content of a topic as it is now.
func (l Local) Get(ctx context.Context, address string, opts ...call.Option) (*call.Answer, error) {
	s := call.Collect(opts)
	if s.ParamsErr != nil {
		return nil, s.ParamsErr
	}
	var body any
	if s.Params != nil {
		body = map[string]json.RawMessage{"params": s.Params}
	}
	return l.ask(ctx, message.VerbGet, address, body, s).Answer()
}

// Ask sends what the node itself wants of somebody, and does not wait. sink is
// told how it ends; its Done may be called before Ask returns. Nobody may write to
// m or its bytes any more.
func (l Local) Ask(m *message.Message, sink route.Sink) {
	if !l.x.oneMore() {
		sink.Done(errShuttingDown)
		return
	}
	m.From, m.Mid = l.x.address, []byte(message.NewMid())
	l.x.newCall(m, sinkAsker{sink: sink}, l, time.Now()).start(l.x.inbound)
}

// Publish makes body the content of a topic, or an event of it; nil deletes the
// content. It returns when that is done.
func (l Local) Publish(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	return l.ask(ctx, message.VerbPublish, address, body, call.Collect(opts)).Answer()
}

// endpoint is one route of a service in this process.
type endpoint struct {
	id       string
	handler  route.Handler
	inFlight atomic.Int32
}

// ID implements route.Endpoint.
func (e *endpoint) ID() string { return e.id }

// InFlight implements route.Endpoint.
func (e *endpoint) InFlight() int { return int(e.inFlight.Load()) }

// Local implements route.Endpoint.
func (e *endpoint) Local() bool { return true }

// Finished implements route.Finisher.
func (e *endpoint) Finished(route.Outcome) { e.inFlight.Add(-1) }

// Handle implements route.Endpoint.
func (e *endpoint) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	e.inFlight.Add(1)
	res.OnFinish(e)
	e.handler.Handle(ctx, req, res)
}

// Serve has the node answer for the routes of a service in this process, whose
// handlers the runner runs. The returned function takes them back.
func (x *Exchange) Serve(svc *service.Service, run *service.Runner) (unserve func(), err error) {
	var undo []func()
	unserve = func() {
		for _, f := range undo {
			f()
		}
	}
	for _, r := range svc.Routes() {
		e := &endpoint{id: x.cfg.NodeID, handler: run.Handler(r.Handler)}
		r.Info.Since, r.Info.Own = time.Now(), x.reserved(svc.Name())
		if err := x.table.Serve(svc.Name(), r.Pattern, e, r.Info); err != nil {
			unserve()
			return nil, fmt.Errorf("serve %s:%s: %w", svc.Name(), r.Pattern, err)
		}
		undo = append(undo, func() { x.table.Unserve(svc.Name(), r.Pattern, e) })
	}
	return unserve, nil
}

var (
	_ call.Caller    = Local{}
	_ route.Peer     = Local{}
	_ route.Endpoint = (*endpoint)(nil)
)
