package ropewalktest

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
)

// networkNode is a node's part of a Network. One goroutine hands over what
// arrives, from Open to Close.
type networkNode struct {
	net      *Network
	id       string
	receiver mesh.Receiver
	wake     chan struct{}
	lane     *lane.Lane

	// Guarded by net.mu.
	inbox    letters
	bytes    int // in inbox
	seq      uint64
	last     map[string]time.Time // when the last message of a node is due
	lastLine map[string]time.Time // the same for lines
	held     []letter             // sent while paused
	states   []bool               // to be told to Receiver.Connected
	ended    []*mesh.End          // of lines that are broken
}

// letter is a message on its way.
type letter struct {
	from, to string
	due      time.Time
	seq      uint64
	data     []byte
	line     *networkLine // that it went over; nil for the backplane
}

// letters is a heap: what is due first is first.
type letters []letter

func (l letters) Len() int { return len(l) }
func (l letters) Less(i, j int) bool {
	return l[i].due.Before(l[j].due) || l[i].due.Equal(l[j].due) && l[i].seq < l[j].seq
}
func (l letters) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push implements heap.Interface.
func (l *letters) Push(x any) { *l = append(*l, x.(letter)) } //nolint:forcetypeassert // only push calls it

// Pop implements heap.Interface.
func (l *letters) Pop() any {
	last := (*l)[len(*l)-1]
	(*l)[len(*l)-1] = letter{}
	*l = (*l)[:len(*l)-1]
	return last
}

func (l *letters) push(x letter) { heap.Push(l, x) }

// kick wakes the node's goroutine.
func (p *networkNode) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run hands over what arrives until Close.
func (p *networkNode) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if ctx.Err() != nil {
			return
		}
		data, line, wait := p.next()
		switch {
		case data != nil:
			if line != nil {
				line.Received(data)
			} else {
				p.receiver.Received(data)
			}
			continue
		case wait == 0:
			continue
		case wait > 0:
			timer.Reset(wait)
		default:
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// next returns a message that is due, with the line that it came over. Without one it returns how long there is
// to wait: 0 if something was done, less if there is nothing to wait for.
func (p *networkNode) next() ([]byte, *mesh.End, time.Duration) {
	n := p.net
	n.mu.Lock()
	if len(p.states) > 0 {
		state := p.states[0]
		p.states = p.states[1:]
		n.mu.Unlock()
		p.receiver.Connected(state)
		return nil, nil, 0
	}
	if len(p.ended) > 0 && !n.paused[p.id] {
		end := p.ended[0]
		p.ended = p.ended[1:]
		n.mu.Unlock()
		end.Closed("the line is broken")
		return nil, nil, 0
	}
	defer n.mu.Unlock()
	if n.paused[p.id] || len(p.inbox) == 0 {
		return nil, nil, -1
	}
	if wait := time.Until(p.inbox[0].due); wait > 0 {
		return nil, nil, wait
	}
	l := heap.Pop(&p.inbox).(letter) //nolint:forcetypeassert // nothing else is in it
	p.bytes -= len(l.data)
	if !n.reaches(l.from, p.id) { // since it was sent
		n.lost++
		return nil, nil, 0
	}
	if l.data == nil {
		l.data = []byte{}
	}
	if l.line != nil {
		if l.line.other.end == nil || l.line.other.closed {
			n.lost++
			return nil, nil, 0
		}
		return l.data, l.line.other.end, 0
	}
	return l.data, nil, 0
}

// Send implements mesh.Backplane.
func (p *networkNode) Send(node string, data []byte) error {
	if node == "" {
		return errors.New("a message for no node")
	}
	return p.net.send(p, node, data)
}

// Publish implements mesh.Backplane.
func (p *networkNode) Publish(data []byte) error { return p.net.send(p, "", data) }

// Addr implements mesh.Backplane.
func (*networkNode) Addr() string { return "" }

// Close implements mesh.Backplane. It waits for Received to return.
func (p *networkNode) Close(context.Context) error {
	if p.lane == nil { // never opened
		return nil
	}
	p.net.close(p)
	p.lane.Close()
	return nil
}

var _ mesh.Backplane = (*networkNode)(nil)
