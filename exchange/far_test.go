package exchange_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// farWire is a FarLink to another Exchange of the test. What is delivered waits
// in a queue until step or a pump brings it there.
type farWire struct {
	to func(n exchange.Note, m *message.Message)

	mu        sync.Mutex
	queue     []farFrame
	wake      chan struct{} // has a token when the queue may not be empty
	room      chan struct{}
	full      bool
	partsFull bool
	busy      bool // for all but errors
	most      int  // bytes of a body; 0: any
	cut       bool
	lost      string
	count     int // frames that were delivered
	moving    bool
}

type farFrame struct {
	n exchange.Note
	m message.Message
}

func (w *farWire) Deliver(n exchange.Note, m *message.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.cut:
		return message.NewError(message.CodeNodeLost, "cut", "")
	case w.full, w.partsFull && m.Verb == message.VerbPart, w.busy && m.Verb != message.VerbError:
		return message.NewError(message.CodeOverloaded, "full", "")
	case w.most > 0 && len(m.Body) > w.most:
		return message.NewError(message.CodeTooLarge, "large", "")
	}
	w.count++
	w.queue = append(w.queue, farFrame{n, m.Clone()})
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return nil
}

func (w *farWire) Relief() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full || w.partsFull || w.busy {
		return w.room
	}
	return noWait
}

// noWait is the relief of who has room.
var noWait = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (w *farWire) Lose(reason string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = reason
}

