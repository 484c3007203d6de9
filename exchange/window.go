package exchange

import (
	"bytes"
	"context"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// A caller that is slow to take its parts makes a handler of its own node wait.
// For handlers of other nodes there is a window for each call:
//
//	caller's node                          server's node
//	 part passed on, or in the backlog ◄─── part, while the window is open
//	 credit, when they were passed on  ───► more room in the window
//
// A credit is a reply with a mid in place of a rmid, whose seq is how much was
// passed on in all. What a server on a connection sends cannot be held back; it
// fills the backlog, and when that is full the call fails, as it does on one
// node.
const (
	// window is how much of its parts the caller's node may have without a
	// credit: enough for 100 MB/s over a link with a round trip of 2 ms.
	window = 256 << 10
	// creditEvery is after how much a credit is sent, so that the window stays
	// open for callers who keep up.
	creditEvery = window / 4
	// maxBacklog is how much waits for a slow caller before its call fails.
	maxBacklog = 1 << 20
	// partCost is what a part counts besides its bytes.
	partCost = 64
)

// backlog is what waits, on the caller's node, for a caller to take parts. It
// is guarded by Call.mu.
type backlog struct {
	parts []answer
	bytes int
	final *answer        // of the server; it comes after them
	after *message.Error // of end
	// over is closed at the end of the call, after its finishers were told: a
	// server that nobody else waits for is not to get room for more parts.
	over chan struct{}
}

// stash keeps a part that the asker had no room for, if it came from another
// node, by a window, and not too much waits already.
func (c *Call) stash(a answer, w route.Window) bool {
	c.mu.Lock()
	if c.over != nil {
		c.mu.Unlock()
		return true // and nobody wants it
	}
	have := c.state.backlog
	if w == nil || (have != nil && have.bytes > maxBacklog) {
		c.mu.Unlock()
		return false
	}
	first := have == nil
	if first {
		have = &backlog{over: make(chan struct{})}
		c.state.backlog = have
	}
	c.parts++
	a.seq = c.parts
	have.parts = append(have.parts, a.own())
	have.bytes += a.cost()
	if first {
		w.Hold()
	}
	c.mu.Unlock()
	if first {
		c.x.lane.Do(func(ctx context.Context) { c.catchUp(ctx, have, w) })
	}
	return true
}

// own returns a with a body and stamp of its own.
func (a answer) own() answer {
	if a.stable {
		return a
	}
	a.body, a.stable = bytes.Clone(a.body), true
	if a.stamp != nil {
		s := *a.stamp
		s.Publisher = bytes.Clone(s.Publisher)
		a.stamp = &s
	}
	return a
}

// cost is what a part takes of a window.
func (a answer) cost() int { return len(a.body) + partCost }

// catchUp passes on what waits, when there is room for it. The server goes on
// also when the call is over: others may wait for its answer.
func (c *Call) catchUp(ctx context.Context, b *backlog, w route.Window) {
	defer w.Release()
	for {
		select {
		case <-c.asker.relief(c):
		case <-b.over:
			return
		case <-ctx.Done():
			return
		}
		if c.passOn(b) {
			return
		}
	}
}

// passOn passes on as much of a backlog as there is room for, and reports
// whether nothing of it is left to wait for.
func (c *Call) passOn(b *backlog) bool {
	c.mu.Lock()
	for c.over == nil && len(b.parts) > 0 {
		a := b.parts[0]
		crowded, err := c.give(a)
		if crowded {
			c.mu.Unlock()
			return false
		}
		if err != nil {
			c.state.backlog = nil
			c.mu.Unlock()
			_ = c.Fail(err)
			return true
		}
		b.parts[0] = answer{}
		b.parts = b.parts[1:]
		b.bytes -= a.cost()
	}
	if c.over != nil {
		c.mu.Unlock()
		return false // until its finishers were told
	}
	c.state.backlog = nil
	c.mu.Unlock() // b is ours alone now
	if b.final != nil {
		_ = c.end(*b.final, b.after)
	}
	return true
}

// receivePart takes a part of a call that the other node is answering.
func (f *FarNode) receivePart(m *message.Message) {
	id, ok := message.ParseMid(m.Rmid)
	if !ok {
		f.x.metrics.farStray.Inc()
		return
	}
	res, w := f.asks.part(f, id, len(m.Body)+partCost)
	if res == nil {
		f.x.metrics.lateAnswers.Inc()
		return
	}
	err := res.Part(route.Body{
		Bytes: m.Body, ContentType: string(m.ContentType), Stamp: f.asks.stampOf(m), Fault: m.Fault, Window: w,
	})
	if err == nil { // else nobody takes parts any more, and the server is about to be told
		f.credit(id, creditEvery)
	}
}

// legWindow is the window of one leg.
type legWindow struct {
	node *FarNode
	leg  uint64
}

// Hold implements route.Window.
func (w *legWindow) Hold() { w.node.asks.hold(w.leg, 1) }

// Release implements route.Window.
func (w *legWindow) Release() {
	w.node.asks.hold(w.leg, -1)
	w.node.credit(w.leg, 0)
}

// hold counts those who hold a leg, which gets no credits while there are any. A
// backlog may begin before the one before it has let go.
func (d *desk) hold(id uint64, more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.open[id]; l != nil {
		l.held += more
	}
}

// part counts a part of a leg in. It returns who waits for it, nil if nobody
// does, and the window of the leg.
func (d *desk) part(f *FarNode, id uint64, cost int) (route.Responder, route.Window) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.open[id]
	if l == nil {
		return nil, nil
	}
	l.got += uint64(cost) //nolint:gosec // not negative
	if l.window == nil {
		l.window = &legWindow{f, id}
	}
	return l.res, l.window
}

