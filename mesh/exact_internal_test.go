package mesh

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Message wants what comes over a link to be what its other side has sent, in that
// order.
func (h *told) Message(n *Node, note Note, m *message.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if note.Returned {
		return
	}
	if from := binary.BigEndian.Uint64(m.Body); from != n.peer {
		h.t.Errorf("a message of the link %d came over one to %d", from, n.peer)
	}
	if seq := binary.BigEndian.Uint64(m.Body[8:]); seq != h.last[n]+1 {
		h.t.Errorf("message %d came after %d", seq, h.last[n])
	}
	h.last[n]++
}

func (h *told) Joined(n *Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil {
		h.last = make(map[*Node]uint64)
	}
	h.last[n] = 0
}

// knows tells whether a link has begun, and how many messages have come over it.
func (h *told) knows(n *Node) (got uint64, begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	got, begun = h.last[n]
	return got, begun
}

// chance is a source of random numbers for many goroutines.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (c *chance) of(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

// bad returns a backplane that loses some packets and carries others twice, or once
// more when they are old.
func (c *chance) bad() func(b []byte) [][]byte {
	var mu sync.Mutex
	var past [][]byte
	loses := c.of(5)
	return func(b []byte) (out [][]byte) {
		mu.Lock()
		defer mu.Unlock()
		if c.of(10) >= loses {
			out = append(out, b)
		}
		if c.of(5) == 0 {
			out = append(out, b)
		}
		if kind := b[0]; kind != kindData && kind != kindAck && kind != kindNak {
			return out
		}
		past = append(past, b)
		if c.of(3) == 0 {
			out = append(out, past[c.of(len(past))])
		}
		return out
	}
}

// Two nodes send each other messages and lose their link now and then, while what is
// between them loses, repeats and overtakes. Over each link each message comes once,
// and none is missing where the link lasts.
func TestEachMessageOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			c := &chance{r: rand.New(rand.NewPCG(seed, 2))} //nolint:gosec // a test
			most := 1 + c.of(2000)
			planes := shake(func() time.Duration { return time.Duration(c.of(most)) * time.Millisecond })
			for _, p := range planes {
				p.turns = c.bad()
			}
			nodes, seen := pair(t, planes)
			sent := make(map[*Node]uint64)
			for range 40 {
				meet(t, nodes)
				for i, m := range nodes {
					for _, n := range m.links(false) {
						if _, begun := seen[i].knows(n); begun {
							sent[n] += deliver(n, sent[n], c.of(4))
						}
						if c.of(12) == 0 {
							m.lose(n, "of the test", lostSilent)
						}
					}
				}
				time.Sleep(time.Duration(c.of(600)) * time.Millisecond)
			}
			for _, p := range planes {
				p.mend()
			}
			for range 40 {
				meet(t, nodes)
				time.Sleep(DefaultInterval)
			}
			synctest.Wait()
			for i, m := range nodes {
				from, to := m.links(false)[0], nodes[1-i].links(false)[0]
				if got, _ := seen[1-i].knows(to); got != sent[from] {
					t.Errorf("seed %d: %d of %d messages came", seed, got, sent[from])
				}
			}
			settled(t, nodes, seen)
		})
	}
}

// deliver sends so many messages with numbers after last over a link, and returns
// how many were taken.
func deliver(n *Node, last uint64, many int) (taken uint64) {
	for range many {
		body := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, n.epoch), last+taken+1)
		if many == 3 {
			body = append(body, make([]byte, fragmentSize)...)
		}
		m := &message.Message{Verb: message.VerbSend, To: []byte("a:/b"), Mid: []byte("1"), Body: body}
		if n.Deliver(Note{}, m) == nil {
			taken++
		}
	}
	return taken
}

// mend has the backplane carry everything from now on.
func (h *hands) mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turns = nil
}
