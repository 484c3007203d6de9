package ropewalktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
)

// inboxBytes bounds what waits for one node of a [Network]. What comes beyond
// that is lost, as on a network.
const inboxBytes = 64 << 20

var (
	errNotOpen      = errors.New("the backplane is not open")
	errDisconnected = errors.New("the node is disconnected from the network")
	errTooLarge     = fmt.Errorf("more than the %d bytes that a backplane takes", mesh.MaxMessage)
)

// Network is a backplane in memory, with faults on demand, for tests of
// meshes. Make one with [NewNetwork], and a node's part of it with
// [Network.Node]. Nodes are named by the ids with which they were opened; a
// fault may name nodes that are not there yet. All methods may be called from
// any goroutine.
//
// It goes by package time, so that it works in a bubble of testing/synctest:
// without a delay everything arrives at the same instant.
type Network struct {
	mu      sync.Mutex
	rand    *rand.Rand
	nodes   map[string]*networkNode
	group   map[string]int // of a partition; absent is group 0
	split   bool
	blocked map[[2]string]bool
	paused  map[string]bool
	away    map[string]bool // disconnected
	rate    float64         // of messages that are lost
	least   time.Duration   // delays
	most    time.Duration
	lost    int

	makers  map[string]*networkLines // by node
	lines   map[*networkLine]struct{}
	hushed  map[[2]string]bool // lines
	noLines bool
}

// NewNetwork returns a network without nodes and faults. What is left to
// chance, such as which messages are lost, follows from seed and from the order
// in which messages are sent.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rand:  rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
		nodes: make(map[string]*networkNode), group: make(map[string]int),
		blocked: make(map[[2]string]bool), paused: make(map[string]bool), away: make(map[string]bool),
		makers: make(map[string]*networkLines), lines: make(map[*networkLine]struct{}), hushed: make(map[[2]string]bool),
	}
}

// Node returns a backplane on the network, for one node.
func (n *Network) Node() mesh.Backplane { return &networkNode{net: n} }

// Partition splits the network: nodes of different groups do not reach each
// other. Nodes that no group names are in the first one. What is under way
// between groups is lost. It replaces an earlier partition.
func (n *Network) Partition(groups ...[]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.group)
	n.split = true
	for i, g := range groups {
		for _, id := range g {
			n.group[id] = i
		}
	}
}

// Block loses what the node from sends to the node to, and nothing of what
// goes the other way.
func (n *Network) Block(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.blocked[[2]string{from, to}] = true
}

// Heal ends Partition, every Block and every HushLines.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.split = false
	clear(n.blocked)
	clear(n.hushed)
}

// Drop loses this share of all messages from now on, between 0 and 1. What a
// node sends to itself is never lost.
func (n *Network) Drop(rate float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate = rate
}

// Delay makes each message take a time between least and most from now on. The
// order of what one node sends to another is kept all the same.
func (n *Network) Delay(least, most time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.least, n.most = least, max(least, most)
}

// Pause is what SIGSTOP does to a process, as far as others can see: what the
// node sends, and what is sent to it, waits until Resume.
func (n *Network) Pause(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.paused[node] = true
}

// Resume ends Pause. What has waited arrives, in order.
func (n *Network) Resume(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.paused, node)
	if p := n.nodes[node]; p != nil {
		held := p.held
		p.held = nil
		for _, l := range held {
			if l.line != nil {
				n.carry(p, l)
			} else {
				n.route(p, l.to, l.data)
			}
		}
		p.kick()
	}
}

// Disconnect takes the node's connection to the network away, and its
// backplane says so: what it sends is an error, what is sent to it is lost.
func (n *Network) Disconnect(node string) { n.connect(node, false) }

// Reconnect ends Disconnect.
func (n *Network) Reconnect(node string) { n.connect(node, true) }

func (n *Network) connect(node string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away[node] == !yes {
		return
	}
	n.away[node] = !yes
	if p := n.nodes[node]; p != nil {
		p.states = append(p.states, yes)
		p.kick()
	}
}

// Lost is how many messages did not arrive so far, because of faults, a full
// inbox, or because the node was not there.
func (n *Network) Lost() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// reaches tells whether nothing is between two nodes. Called with n.mu held.
func (n *Network) reaches(from, to string) bool {
	switch {
	case from == to:
		return !n.away[to]
	case n.away[from], n.away[to], n.blocked[[2]string{from, to}]:
		return false
	}
	return !n.split || n.group[from] == n.group[to]
}

// send takes what a node sends; to is "" for all others.
func (n *Network) send(from *networkNode, to string, data []byte) error {
	if len(data) > mesh.MaxMessage {
		return errTooLarge
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.nodes[from.id] != from:
		return errNotOpen
	case n.away[from.id]:
		return errDisconnected
	}
	data = slices.Clone(data)
	if n.paused[from.id] {
		from.held = append(from.held, letter{to: to, data: data})
		return nil
	}
	n.route(from, to, data)
	return nil
}

// route brings data on its way. Called with n.mu held.
func (n *Network) route(from *networkNode, to string, data []byte) {
	if to != "" {
		if p := n.nodes[to]; p != nil {
			n.post(from, p, letter{data: data})
		} else {
			n.lost++
		}
		return
	}
	// The order of a map would make chance differ from run to run.
	ids := make([]string, 0, len(n.nodes))
	for id := range n.nodes {
		if id != from.id {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		n.post(from, n.nodes[id], letter{data: data})
	}
}

// post puts what a letter holds into a node's inbox. Called with n.mu held.
func (n *Network) post(from, to *networkNode, l letter) {
	switch {
	case !n.reaches(from.id, to.id),
		from != to && l.line == nil && n.rate > 0 && n.rand.Float64() < n.rate,
		to.bytes+len(l.data) > inboxBytes:
		n.lost++
		return
	}
	due := time.Now().Add(n.least)
	if n.most > n.least {
		due = due.Add(time.Duration(n.rand.Int64N(int64(n.most - n.least))))
	}
	last := &to.last
	if l.line != nil { // it may overtake what goes over the backplane, and be overtaken
		last = &to.lastLine
	}
	if before := (*last)[from.id]; due.Before(before) {
		due = before
	}
	(*last)[from.id] = due
	to.bytes += len(l.data)
	to.inbox.push(letter{from: from.id, due: due, seq: to.seq, data: l.data, line: l.line})
	to.seq++
	to.kick()
}

// open lists the node, so that others reach it.
func (n *Network) open(p *networkNode) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[p.id] != nil {
		return fmt.Errorf("there is a node %s already", p.id)
	}
	n.nodes[p.id] = p
	if n.away[p.id] {
		p.states = append(p.states, false)
	}
	return nil
}

func (n *Network) close(p *networkNode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nodes[p.id] == p {
		delete(n.nodes, p.id)
	}
	for _, other := range n.nodes {
		delete(other.last, p.id)
		delete(other.lastLine, p.id)
	}
	for l := range n.lines {
		if l.from == p.id {
			n.breakLine(l)
		}
	}
	delete(n.makers, p.id)
	n.lost += len(p.inbox)
	p.inbox, p.held, p.bytes = nil, nil, 0
}

// Open implements mesh.Backplane.
func (p *networkNode) Open(ctx context.Context, node string, r mesh.Receiver) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.id, p.receiver = node, r
	p.last, p.lastLine = make(map[string]time.Time), make(map[string]time.Time)
	p.wake = make(chan struct{}, 1)
	if err := p.net.open(p); err != nil {
		return err
	}
	p.lane = lane.New(context.WithoutCancel(ctx), nil)
	p.lane.Go("network", p.run)
	return nil
}
