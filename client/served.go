package client

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// served is one request that the client is answering: the Responder of its
// handler. It belongs to the connection that it came by.
type served struct {
	c      *Client
	conn   *conn
	req    *route.Request
	mid    []byte // the node's; nil for a send, which gets no answer
	handed bool   // whether it is in conn.calls

	// mu is held while an answer is put into the line, so that nothing comes
	// after the final one, or after the connection it was meant for. It is
	// taken before Client.mu.
	mu        sync.Mutex
	done      bool
	outcome   route.Outcome
	finishers []route.Finisher
	room      [1]route.Finisher // of finishers; mostly there is one
}

// receiveCall has a call answered.
func (c *Client) receiveCall(cn *conn, m *message.Message) {
	if len(m.Mid) == 0 {
		c.malformed(cn, m, message.NewError(message.CodeBadMessage, "a call without a mid", ""))
		return
	}
	req, err := request(m)
	if err != nil {
		c.refuse(cn, m, err)
		return
	}
	match, end, err := c.find(req)
	if err != nil {
		c.refuse(cn, m, err)
		return
	}
	if verb := req.Message.EffectiveVerb(); verb != message.VerbCall && match.Info(nil).Topic == nil {
		// A handler of calls does not look at the verb.
		c.refuse(cn, m, message.NewError(message.CodeUnimplemented, "there is no topic at "+req.Address.String(), "It can be called."))
		return
	}
	s := &served{c: c, conn: cn, req: req, mid: req.Message.Mid, handed: true}
	c.mu.Lock()
	_, twice := cn.calls[string(s.mid)]
	if !twice {
		cn.calls[string(s.mid)] = s
		if s.lasts() {
			cn.lasting++
		}
	}
	c.mu.Unlock()
	if twice {
		// To answer it would end the first one, whose id it has.
		c.malformed(cn, &message.Message{}, message.NewError(message.CodeDuplicateID, "a call with an id that is in use", ""))
		return
	}
	req.Matched(match)
	end.Handle(extractTrace(c.lane.Context(), &req.Message), req, s)
}

// lasts reports whether the request is one for all that will ever happen: its
// connection need not be kept until it has ended.
func (s *served) lasts() bool { return s.req.Message.Verb == message.VerbSubscribe }

// find looks up who answers a request.
func (c *Client) find(req *route.Request) (route.Match, route.Endpoint, error) {
	a := req.Address
	a.Instance = "" // that is this client, or the node would not have sent it here
	m, err := c.serving.table.Lookup(a)
	if err != nil && a.HasWildcard() {
		var targets []route.Target
		if targets, err = c.serving.table.Expand(a); err == nil && len(targets) > 0 {
			return targets[0].Match(), targets[0].Endpoint, nil
		}
	}
	if err == nil && len(m.Endpoints) == 0 {
		err = message.NewError(message.CodeNoService, "this client does not serve "+a.String(), "")
	}
	if err != nil {
		return m, nil, err
	}
	return m, m.Endpoints[0], nil
}

// serveSend hands a send to the service it is for; false if there is none.
func (c *Client) serveSend(req *route.Request) bool {
	match, end, err := c.find(req)
	if err != nil {
		return false
	}
	req.Matched(match)
	end.Handle(extractTrace(c.lane.Context(), &req.Message), req, &served{c: c, req: req})
	return true
}

// refuse answers a call that nobody was asked to answer.
func (c *Client) refuse(cn *conn, m *message.Message, err error) {
	o := failure(bytes.Clone(m.Mid), message.AsError(err))
	c.mu.Lock()
	_ = c.session.hurry(cn.wire, o, true) // a node that does not read gets no refusals either
	c.mu.Unlock()
	c.nudge()
}

func failure(rmid []byte, e *message.Error) *outgoing {
	body := message.AppendError(nil, e)
	return &outgoing{
		cost: envelopeCost + len(body),
		msg:  message.Message{Verb: message.VerbError, Rmid: rmid, Body: body},
	}
}

// receiveCancel ends a call that nobody waits for any more.
func (c *Client) receiveCancel(cn *conn, m *message.Message) {
	c.mu.Lock()
	s := cn.calls[string(m.Rmid)]
	c.mu.Unlock()
	if s != nil {
		s.abort(message.NewError(message.CodeCanceled, "the caller canceled the call", ""))
	}
}

// abandonServed ends every call that came by a connection which is gone.
func (c *Client) abandonServed(cn *conn, err *message.Error) {
	c.mu.Lock()
	list := make([]*served, 0, len(cn.calls))
	for _, s := range cn.calls {
		list = append(list, s)
	}
	c.mu.Unlock()
	for _, s := range list {
		s.abort(err)
	}
}