// credited returns what was got of a leg, to be told to the other node: not yet
// if that is less than so much, or the leg is on hold.
func (d *desk) credited(id, least uint64) (got uint64, due bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.open[id]
	if l == nil || l.held > 0 || l.got-l.credited < least {
		return 0, false
	}
	l.credited = l.got
	return l.got, true
}

// credit tells the other node that the parts of a leg were passed on, if they
// cost at least so much.
func (f *FarNode) credit(leg, least uint64) {
	got, due := f.asks.credited(leg, least)
	if !due {
		return
	}
	m := f.x.borrow()
	m.Verb, m.Seq = message.VerbReply, got
	m.Mid = message.AppendMid(m.room[:0], leg)
	err := f.link.Deliver(Note{}, &m.Message)
	f.x.giveBack(m)
	if message.CodeOf(err) == message.CodeOverloaded {
		f.x.lane.Do(func(ctx context.Context) { // its handler may be waiting for it
			select {
			case <-f.link.Relief():
				f.credit(leg, 0)
			case <-ctx.Done():
			}
		})
	}
}

// receiveCredit opens the window of a call of the other node.
func (f *FarNode) receiveCredit(m *message.Message) {
	key, ok := message.ParseMid(m.Mid)
	if !ok {
		f.x.metrics.farStray.Inc()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.asked[key]
	if c == nil {
		return // it is over
	}
	o := &c.state.origin
	o.credited = max(o.credited, m.Seq)
	f.wake(c)
}

// mayPart reports whether the window of a call is open. If not, relief tells
// when it is.
func (f *FarNode) mayPart(c *Call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := &c.state.origin; o.sent < o.credited+window {
		return true
	}
	if f.waits[c] == nil {
		if f.waits == nil {
			f.waits = make(map[*Call]chan struct{})
		}
		f.waits[c] = make(chan struct{})
	}
	return false
}

// wake has a handler try again to send a part. f.mu is held.
func (f *FarNode) wake(c *Call) {
	if w := f.waits[c]; w != nil {
		close(w)
		delete(f.waits, c)
	}
}

// relief implements asker.
func (f *FarNode) relief(c *Call) <-chan struct{} {
	f.mu.Lock()
	w := f.waits[c]
	f.mu.Unlock()
	if w != nil {
		return w
	}
	return f.link.Relief()
}
