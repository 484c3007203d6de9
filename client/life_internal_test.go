package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// pipe is a transport in memory whose other end is the test.
type pipe struct {
	in   chan []byte
	dead chan struct{}
	once sync.Once

	mu     sync.Mutex
	node   string // where it ends
	drains bool   // it was told so
	quiet  bool   // and has had the time to know: nothing new comes by it
	got    []message.Message
	broken int // fail the next write after so many frames; -1 for never
}

func newPipe() *pipe {
	return &pipe{in: make(chan []byte, 1000), dead: make(chan struct{}), broken: -1}
}

func (p *pipe) name() string               { return "pipe" }
func (p *pipe) heard() time.Time           { return time.Now() }
func (p *pipe) ping(context.Context) error { return nil }
func (p *pipe) close(int, string)          { p.kill() }
func (p *pipe) kill()                      { p.once.Do(func() { close(p.dead) }) }
func (p *pipe) read() ([]byte, error) {
	select {
	case f := <-p.in:
		return f, nil
	case <-p.dead:
		return nil, &dropped{cause: errors.New("the pipe is broken")}
	}
}

func (p *pipe) write(frames [][]byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.dead:
		return 0, errors.New("the pipe is broken")
	default:
	}
	for i, f := range frames {
		if p.broken == 0 {
			p.kill()
			return i, errors.New("the pipe broke")
		}
		if p.broken > 0 {
			p.broken--
		}
		var m message.Message
		if err := message.DecodeSplit(f, &m); err != nil {
			panic(err)
		}
		p.got = append(p.got, m.Clone())
	}
	return len(frames), nil
}

func (p *pipe) taken() []message.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.got
	p.got = nil
	return list
}

// op is one step of a life.
type op struct {
	kind string
	arg  int
}

var opKinds = []string{
	"send", "send", "call", "call", "again", "answer", "answer", "cancel", "drop", "break", "down", "up", "wait", "drain", "refuse",
}

// life runs a client through a list of steps and checks what comes of it.
type life struct {
	c    *Client
	fail string

	mu      sync.Mutex
	down    bool
	pipe    *pipe   // the newest
	pipes   []*pipe // all
	results map[int][]error
	answers map[int]string
	cancels []context.CancelFunc

	n        int // of calls
	sends    int
	accepted []int
	idem     map[int]bool
	seen     map[int]int    // calls by number
	mids     map[int]string // of calls, as first seen
	arrived  []int          // sends
	refused  map[int]int    // calls by number
	open     []asked
}

// asked is a call that has reached a node.
type asked struct {
	message.Message
	pipe *pipe
}

func (l *life) failf(format string, args ...any) {
	if l.fail == "" {
		l.fail = fmt.Sprintf(format, args...)
	}
}

// dial connects to one of two nodes, which have the names of their hosts.
func (l *life) dial(_ context.Context, at *place) (transport, *welcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, nil, errors.New("the node is down")
	}
	l.pipe = newPipe()
	l.pipe.node = at.url.Host
	l.pipes = append(l.pipes, l.pipe)
	hello := &welcome{ID: "me"}
	hello.Node.ID = at.url.Host
	return l.pipe, hello, nil
}

func (l *life) call(idempotent bool) {
	n := l.n
	l.n++
	l.idem[n] = idempotent
	ctx, cancel := context.WithCancel(context.Background())
	l.cancels = append(l.cancels, cancel)
	var opts []call.Option
	if idempotent {
		opts = append(opts, call.WithIdempotent())
	}
	go func() {
		a, err := l.c.Call(ctx, "a:/call", n, opts...)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.results[n] = append(l.results[n], err)
		if err == nil {
			l.answers[n] = string(a.Body)
		}
	}()
}

func (l *life) step(o op) {
	l.mu.Lock()
	p := l.pipe
	l.mu.Unlock()
	switch o.kind {
	case "send":
		if err := l.c.Send(context.Background(), "a:/send", l.sends); err == nil {
			l.accepted = append(l.accepted, l.sends)
		}
		l.sends++
	case "call", "again":
		l.call(o.kind == "again")
	case "answer":
		if len(l.open) > 0 {
			m := l.open[o.arg%len(l.open)]
			m.pipe.in <- message.AppendSplit(nil, &message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: m.Body})
		}
	case "drain":
		if p != nil {
			p.drains = true
			p.in <- message.AppendSplit(nil, &message.Message{Verb: message.VerbDrain})
		}
	case "refuse":
		l.refuse(o.arg)
	case "cancel":
		if len(l.cancels) > 0 {
			l.cancels[o.arg%len(l.cancels)]()
		}
	case "drop":
		if p != nil {
			p.kill()
		}
	case "break":
		if p != nil {
			p.mu.Lock()
			p.broken = o.arg % 3
			p.mu.Unlock()
		}
	case "down", "up":
		l.mu.Lock()
		l.down = o.kind == "down"
		l.mu.Unlock()
	case "wait":
		time.Sleep(time.Duration(o.arg) * 20 * time.Millisecond) // of the bubble's clock
	}
	if o.arg%2 == 0 { // else several things happen at once
		synctest.Wait()
		l.collect()
		if p != nil && p.drains {
			p.quiet = true
		}
	}
}