// Part implements route.Responder.
func (s *served) Part(b route.Body) error {
	s.mu.Lock()
	if s.done {
		defer s.mu.Unlock()
		return s.over()
	}
	s.outcome.Parts++
	if s.mid == nil {
		s.mu.Unlock()
		return nil
	}
	o, err := s.message(message.VerbPart, b)
	if err == nil {
		err = s.push(o, true)
	}
	if err == nil {
		s.mu.Unlock()
		return nil
	}
	_ = s.push(failure(s.mid, err), false)
	tell := s.finish(err)
	s.mu.Unlock()
	tell()
	return err
}

// Reply implements route.Responder.
func (s *served) Reply(b route.Body) error {
	s.mu.Lock()
	if s.done {
		defer s.mu.Unlock()
		return s.over()
	}
	var err *message.Error
	if s.mid != nil {
		var o *outgoing
		if o, err = s.message(message.VerbReply, b); err == nil {
			err = s.push(o, false)
		}
		if err != nil {
			_ = s.push(failure(s.mid, err), false)
		}
	}
	tell := s.finish(err)
	s.mu.Unlock()
	tell()
	if err != nil {
		return err
	}
	return nil
}

// Fail implements route.Responder.
func (s *served) Fail(cause error) error {
	e := message.AsError(cause)
	s.mu.Lock()
	if s.done {
		defer s.mu.Unlock()
		return s.over()
	}
	var err *message.Error
	if s.mid != nil {
		err = s.push(failure(s.mid, e), false)
	}
	tell := s.finish(e)
	s.mu.Unlock()
	tell()
	if err != nil {
		return err
	}
	return nil
}

// OnFinish implements route.Responder.
func (s *served) OnFinish(f route.Finisher) {
	s.mu.Lock()
	if !s.done {
		if s.finishers == nil {
			s.finishers = s.room[:0]
		}
		s.finishers = append(s.finishers, f)
		s.mu.Unlock()
		return
	}
	o := s.outcome
	s.mu.Unlock()
	f.Finished(o)
}

// abort ends the request without an answer.
func (s *served) abort(err *message.Error) {
	s.mu.Lock()
	if s.done {
		s.mu.Unlock()
		return
	}
	tell := s.finish(err)
	s.mu.Unlock()
	tell()
}

// over is the error that says why nothing can be answered any more; s.mu is
// held.
func (s *served) over() error {
	if s.outcome.Err != nil {
		return s.outcome.Err
	}
	return message.NewError(message.CodeConflict, "the request has been answered", "")
}

// finish ends the request; s.mu is held. It returns what is to be done when it
// no longer is.
func (s *served) finish(err *message.Error) (tell func()) {
	s.done = true
	s.outcome.Route, s.outcome.Err, s.outcome.Took = s.req.Route, err, time.Since(s.req.Received)
	leave := func() {}
	if s.handed {
		s.c.mu.Lock()
		delete(s.conn.calls, string(s.mid))
		if s.lasts() {
			s.conn.lasting--
		}
		leave = s.c.mayLeave(s.conn)
		s.c.mu.Unlock()
	}
	list, o := s.finishers, s.outcome
	s.finishers = nil
	return func() {
		leave()
		for _, f := range list {
			f.Finished(o)
		}
	}
}

// push puts an answer into the line of the connection; s.mu is held.
func (s *served) push(o *outgoing, mayRefuse bool) *message.Error {
	s.c.mu.Lock()
	err := s.c.session.hurry(s.conn.wire, o, mayRefuse)
	s.c.mu.Unlock()
	if err == nil {
		s.c.nudge()
	}
	return err
}

// message makes a part or reply. The body is copied, since handlers may use
// its bytes again.
func (s *served) message(verb message.Verb, b route.Body) (*outgoing, *message.Error) {
	if s.c.cfg.json && b.ContentType == "" && b.Bytes != nil && !message.ValidJSON(b.Bytes) {
		return nil, message.NewError(message.CodeInternal, "the service answered with something that is not JSON",
			"This is a bug in the service: it has to name the content type of its body.")
	}
	o := &outgoing{msg: message.Message{Verb: verb, Rmid: s.mid, Body: bytes.Clone(b.Bytes), Fault: b.Fault}}
	if b.ContentType != "" {
		o.msg.ContentType = []byte(b.ContentType)
	}
	if b.Stamp != nil && b.Stamp.To != "" {
		o.msg.To = []byte(b.Stamp.To)
	}
	if b.Session != nil && verb == message.VerbReply && !b.Session.Empty() {
		ses, err := json.Marshal(b.Session)
		if err != nil { // it was checked when the handler asked for it
			return nil, message.AsError(err)
		}
		o.msg.Session = ses
	}
	if err := s.c.measure(o); err != nil {
		return nil, message.AsError(err)
	}
	return o, nil
}

var _ route.Responder = (*served)(nil)