// set changes what the link does.
func (w *farWire) set(f func(w *farWire)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// step brings one frame to the other side and reports whether there was one.
func (w *farWire) step() bool {
	w.mu.Lock()
	if len(w.queue) == 0 {
		w.mu.Unlock()
		return false
	}
	f := w.queue[0]
	w.queue = w.queue[1:]
	w.moving = true
	w.mu.Unlock()
	defer w.set(func(w *farWire) { w.moving = false })
	server := []byte(f.n.Server)
	f.n.Server = string(server)
	w.to(f.n, &f.m)
	clear(f.m.Body) // what is needed later must have been copied
	clear(f.m.To)
	clear(f.m.From)
	return true
}

func (w *farWire) pump(done <-chan struct{}) {
	for {
		for w.step() {
		}
		select {
		case <-w.wake:
		case <-done:
			return
		}
	}
}

// farWorld is some nodes that see each other.
type farWorld struct {
	t     *testing.T
	nodes []world
	ids   []string
	far   [][]*exchange.FarNode // far[i][j] is node j as node i sees it
	links [][]*farWire          // from i to j
	seats [][]route.Seat        // what node i has announced
	next  int

	byHand bool // frames move only by step
}

// newMesh joins n nodes, a, b, c …; frames move by themselves unless by hand.
func newMesh(t *testing.T, n int, byHand bool, change ...func(*exchange.Config)) *farWorld {
	t.Helper()
	w := &farWorld{t: t, byHand: byHand, seats: make([][]route.Seat, n)}
	for i := range n {
		id := strings.Repeat(string(rune('a'+i)), 32)
		w.ids = append(w.ids, id)
		w.nodes = append(w.nodes, newWorld(t, append(change, func(c *exchange.Config) {
			c.NodeID, c.NodeName = id, "node-"+id[:1]
		})...))
		w.far = append(w.far, make([]*exchange.FarNode, n))
		w.links = append(w.links, make([]*farWire, n))
	}
	done := make(chan struct{})
	var pumps sync.WaitGroup
	for i := range n {
		for j := range n {
			if i == j {
				continue
			}
			l := w.join(i, j)
			if !byHand {
				pumps.Go(func() { l.pump(done) })
			}
		}
	}
	t.Cleanup(func() {
		close(done)
		pumps.Wait()
	})
	return w
}

// join has node i see node j.
func (w *farWorld) join(i, j int) *farWire {
	l := &farWire{wake: make(chan struct{}, 1)}
	l.to = func(n exchange.Note, m *message.Message) { w.far[j][i].Receive(n, m) }
	w.links[i][j] = l
	w.far[i][j] = w.nodes[i].AttachNode(l, route.Place{Node: w.ids[j], Name: "node-" + w.ids[j][:1]})
	return l
}

// connect makes a connection to node i, whose id begins with the node's tag.
func (w *farWorld) connect(i int) end {
	w.t.Helper()
	w.next++
	return w.nodes[i].connect(fmt.Sprintf("%s%013d", message.NodeTag(w.ids[i]), w.next))
}

// announce tells all nodes what the others serve.
func (w *farWorld) announce() {
	w.t.Helper()
	for i := range w.nodes {
		w.announceOf(i)
	}
}

func (w *farWorld) announceOf(i int) {
	now := w.nodes[i].Table().Local()
	for j := range w.nodes {
		if f := w.far[j][i]; f != nil {
			for _, s := range w.seats[i] {
				f.Unserve(s.Server, s.Name, s.Pattern)
			}
			for _, s := range now {
				if err := f.Serve(s.Server, s.Name, s.Pattern, s.Info); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
	w.seats[i] = now
}

// serving connects a server to node i and announces it.
func (w *farWorld) serving(i int, address string) end {
	w.t.Helper()
	s := w.connect(i)
	s.serve(address)
	w.announceOf(i)
	return s
}

// still waits until nothing is in flight anywhere.
func (w *farWorld) still() {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for ; ; <-again.C { // there is no channel for all of it
		busy := ""
		for i, x := range w.nodes {
			if n := x.InFlight(); n != 0 {
				busy += fmt.Sprintf(" node %d has %d calls;", i, n)
			}
			for j, f := range w.far[i] {
				if l := w.links[i][j]; l != nil && !w.byHand {
					l.set(func(l *farWire) {
						if len(l.queue) > 0 || l.moving {
							busy += fmt.Sprintf(" frames from %d to %d;", i, j)
						}
					})
				}
				if f != nil && (f.Calling() != 0 || f.Answering() != 0) {
					busy += fmt.Sprintf(" between %d and %d: %d, %d;", i, j, f.Calling(), f.Answering())
				}
			}
			for _, s := range x.Table().Services() {
				for _, server := range s.Servers {
					if server.InFlight != 0 {
						busy += fmt.Sprintf(" %s has %d;", server.ID, server.InFlight)
					}
				}
			}
		}
		if busy == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal("in flight:" + busy)
		}
	}
}

func TestFarCall(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	c, s := w.connect(0), w.serving(1, "math:/decimal/{op}")
	c.send(`{"to":"math:/decimal/mul","mid":"7","frm":"liar:/","tmo":5,"aut":"secret","hdr":{"traceparent":"x"},"bdy":{"a":2}}`)
	got := s.next(t)
	if got.Verb != message.VerbCall || string(got.To) != "math:/decimal/mul" || string(got.Body) != `{"a":2}` {
		t.Fatalf("the server got %s to %s with %s", got.Verb, got.To, got.Body)
	}
	if string(got.From) != c.id+"@client:/" || got.Authorization != nil || got.Header("traceparent") != "x" {
		t.Errorf("from %s, token %q, headers %s", got.From, got.Authorization, got.Headers)
	}
	if got.Timeout <= 0 || got.Timeout > 5*time.Second || len(got.Timestamp) != 24 {
		t.Errorf("time left %v, timestamp %q", got.Timeout, got.Timestamp)
	}
	if w.far[0][1].Calling() != 1 || w.far[1][0].Answering() != 1 || w.nodes[0].InFlight() != 1 || w.nodes[1].InFlight() != 1 {
		t.Errorf("%d, %d calls", w.far[0][1].Calling(), w.far[1][0].Answering())
	}
	const parts = 100
	for i := range parts {
		s.send(`{"vrb":"part","rmid":%q,"seq":9,"bdy":%d}`, got.Mid, i)
	}
	s.send(`{"vrb":"reply","rmid":%q,"bdy":10}`, got.Mid)
	for i := range parts {
		if m := c.want(message.VerbPart, "7", fmt.Sprint(i)); m.Seq != uint64(i+1) {
			t.Errorf("part %d is numbered %d", i+1, m.Seq)
		}
	}
	if m := c.want(message.VerbReply, "7", "10"); string(m.From) != s.id+"@math:/" {
		t.Errorf("the reply is from %s", m.From)
	}
	s.send(`{"vrb":"reply","rmid":%q,"bdy":11}`, got.Mid) // late
	c.send(`{"to":"math:/decimal/mul","mid":"8","bdy":1}`)
	got = s.next(t)
	s.send(`{"vrb":"error","rmid":%q,"bdy":{"code":"conflict","message":"no","hint":"so","details":[1],"retryable":true}}`, got.Mid)
	if err := c.wantError("8", message.CodeConflict); err.Hint != "so" || string(err.Details) != "[1]" || !err.Retryable {
		t.Errorf("%+v", err)
	}
	c.send(`{"to":"math:/decimal/div","mid":"9","bdy":1}`)
	got = s.next(t)
	s.Receive(&message.Message{Verb: message.VerbReply, Rmid: got.Mid, ContentType: []byte("text/plain"), Body: []byte("hi")})
	if m := c.next(t); string(m.ContentType) != "text/plain" || string(m.Body) != "hi" {
		t.Errorf("%s %s", m.ContentType, m.Body)
	}
	w.still()
	c.none(t)
	s.none(t)
}

// Servers of both nodes get calls, and an instance in the address is one of
// them wherever it is.
func TestFarAndNear(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	c, near, far := w.connect(0), w.serving(0, "echo:/"), w.serving(1, "echo:/")
	for _, s := range []end{near, far} {
		c.send(`{"to":"%s@echo:/","mid":"1"}`, s.id)
		s.send(`{"rmid":%q,"bdy":1}`, s.next(t).Mid)
		if m := c.want(message.VerbReply, "1", "1"); string(m.From) != s.id+"@echo:/" {
			t.Errorf("from %s", m.From)
		}
	}
	for i := range 6 {
		c.send(`{"to":"echo:/","mid":"r%d","str":"round-robin"}`, i)
	}
	for range 3 {
		near.next(t)
		far.next(t)
	}
	c.send(`{"to":"*:/","mid":"w","str":{"by":"instance","instance":%q}}`, far.id)
	if m := far.next(t); string(m.To) != "echo:/" {
		t.Errorf("to %s", m.To)
	}
	for _, s := range w.nodes[0].Table().Services()[0].Servers {
		if s.Local != (s.ID == near.id) || (s.ID == near.id && s.InFlight != 3) || (s.ID == far.id && s.InFlight != 4) {
			t.Errorf("%+v", s)
		}
	}
	near.Gone()
	far.Gone()
	for range 7 {
		c.next(t)
	}
	w.still()
}

func TestFarCancel(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	c, s := w.connect(0), w.serving(1, "slow:/")
	c.send(`{"to":"slow:/","mid":"1"}`)
	m := s.next(t)
	c.send(`{"vrb":"cancel","rmid":"1"}`)
	c.wantError("1", message.CodeCanceled)
	s.want(message.VerbCancel, string(m.Mid), "")
	s.send(`{"rmid":%q,"bdy":"late"}`, m.Mid)
	c.send(`{"to":"slow:/","mid":"2","tmo":0.05}`)
	m = s.next(t)
	c.wantError("2", message.CodeDeadlineExceeded)
	s.want(message.VerbCancel, string(m.Mid), "")
	c.send(`{"to":"slow:/","mid":"3"}`)
	m = s.next(t)
	c.Gone()
	s.want(message.VerbCancel, string(m.Mid), "")
	w.still()
	w.links[1][0].set(func(l *farWire) {
		if l.count != 0 {
			t.Errorf("%d answers to canceled calls went between the nodes", l.count)
		}
	})
}

func TestFarServerLost(t *testing.T) {
	t.Parallel()
	w := newMesh(t, 2, false)
	c, s := w.connect(0), w.serving(1, "echo:/")
	c.send(`{"to":"echo:/","mid":"1"}`)
	s.next(t)
	s.Gone()
	c.wantError("1", message.CodeServiceLost)
	w.announce()
	c.send(`{"to":"echo:/","mid":"2"}`)
	c.wantError("2", message.CodeServiceDown)
	w.still()
}
