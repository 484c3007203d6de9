package exchange

import (
	"context"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// leg is one request that was handed to a server over its connection: what is
// needed to bring the server's answers back.
type leg struct {
	id     uint64 // the mid that the server knows it by
	server *Peer
	res    route.Responder
}

// Finished implements route.Finisher: the call is over. Unless the server
// itself ended it, it is told that nobody waits any more.
func (l *leg) Finished(route.Outcome) {
	if !l.server.dropLeg(l.id) {
		return
	}
	m := l.server.x.borrow()
	m.Verb = message.VerbCancel
	m.Rmid = message.AppendMid(m.room[:0], l.id)
	_ = l.server.link.Deliver(&m.Message) // a server that cannot take it has the deadline
	l.server.x.giveBack(m)
}

// Handle sends a request to the server at the other end of this connection.
// Peer implements route.Endpoint.
func (p *Peer) Handle(_ context.Context, req *route.Request, res route.Responder) {
	if err := p.check(req); err != nil {
		_ = res.Fail(err)
		return
	}
	if req.Message.EffectiveVerb() == message.VerbSend {
		p.handSend(req, res)
		return
	}
	l := p.legOf(req, res)
	if !p.addLeg(l) {
		_ = res.Fail(errServiceLost(req, false))
		return
	}
	m := p.x.borrow()
	forward(&m.Message, req)
	m.Verb = message.VerbCall
	m.Mid = message.AppendMid(m.room[:0], l.id)
	m.Timeout = timeLeft(req)
	err := p.link.Deliver(&m.Message)
	p.x.giveBack(m)
	if err != nil {
		p.dropLeg(l.id)
		_ = res.Fail(undelivered(err, req))
		return
	}
	res.OnFinish(l)
}

// check validates the body of a request for servers that asked for that. A
// content type is no way round it: who has a schema wants JSON.
func (p *Peer) check(req *route.Request) error {
	check := req.Match().Check(p)
	if check == nil {
		return nil
	}
	if req.Message.ContentType != nil {
		return message.NewError(message.CodeInvalidInput, fmt.Sprintf("%s takes JSON, not %.64q", req.Route, req.Message.ContentType),
			"Leave the content type out.")
	}
	return check(req.Message.Body)
}

// timeLeft returns how long the caller of a request still waits.
func timeLeft(req *route.Request) time.Duration {
	left := req.Deadline.Sub(req.Received)
	if req.Kept() { // it has waited somewhere; otherwise it was read just now
		left = time.Until(req.Deadline)
	}
	return max(left, time.Millisecond)
}

// legOf returns the leg that lies ready in a Call, or a new one when a
// middleware wrapped the Call, sends the request a second time, or sends a copy
// of it, which may outlive what lies in the Call.
func (p *Peer) legOf(req *route.Request, res route.Responder) *leg {
	if c, ok := res.(*Call); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l := &c.state.leg; c.over == nil && l.server == nil && req == &c.state.req {
			l.server, l.res = p, res
			return l
		}
	}
	return &leg{server: p, res: res}
}

// forward fills m with what a server or client gets to see of a request. The
// token of the sender is not among it.
func forward(m *message.Message, req *route.Request) {
	in := &req.Message
	m.To, m.From = in.To, in.From
	m.Headers, m.Type, m.UMFVersion, m.Timestamp = in.Headers, in.Type, in.UMFVersion, in.Timestamp
	m.Via, m.Forward, m.Signature = in.Via, in.Forward, in.Signature
	m.ContentType, m.Body = in.ContentType, in.Body
}

// forwardSend is forward for a send, which keeps its id.
func forwardSend(m *message.Message, req *route.Request) {
	forward(m, req)
	m.Verb = message.VerbSend
	m.Mid = req.Message.Mid
}

// handSend hands a message to which no answer is expected to the connection.
func (p *Peer) handSend(req *route.Request, res route.Responder) {
	m := p.x.borrow()
	forwardSend(&m.Message, req)
	err := p.link.Deliver(&m.Message)
	p.x.giveBack(m)
	if err != nil {
		_ = res.Fail(undelivered(err, req))
		return
	}
	_ = res.Reply(route.Body{})
}

// receiveAnswer takes a part, reply or error that this peer gives as a server.
func (p *Peer) receiveAnswer(m *message.Message) {
	id, ok := message.ParseMid(m.Rmid)
	var res route.Responder
	if ok {
		res = p.findLeg(id, m.EffectiveVerb() != message.VerbPart)
	}
	if res == nil {
		// Late: the call was canceled or timed out while the answer was on its
		// way. Or made up; then it does no harm either.
		p.x.metrics.lateAnswers.Inc()
		return
	}
	switch m.EffectiveVerb() {
	case message.VerbPart:
		_ = res.Part(route.Body{Bytes: m.Body, ContentType: string(m.ContentType)})
	case message.VerbError:
		_ = res.Fail(message.DecodeError(m.Body))
	default:
		_ = res.Reply(route.Body{Bytes: m.Body, ContentType: string(m.ContentType)})
	}
}

func errServiceLost(req *route.Request, sent bool) *message.Error {
	e := &message.Error{
		Code:    message.CodeServiceLost,
		Message: "the server of " + string(req.Message.To) + " went away",
	}
	if sent {
		e.Message += " during the call"
		e.Hint = "The call may have been executed; repeat it only if that does no harm."
		return e
	}
	e.Hint = "The call was not executed and can be repeated."
	e.Retryable = true
	return e
}

// undelivered says why a request did not reach its server or client. It was
// surely not executed.
func undelivered(err error, req *route.Request) *message.Error {
	e := message.AsError(err)
	toClient := req.Address.Name == clientScheme
	switch e.Code {
	case message.CodeOverloaded, message.CodeSlowConsumer:
		full := &message.Error{
			Code:      message.CodeOverloaded,
			Message:   "the connection to the receiver of " + string(req.Message.To) + " is full",
			Hint:      "Try again later, or start another server for this path.",
			Retryable: true, RetryAfter: time.Second,
		}
		if toClient {
			full.Hint = "The client does not take its messages; send it less."
		}
		return full
	case message.CodeBadMessage, message.CodeTooLarge, message.CodeInvalidInput:
		return e
	default:
		if toClient {
			return errNoClient(req.Address.Instance)
		}
		return errServiceLost(req, false)
	}
}

var (
	_ route.Finisher = (*leg)(nil)
	_ route.Endpoint = (*Peer)(nil)
)
