package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
)

// farMachine drives three nodes at random: nothing moves between them unless
// it says so, and links are lost with all that is in them.
type farMachine struct {
	w       *farWorld
	next    int
	clients []end
	servers []*farEnd
	open    map[string]bool // calls and sends without a final answer, by client and mid
	gathers map[string]bool // those of them whose reply is that of a gather
}

// farEnd is a server and the calls that it has not answered.
type farEnd struct {
	end
	node int
	held []message.Message
}

func (m *farMachine) node(t *rapid.T) int { return rapid.IntRange(0, len(m.w.nodes)-1).Draw(t, "node") }

func (m *farMachine) connect(t *rapid.T) {
	if len(m.clients) > 5 {
		t.Skip("enough clients")
	}
	m.clients = append(m.clients, m.w.connect(m.node(t)))
}

func (m *farMachine) serve(t *rapid.T) {
	if len(m.servers) > 5 {
		t.Skip("enough servers")
	}
	s := &farEnd{node: m.node(t)}
	s.end = m.w.connect(s.node)
	s.serve("echo:/")
	m.servers = append(m.servers, s)
}

func (m *farMachine) announce(t *rapid.T) { m.w.announceOf(m.node(t)) }

func (m *farMachine) lose(t *rapid.T) {
	if len(m.servers) == 0 {
		t.Skip("no servers")
	}
	i := rapid.IntRange(0, len(m.servers)-1).Draw(t, "server")
	m.servers[i].Gone()
	m.servers = append(m.servers[:i:i], m.servers[i+1:]...)
}

func (m *farMachine) call(t *rapid.T) {
	if len(m.clients) == 0 {
		t.Skip("nobody to call")
	}
	c := rapid.SampledFrom(m.clients).Draw(t, "client")
	m.next++
	key := fmt.Sprintf("%s/%d", c.id, m.next)
	m.open[key] = true
	switch rapid.SampledFrom([]string{"call", "first", "round-robin", "all", "send", "client"}).Draw(t, "kind") {
	case "call":
		c.send(`{"to":"echo:/","mid":"%d","bdy":%q}`, m.next, key)
	case "first":
		c.send(`{"to":"echo:/","mid":"%d","str":"first","bdy":%q}`, m.next, key)
	case "round-robin":
		c.send(`{"to":"echo:/","mid":"%d","str":"round-robin","bdy":%q}`, m.next, key)
	case "all":
		m.gathers[key] = true
		c.send(`{"to":"echo:/","mid":"%d","str":"all","bdy":%q}`, m.next, key)
	case "send":
		m.gathers[key] = true // its answer has no body
		c.send(`{"vrb":"send","to":"echo:/","mid":"%d","ack":true,"bdy":%q}`, m.next, key)
	case "client":
		m.gathers[key] = true
		to := rapid.SampledFrom(m.clients).Draw(t, "to")
		c.send(`{"vrb":"send","to":"%s@client:/","mid":"%d","ack":true,"bdy":%q}`, to.id, m.next, key)
	}
}

func (m *farMachine) answer(t *rapid.T) {
	if len(m.servers) == 0 {
		t.Skip("no servers")
	}
	s := rapid.SampledFrom(m.servers).Draw(t, "server")
	for len(s.got) > 0 {
		if got := <-s.got; got.Verb == message.VerbCall {
			s.held = append(s.held, got)
		}
	}
	if len(s.held) == 0 {
		t.Skip("no calls")
	}
	verb := rapid.SampledFrom([]string{"part", "reply", "error"}).Draw(t, "verb")
	i := rapid.IntRange(0, len(s.held)-1).Draw(t, "which")
	body := string(s.held[i].Body)
	if verb == "error" {
		body = `{"code":"conflict","message":` + body + `}`
	}
	s.send(`{"vrb":%q,"rmid":%q,"bdy":%s}`, verb, s.held[i].Mid, body)
	if verb != "part" {
		s.held = append(s.held[:i:i], s.held[i+1:]...)
	}
}

func (m *farMachine) cancel(t *rapid.T) {
	if len(m.clients) == 0 {
		t.Skip("no clients")
	}
	rapid.SampledFrom(m.clients).Draw(t, "client").send(`{"vrb":"cancel","rmid":"%d"}`, rapid.IntRange(1, m.next+1).Draw(t, "mid"))
}

// step moves some frames of one link.
func (m *farMachine) step(t *rapid.T) {
	i := m.node(t)
	j := (i + rapid.IntRange(1, len(m.w.nodes)-1).Draw(t, "other")) % len(m.w.nodes)
	for range rapid.IntRange(1, 5).Draw(t, "frames") {
		m.w.links[i][j].step()
	}
}

// split loses the link between two nodes, with what is in it, and makes a new
// one, over which nothing is announced yet.
func (m *farMachine) split(t *rapid.T) {
	i := m.node(t)
	j := (i + 1) % len(m.w.nodes)
	why := message.NewError(message.CodeNodeLost, "lost", "")
	m.w.far[i][j].Gone(why)
	m.w.far[j][i].Gone(why)
	m.w.join(i, j)
	m.w.join(j, i)
}

func (m *farMachine) resign(t *rapid.T) {
	m.w.nodes[m.node(t)].Resign(rapid.Bool().Draw(t, "on"))
}

