package ropewalktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
)

const (
	// backplanes is how many nodes the tests of a backplane use: three, and one
	// that comes later.
	backplanes = 4
	// patience is how long something that has to happen may take.
	patience = 30 * time.Second
	// again is how often something that may be lost is sent.
	again = 20 * time.Millisecond
)

// TestBackplane checks that a backplane keeps what [mesh.Backplane] asks for.
// newMesh returns four backplanes of one mesh, none of them open. The first is
// opened first and closed last, so that it may be the one that the others join.
// It is called once for each test; tests run in parallel.
func TestBackplane(t *testing.T, newMesh func(t *testing.T) []mesh.Backplane) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, nodes []*post)
	}{
		{"sends to one node and no other", sendsToOne},
		{"keeps the order of a sender", keepsOrder},
		{"keeps the order of many senders", keepsOrderOfMany},
		{"keeps messages whole", keepsWhole},
		{"keeps nothing of what it was given", keepsNothing},
		{"publishes to all others", publishes},
		{"sends to the node itself", sendsToItself},
		{"takes messages for nodes that are not there", sendsToNobody},
		{"hands over one message at a time", oneAtATime},
		{"calls nobody after Close", silentAfterClose},
		{"lets others come later", comesLater},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			planes := newMesh(t)
			if len(planes) != backplanes {
				t.Fatalf("newMesh returned %d backplanes, want %d", len(planes), backplanes)
			}
			nodes := make([]*post, backplanes)
			for i, b := range planes {
				nodes[i] = &post{t: t, plane: b, id: newNodeID(), arrived: make(chan struct{}, 1)}
			}
			for _, p := range nodes[:3] {
				p.open()
			}
			meet(t, nodes[:3])
			c.run(t, nodes)
		})
	}
}

// post is a node of the tests: it keeps what arrives.
type post struct {
	t     *testing.T
	plane mesh.Backplane
	id    string
	busy  atomic.Int32 // calls of Received under way

	mu      sync.Mutex
	closed  bool
	got     [][]byte
	arrived chan struct{}
}

func newNodeID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (p *post) open() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.plane.Open(ctx, p.id, p); err != nil {
		p.t.Fatalf("open: %v", err)
	}
	p.t.Cleanup(p.close)
}

