package exchange

import (
	"fmt"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

const (
	// gatherFactor is how many servers the gathers of a connection may ask at a
	// time, for each call that it may have in flight.
	gatherFactor = 16
	// maxGatherBytes bounds the reply to a caller in the process; one on a
	// connection has its largest frame.
	maxGatherBytes = 64 << 20
	// answerRoom is what an answer has in a reply besides who gave it, and its
	// body: enough for the error that stands in place of a body without room.
	answerRoom = 256
)

// gathering is one call that asks many servers. Each server is asked by a call
// of its own, a leg, which takes the usual way through the stages; when the
// gather has what it wants, or its time is over, the legs that are left are
// canceled and the call gets its one reply.
type gathering struct {
	call    *Call
	peer    *Peer           // who asks; nil in the process
	asked   message.Address // perhaps with wildcards
	checked uint32          // Peer.checks when it was asked whom it may ask
	sel     route.Selection
	targets []route.Target

	mu      sync.Mutex
	state   *route.Gather
	legs    []*Call
	parts   [][]byte // answers that are to be sent as parts, for callers who want them
	sending int      // legs whose answer is in and whose part is not out yet
	room    int      // bytes that the bodies of further answers may have
	begun   bool     // all legs were asked
	done    bool     // enough answers, or no more to come
	settled bool     // the reply was given
}

// gather asks every server of req's address.
func (x *Exchange) gather(req *route.Request, res route.Responder, sel route.Selection) {
	if req.Message.EffectiveVerb() != message.VerbCall {
		_ = res.Fail(&message.Error{
			Code: message.CodeBadMessage, Message: "a send cannot be gathered: it has no answers", Path: "str",
			Hint: "Use call, or send to each receiver.",
		})
		return
	}
	targets, err := x.expand(req.Address)
	if err == nil {
		targets, err = x.strategies.Within(sel, targets)
	}
	if err != nil {
		_ = res.Fail(x.missing(req.Address, err))
		return
	}
	targets, refused := x.permitted(req, targets)
	if refused != nil {
		_ = res.Fail(refused)
		return
	}
	x.metrics.gathers.Inc()
	g := &gathering{call: callOf(res), asked: req.Address, sel: sel, targets: targets, state: route.NewGather(sel, targets)}
	g.room = maxGatherBytes
	if g.call != nil {
		g.checked = g.call.state.checked
	}
	if p, ok := req.Peer.(*Peer); ok {
		if err := p.mayGather(len(targets)); err != nil {
			_ = res.Fail(err)
			return
		}
		g.peer, g.room = p, p.maxFrame
	}
	if g.state.Done() { // there are too few servers for what was asked
		g.begun, g.done = true, true
		res.OnFinish(g)
		g.settle(res)
		return
	}
	for i := range targets {
		t := &targets[i]
		g.room -= len(t.Endpoint.ID()) + len(t.Node()) + len(t.Name) + len(t.Path) + answerRoom
	}
	g.parts = make([][]byte, len(targets))
	g.legs = make([]*Call, len(targets))
	for i := range targets {
		g.legs[i] = x.newLeg(req, &targets[i], legAsker{g: g, res: res, i: i})
	}
	if g.call != nil {
		if err := g.call.gathers(g); err != nil {
			_ = res.Fail(err)
		}
	}
	res.OnFinish(g)
	for _, c := range g.legs {
		if c.isOver() { // the gather was canceled meanwhile, or may not ask this one any more
			x.release(c.state)
			continue
		}
		c.dispatch(x.calls)
	}
	g.mu.Lock()
	g.begun = true
	g.mu.Unlock()
	g.settle(res)
}

// mayGather counts the servers of a gather in, unless the peer's gathers ask
// too many already. One gather alone is always let through.
func (p *Peer) mayGather(servers int) *message.Error {
	most := int64(p.x.cfg.MaxCalls) * gatherFactor
	if now := p.gathering.Add(int64(servers)); now > most && now > int64(servers) {
		p.gathering.Add(-int64(servers))
		return message.NewError(message.CodeTooManyCalls, fmt.Sprintf("the gathers of this connection would ask %d servers at a time", now),
			"Wait for answers before you gather again, or ask fewer servers.")
	}
	return nil
}

// newLeg makes the call to one server of a gather. It is not refused when the
// node drains: the gather it belongs to is work in flight.
func (x *Exchange) newLeg(req *route.Request, t *route.Target, from legAsker) *Call {
	x.active.Add(1)
	c := x.newCall(&req.Message, from, req.Peer, req.Received)
	c.state.checked = from.g.checked
	to := &c.state.req
	to.SetSession(req.Session())
	to.Message.Strategy = nil
	to.Address = req.Address
	to.Address.Instance, to.Address.Sub = "", ""
	readdress(to, t.Name, t.Path)
	to.Deadline, to.Leg = req.Deadline, t.Endpoint.ID()
	to.Matched(t.Match())
	c.settled, c.route, c.state.address = true, to.Route, to.Address
	return c
}

// recheck ends the legs to servers that the caller may not ask any more. It
// returns an error if none is left.
func (g *gathering) recheck(guard Guard, s *session.Session) *message.Error {
	refused := make([]*message.Error, len(g.legs))
	left := 0
	for i := range g.legs {
		a := g.asked
		a.Name, a.Path = g.targets[i].Name, g.targets[i].Path
		if refused[i] = guard.Permits(g.peer, s, ActCall, a); refused[i] == nil && g.peer.x.reads(a) {
			refused[i] = g.peer.x.mayWatch(g.peer, s, a)
		}
		if refused[i] == nil {
			left++
		}
	}
	if left == 0 {
		return refused[0]
	}
	for i, err := range refused {
		if err != nil {
			_ = g.legs[i].Fail(err)
		}
	}
	return nil
}

// legAsker takes the answers of one leg.
type legAsker struct {
	prompt
	g   *gathering
	res route.Responder
	i   int
}

// answer implements asker. The leg's lock is held, so only the state is
// changed here; the rest is done in ended.
func (l legAsker) answer(c *Call, a answer) error {
	if a.verb == message.VerbPart {
		return nil // a gather is of final answers
	}
	t := &l.g.targets[l.i]
	got := route.Answer{
		Server: t.Endpoint.ID(), Name: t.Name, Path: t.Path,
		Took: time.Since(c.received), ContentType: a.contentType, Err: a.err,
	}
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if l.g.done {
		return nil
	}
	if l.g.fits(&got, a.body) {
		if a.body != nil {
			got.Body = append(make([]byte, 0, len(a.body)), a.body...)
		}
	} else {
		got.Err, got.ContentType = errGatherTooLarge, ""
	}
	l.g.done = l.g.state.Add(l.i, got)
	if l.g.sel.Parts {
		if part, ok := l.g.state.AppendAnswer(nil, l.i); ok {
			l.g.parts[l.i] = part
			l.g.sending++
		}
	}
	return nil
}

var errGatherTooLarge = message.NewError(message.CodeTooLarge, "the answers of this gather are too large to be sent together",
	"Ask fewer servers at a time, or for less.")

// fits reports whether an answer has room in the reply, and takes it.
func (g *gathering) fits(a *route.Answer, body []byte) bool {
	size := len(body)
	switch {
	case a.Err != nil:
		size = len(a.Err.Message) + len(a.Err.Hint) + len(a.Err.Path) + len(a.Err.Details)
	case a.ContentType != "":
		size += len(a.ContentType) + len(body)/3
	}
	if size > g.room {
		return false
	}
	g.room -= size
	return true
}

// ended implements asker.
func (l legAsker) ended(*Call) {
	l.g.sendPart(l.i, l.res)
	l.g.settle(l.res)
}

// sendPart sends the answer of a leg on at once, for callers who asked for that.
func (g *gathering) sendPart(i int, res route.Responder) {
	if !g.sel.Parts {
		return
	}
	g.mu.Lock()
	part := g.parts[i]
	g.parts[i] = nil
	g.mu.Unlock()
	if part == nil {
		return
	}
	_ = res.Part(route.JSON(part))
	g.mu.Lock()
	g.sending--
	g.mu.Unlock()
}

// settle gives the reply once there is one to give.
func (g *gathering) settle(res route.Responder) {
	g.mu.Lock()
	if !g.begun || !g.done || g.settled || g.sending > 0 {
		g.mu.Unlock()
		return
	}
	g.settled = true
	got, err := g.state.Result()
	g.mu.Unlock()
	if err != nil {
		_ = res.Fail(err)
		return
	}
	_ = res.Reply(route.JSON(got.AppendJSON(nil)))
}

// expire ends the gather with what it has when its time is over.
func (g *gathering) expire() {
	g.mu.Lock()
	if !g.done {
		g.state.End(nil)
		g.done = true
	}
	g.begun = true
	g.mu.Unlock()
	g.settle(g.call)
}

// Finished implements route.Finisher: nobody waits for the legs any more.
func (g *gathering) Finished(out route.Outcome) {
	g.mu.Lock()
	g.done, g.settled = true, true
	g.mu.Unlock()
	if g.peer != nil {
		g.peer.gathering.Add(-int64(len(g.targets)))
	}
	why := &message.Error{Code: message.CodeCanceled, Message: "the gather is over"}
	if refusal(out.Err) { // then legs that are still in a queue must not go on
		why = out.Err
	}
	for _, c := range g.legs {
		_ = c.Fail(why)
	}
}

var _ route.Finisher = (*gathering)(nil)