// refuse has a node that drains refuse a call that it has not answered.
func (l *life) refuse(arg int) {
	if len(l.open) == 0 {
		return
	}
	at := arg % len(l.open)
	m := l.open[at]
	if !m.pipe.drains {
		return
	}
	l.open = append(l.open[:at:at], l.open[at+1:]...)
	n, _ := strconv.Atoi(string(m.Body))
	l.refused[n]++
	m.pipe.in <- message.AppendSplit(nil, &message.Message{
		Verb: message.VerbError, Rmid: m.Mid, From: []byte(m.pipe.node + "@node:/"),
		Body: message.AppendError(nil, message.NewError(message.CodeShuttingDown, "too late", "")),
	})
}

// collect reads what the node has got.
func (l *life) collect() {
	l.mu.Lock()
	pipes := l.pipes
	l.mu.Unlock()
	for _, p := range pipes {
		for _, m := range p.taken() {
			l.saw(p, m)
		}
	}
}

// saw takes note of a message that has reached a node.
func (l *life) saw(p *pipe, m message.Message) {
	n, err := strconv.Atoi(string(m.Body))
	switch {
	case m.Verb == message.VerbCancel:
	case p.quiet:
		l.failf("%s %d came by a connection that drains", m.Verb, n)
	case err != nil:
		l.failf("the node got %s %q", m.Verb, m.Body)
	case m.Verb == message.VerbSend:
		l.arrived = append(l.arrived, n)
	case m.Verb == message.VerbCall:
		l.open = append(l.open, asked{m, p})
		l.seen[n]++
		if mid, ok := l.mids[n]; ok && mid != string(m.Mid) {
			l.failf("call %d was sent again with another mid", n)
		}
		l.mids[n] = string(m.Mid)
	}
}

func (l *life) check() {
	for n := range l.n {
		if len(l.results[n]) != 1 {
			l.failf("call %d has %d outcomes", n, len(l.results[n]))
		}
		if a, ok := l.answers[n]; ok && a != strconv.Itoa(n) {
			l.failf("call %d got the answer of call %s", n, a)
		}
		if l.seen[n] > 1+l.refused[n] && !l.idem[n] {
			l.failf("call %d reached the node %d times", n, l.seen[n])
		}
	}
	last := -1
	for _, n := range l.arrived {
		if n <= last {
			l.failf("send %d arrived after %d", n, last)
		}
		last = n
	}
}

func (l *life) run(ops []op) {
	cfg := defaults()
	cfg.lazy, cfg.dial = true, l.dial
	cfg.log = slog.New(slog.DiscardHandler)
	c, err := start(context.Background(), []*url.URL{{Scheme: "http", Host: "a"}, {Scheme: "http", Host: "b"}}, cfg)
	if err != nil {
		l.failf("start: %v", err)
		return
	}
	l.c = c
	for _, o := range ops {
		l.step(o)
	}
	// At the end the node is well: all that was accepted and not written into
	// a dying connection arrives.
	l.step(op{"up", 0})
	time.Sleep(2 * DefaultMaxBackoff)
	synctest.Wait()
	l.collect()
	if s := c.Stats(); s.Queued != 0 {
		l.failf("%d messages are still in the queue", s.Queued)
	}
	if err := c.Close(); err != nil {
		l.failf("close: %v", err)
	}
	synctest.Wait()
	l.check()
	for _, cancel := range l.cancels {
		cancel()
	}
}

func TestLife(t *testing.T) {
	ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{rapid.SampledFrom(opKinds).Draw(t, "kind"), rapid.IntRange(0, 50).Draw(t, "arg")}
	}), 1, 60)
	check := func(rt *rapid.T) {
		list := ops.Draw(rt, "ops")
		l := &life{results: map[int][]error{}, answers: map[int]string{}, idem: map[int]bool{}, seen: map[int]int{}, mids: map[int]string{}, refused: map[int]int{}}
		synctest.Test(t, func(*testing.T) { l.run(list) })
		if l.fail != "" {
			rt.Fatal(l.fail)
		}
	}
	for range 5 { // one round of short lives finds too little
		rapid.Check(t, check)
	}
}