// check reads what the clients got.
func (m *farMachine) check(t *rapid.T) {
	for _, c := range m.clients {
		for len(c.got) > 0 {
			got := <-c.got
			if got.Verb == message.VerbDrain || got.Verb == message.VerbSend {
				continue
			}
			key := fmt.Sprintf("%s/%s", c.id, got.Rmid)
			if !m.open[key] {
				t.Fatalf("%s got %s of %q, which is not open", c.id, got.Verb, got.Rmid)
			}
			if got.Verb != message.VerbError && !m.gathers[key] {
				if want := fmt.Sprintf("%q", key); string(got.Body) != want {
					t.Fatalf("%s got %s, want %s", c.id, got.Body, want)
				}
			}
			if got.Verb != message.VerbPart {
				delete(m.open, key)
			}
		}
	}
}

func TestFarEachCallEndsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &farMachine{
			w:    newMesh(t, 3, true, func(c *exchange.Config) { c.MaxCalls = 1 << 20 }),
			open: map[string]bool{}, gathers: map[string]bool{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"client": m.connect, "server": m.serve, "announce": m.announce, "lose": m.lose, "call": m.call,
			"answer": m.answer, "cancel": m.cancel, "step": m.step, "step more": m.step, "split": m.split,
			"resign": m.resign, "": m.check,
		})
		for _, s := range m.servers {
			s.Gone()
		}
		for moved := true; moved; {
			moved = false
			for i := range m.w.links {
				for j := range m.w.links[i] {
					for i != j && m.w.links[i][j].step() {
						moved = true
					}
				}
			}
		}
		m.check(rt)
		if len(m.open) > 0 {
			rt.Fatalf("without a final answer: %v", m.open)
		}
		m.w.still()
	})
}

// The same with everything at once, for the race detector: answers, cancels,
// deadlines, calls that come back and links that are lost meet each other.
func TestFarEachCallEndsOnceConcurrently(t *testing.T) {
	t.Parallel()
	const clients, calls = 6, 300
	w := newMesh(t, 3, false)
	done := make(chan struct{})
	var serving, all sync.WaitGroup
	for i := range 4 {
		s := w.serving(i%2+1, "echo:/")
		serving.Go(func() { serveBadly(s, done) })
		if i == 0 {
			s.send(`{"vrb":"unserve","to":"echo:/","mid":"u"}`) // what is announced stays: all calls come back
		}
	}
	for i := range clients {
		c := w.connect(i % 2)
		all.Go(func() {
			for n := range calls {
				c.send(`{"to":"echo:/","mid":"%d","tmo":%f,"bdy":"%d"}`, n, 0.001+rand.Float64()*0.1, n)
				if rand.IntN(4) == 0 {
					c.send(`{"vrb":"cancel","rmid":"%d"}`, rand.IntN(n+1))
				}
			}
		})
		all.Go(func() { endsOnce(t, c, calls) })
	}
	all.Wait()
	close(done)
	serving.Wait()
	w.still()
}

// endsOnce takes the answers to so many calls, whose bodies are their ids.
func endsOnce(t *testing.T, c end, calls int) {
	t.Helper()
	final := map[string]bool{}
	for len(final) < calls {
		m := c.next(t)
		mid := string(m.Rmid)
		if final[mid] {
			t.Errorf("%s got %s after the end of %s", c.id, m.Verb, mid)
		}
		if m.Verb != message.VerbPart {
			final[mid] = true
		}
		if m.Verb != message.VerbError && string(m.Body) != `"`+mid+`"` {
			t.Errorf("%s got %s for %s", c.id, m.Body, mid)
		}
	}
}

// Whatever a broken node sends, calls that are in order get their one answer.
func TestFarHostileNode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newMesh(t, 3, true)
		c, s := w.connect(0), w.serving(0, "echo:/")
		good, bad := w.serving(1, "far:/"), w.far[0][2]
		c.send(`{"to":"far:/","mid":"1","bdy":1}`)
		ids := rapid.SampledFrom([]string{"", "1", "2", "3", "-", "zzzzzzzzzzzzz", "00"})
		addresses := rapid.SampledFrom([]string{
			"", "echo:/", "far:/", "node:/x", "*@client:/", "client:/", s.id + "@client:/", good.id + "@client:/", "*:/**", ":", good.id + "@far:/",
		})
		for range 30 {
			to, from, mid, rmid := addresses.Draw(rt, "to"), addresses.Draw(rt, "from"), ids.Draw(rt, "mid"), ids.Draw(rt, "rmid")
			bad.Receive(exchange.Note{
				Server:   rapid.SampledFrom([]string{"", s.id, good.id, w.ids[0], w.ids[2]}).Draw(rt, "server"),
				Granted:  rapid.Bool().Draw(rt, "granted"),
				Returned: rapid.IntRange(0, 4).Draw(rt, "returned") == 0,
			}, &message.Message{
				Verb: message.Verb(rapid.IntRange(0, 12).Draw(rt, "verb")), //nolint:gosec // it is small
				To:   []byte(to), From: []byte(from), Mid: []byte(mid), Rmid: []byte(rmid),
				Seq: rapid.Uint64().Draw(rt, "seq"), Body: []byte(rapid.SampledFrom([]string{"", "1", "{"}).Draw(rt, "body")),
			})
		}
		w.links[0][1].step()
		m := good.next(t)
		good.send(`{"rmid":%q,"bdy":2}`, m.Mid)
		w.links[1][0].step()
		for got := c.next(t); ; got = c.next(t) {
			if got.Verb == message.VerbSend { // that is what nodes may do
				continue
			}
			if got.Verb != message.VerbReply || string(got.Body) != "2" {
				rt.Fatalf("the caller got %s %s", got.Verb, got.Body)
			}
			break
		}
		bad.Gone(message.NewError(message.CodeNodeLost, "lost", ""))
		w.far[0][2] = nil
		w.still()
	})
}