func (p *post) close() {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return
	}
	if err := p.plane.Close(context.Background()); err != nil {
		p.t.Errorf("close: %v", err)
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// Received implements mesh.Receiver.
func (p *post) Received(data []byte) {
	if p.busy.Add(1) != 1 {
		p.t.Error("Received was called while another call of it was under way")
	}
	defer p.busy.Add(-1)
	data = slices.Clone(data)
	p.mu.Lock()
	if p.closed {
		p.t.Error("Received was called after Close had returned")
	}
	p.got = append(p.got, data)
	p.mu.Unlock()
	select {
	case p.arrived <- struct{}{}:
	default:
	}
}

// Connected implements mesh.Receiver.
func (p *post) Connected(yes bool) {
	if p.mu.Lock(); p.closed {
		p.t.Errorf("Connected(%v) was called after Close had returned", yes)
	}
	p.mu.Unlock()
}

// with returns what has arrived that begins with prefix.
func (p *post) with(prefix string) [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out [][]byte
	for _, d := range p.got {
		if bytes.HasPrefix(d, []byte(prefix)) {
			out = append(out, d)
		}
	}
	return out
}

// wait waits until ok is true, which is looked at when something arrives. While
// it is not, retry is called again and again, unless it is nil.
func (p *post) wait(what string, ok func() bool, retry func()) {
	p.t.Helper()
	tick := time.NewTicker(again)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-p.arrived:
		case <-tick.C:
			if retry != nil {
				retry()
			}
		case <-limit.C:
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (p *post) send(to *post, text string) {
	p.t.Helper()
	if err := p.plane.Send(to.id, []byte(text)); err != nil {
		p.t.Errorf("send: %v", err)
	}
}

// flush waits until what p has sent to another node so far has arrived there, or
// never will.
func (p *post) flush(to *post) {
	p.t.Helper()
	mark := "flush " + newNodeID()
	p.send(to, mark)
	to.wait("what was sent", func() bool { return len(to.with(mark)) > 0 }, func() { p.send(to, mark) })
}

// meet waits until each node reaches each.
func meet(t *testing.T, nodes []*post) {
	t.Helper()
	for _, a := range nodes {
		for _, b := range nodes {
			a.flush(b)
			hello := "hello " + newNodeID()
			if a == b {
				continue
			}
			greet := func() {
				if err := a.plane.Publish([]byte(hello)); err != nil {
					t.Errorf("publish: %v", err)
				}
			}
			greet()
			b.wait("a greeting", func() bool { return len(b.with(hello)) > 0 }, greet)
		}
	}
}

func sendsToOne(t *testing.T, nodes []*post) {
	t.Helper()
	a, b, c := nodes[0], nodes[1], nodes[2]
	a.send(b, "one for b")
	b.send(c, "one for c")
	a.flush(b)
	b.flush(c)
	a.flush(c)
	for i, want := range []int{0, 1, 1} {
		if got := nodes[i].with("one for"); len(got) != want {
			t.Errorf("node %d got %q, want %d of them", i, got, want)
		}
	}
	if got := b.with("one for c"); len(got) > 0 {
		t.Errorf("b got what was sent to c: %q", got)
	}
}

// inOrder checks that of the numbered messages with this prefix some may be
// missing, but that none comes twice or before an earlier one. A backplane at
// rest has no reason to lose any: nine of ten have to be there.
func inOrder(t *testing.T, to *post, prefix string, sent int) {
	t.Helper()
	got, last := to.with(prefix), -1
	for _, d := range got {
		var n int
		if _, err := fmt.Sscanf(string(d[len(prefix):]), "%d", &n); err != nil {
			t.Fatalf("%q: %v", d, err)
		}
		if n <= last {
			t.Fatalf("%s%d came after %d", prefix, n, last)
		}
		last = n
	}
	if len(got) < sent*9/10 {
		t.Errorf("%d of %d messages %sarrived", len(got), sent, prefix)
	}
}

func keepsOrder(t *testing.T, nodes []*post) {
	t.Helper()
	const n = 5000
	a, b := nodes[0], nodes[1]
	for i := range n {
		a.send(b, fmt.Sprintf("nr %d %s", i, bytes.Repeat([]byte{'x'}, i%700)))
	}
	a.flush(b)
	inOrder(t, b, "nr ", n)
}

func keepsOrderOfMany(t *testing.T, nodes []*post) {
	t.Helper()
	const senders, n = 8, 500
	b := nodes[1]
	var wg sync.WaitGroup
	for s := range senders {
		from := nodes[s%3]
		wg.Go(func() {
			for i := range n {
				from.send(b, fmt.Sprintf("s%d %d", s, i))
				if i%50 == 0 {
					_ = from.plane.Publish([]byte("noise"))
				}
			}
		})
	}
	wg.Wait()
	for _, from := range nodes[:3] {
		from.flush(b)
	}
	for s := range senders {
		inOrder(t, b, fmt.Sprintf("s%d ", s), n)
	}
}

func keepsWhole(t *testing.T, nodes []*post) {
	t.Helper()
	a, b := nodes[1], nodes[2]
	for _, size := range []int{1, 7, 8, 4095, 4096, 32 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000, mesh.MaxMessage - 1, mesh.MaxMessage} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		copy(data, "whole")
		ship := func() {
			if err := a.plane.Send(b.id, data); err != nil {
				t.Errorf("send %d bytes: %v", size, err)
			}
		}
		ship()
		b.wait(fmt.Sprintf("a message of %d bytes", size), func() bool {
			return slices.ContainsFunc(b.with(string(data[:min(size, 5)])), func(d []byte) bool { return bytes.Equal(d, data) })
		}, ship)
	}
	for _, d := range b.with("whole") {
		if len(d) < 5 {
			t.Errorf("got a piece of %d bytes", len(d))
		}
	}
	huge := slices.Concat([]byte("whole "), make([]byte, mesh.MaxMessage))
	if err := a.plane.Publish(huge); err != nil {
		t.Logf("more than MaxMessage is refused: %v", err)
	}
	a.flush(b)
}

func keepsNothing(t *testing.T, nodes []*post) {
	t.Helper()
	const n = 500
	a, b := nodes[0], nodes[2]
	data := make([]byte, 3000)
	for i := range n {
		for j := range data {
			data[j] = byte('a' + i%26)
		}
		copy(data, "keep")
		var err error
		if i%2 == 0 {
			err = a.plane.Send(b.id, data)
		} else {
			err = a.plane.Publish(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.flush(b)
	for _, d := range b.with("keep") {
		if rest := d[4:]; len(bytes.Trim(rest, string(rest[:1]))) > 0 {
			t.Fatal("a message changed after it had been sent")
		}
	}
}

func publishes(t *testing.T, nodes []*post) {
	t.Helper()
	const n = 200
	for i := range n {
		if err := nodes[0].plane.Publish(fmt.Appendf(nil, "all %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	end := func() { _ = nodes[0].plane.Publish([]byte("end")) }
	end()
	for _, p := range nodes[1:3] {
		p.wait("the last message to all", func() bool { return len(p.with("end")) > 0 }, end)
		if got := len(p.with("all ")); got < n*9/10 || got > n {
			t.Errorf("got %d of %d messages to all", got, n)
		}
	}
}

func sendsToItself(t *testing.T, nodes []*post) {
	t.Helper()
	const n = 300
	for i := range n {
		nodes[0].send(nodes[0], fmt.Sprintf("me %d", i))
	}
	nodes[0].flush(nodes[0])
	inOrder(t, nodes[0], "me ", n)
	for _, p := range nodes[1:3] {
		if got := p.with("me "); len(got) > 0 {
			t.Errorf("another node got %d of the messages", len(got))
		}
	}
}

func sendsToNobody(t *testing.T, nodes []*post) {
	t.Helper()
	for range 100 {
		_ = nodes[0].plane.Send(newNodeID(), []byte("nobody"))
	}
	nodes[0].send(nodes[1], "after")
	nodes[0].flush(nodes[1])
	if got := nodes[1].with("after"); len(got) != 1 {
		t.Errorf("got %d messages, want 1", len(got))
	}
	for _, p := range nodes[:3] {
		if got := p.with("nobody"); len(got) > 0 {
			t.Errorf("got %d messages for another node", len(got))
		}
	}
}

func oneAtATime(t *testing.T, nodes []*post) {
	t.Helper()
	const n = 300
	var wg sync.WaitGroup
	for i, from := range nodes[:3] {
		wg.Go(func() {
			for k := range n {
				from.send(nodes[1], fmt.Sprintf("t%d %d", i, k))
				_ = from.plane.Publish([]byte("all at once"))
			}
		})
	}
	wg.Wait()
	for i, from := range nodes[:3] { // Received complains itself
		from.flush(nodes[1])
		inOrder(t, nodes[1], fmt.Sprintf("t%d ", i), n)
	}
}

func silentAfterClose(t *testing.T, nodes []*post) {
	t.Helper()
	a, b, c := nodes[0], nodes[1], nodes[2]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, from := range []*post{a, c} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					from.send(b, "stream")
					_ = from.plane.Publish([]byte("stream"))
				}
			}
		})
	}
	b.wait("something", func() bool { return len(b.with("stream")) > 100 }, nil)
	b.close() // from now on Received complains
	if err := b.plane.Send(a.id, []byte("ghost")); err == nil {
		t.Error("Send after Close returned no error")
	}
	if err := b.plane.Publish([]byte("ghost")); err == nil {
		t.Error("Publish after Close returned no error")
	}
	close(stop)
	wg.Wait()
	a.flush(c) // the others are not hurt
	c.flush(a)
	if got := a.with("ghost"); len(got) > 0 {
		t.Error("what was sent after Close arrived")
	}
}

func comesLater(t *testing.T, nodes []*post) {
	t.Helper()
	a, b, c, late := nodes[0], nodes[1], nodes[2], nodes[3]
	b.close()
	a.send(b, "too late")
	late.open()
	meet(t, []*post{a, c, late})
	if got := late.with("too late"); len(got) > 0 {
		t.Error("a new node got what was sent to one that has gone")
	}
	for _, p := range []*post{a, c, late} {
		addr := p.plane.Addr()
		if addr == "" {
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("the address that others are told: %v", err)
			continue
		}
		conn.Close()
	}
}

var _ mesh.Receiver = (*post)(nil)
