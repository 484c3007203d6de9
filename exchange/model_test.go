package exchange_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

// machine drives an exchange at random and knows what must come out.
type machine struct {
	w       world
	next    int
	clients []end
	servers []end
	open    map[string]string            // calls without a final answer: body -> client
	held    map[string][]message.Message // calls that a server has not answered
}

func (m *machine) connectClient(t *rapid.T) {
	m.next++
	m.clients = append(m.clients, m.w.connect(fmt.Sprintf("c%d", m.next)))
}

func (m *machine) connectServer(t *rapid.T) {
	if len(m.servers) > 3 {
		t.Skip("enough servers")
	}
	m.next++
	s := m.w.connect(fmt.Sprintf("s%d", m.next))
	s.serve("echo:/")
	m.servers = append(m.servers, s)
}

func (m *machine) call(t *rapid.T) {
	if len(m.clients) == 0 {
		t.Skip("nobody to call")
	}
	c := rapid.SampledFrom(m.clients).Draw(t, "client")
	m.next++
	body := fmt.Sprintf("%s/%d", c.id, m.next)
	m.open[body] = c.id
	c.send(`{"to":"echo:/","mid":%q,"bdy":%q}`, fmt.Sprint(m.next), body)
	m.collect()
}

// collect takes what the servers got.
func (m *machine) collect() {
	for _, s := range m.servers {
		for len(s.got) > 0 {
			if got := <-s.got; got.Verb == message.VerbCall {
				m.held[s.id] = append(m.held[s.id], got)
			}
		}
	}
}

// answer has a server answer one of its calls, with a part, a reply or an
// error, or a call that it never got.
func (m *machine) answer(t *rapid.T) {
	if len(m.servers) == 0 {
		t.Skip("no servers")
	}
	s := rapid.SampledFrom(m.servers).Draw(t, "server")
	verb := rapid.SampledFrom([]string{"part", "reply", "error"}).Draw(t, "verb")
	held := m.held[s.id]
	if len(held) == 0 || rapid.IntRange(0, 9).Draw(t, "made up") == 0 {
		s.send(`{"vrb":%q,"rmid":"%d","bdy":{"code":"conflict","message":"x"}}`, verb, rapid.IntRange(0, 9999).Draw(t, "rmid")+1_000_000)
		return
	}
	i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
	body := string(held[i].Body)
	if verb == "error" {
		body = `{"code":"conflict","message":` + body + `}`
	}
	s.send(`{"vrb":%q,"rmid":%q,"bdy":%s}`, verb, held[i].Mid, body)
	if verb != "part" {
		m.held[s.id] = append(held[:i:i], held[i+1:]...)
	}
}

func (m *machine) cancel(t *rapid.T) {
	if len(m.clients) == 0 {
		t.Skip("no clients")
	}
	c := rapid.SampledFrom(m.clients).Draw(t, "client")
	c.send(`{"vrb":"cancel","rmid":"%d"}`, rapid.IntRange(1, m.next).Draw(t, "rmid"))
}

func (m *machine) loseServer(t *rapid.T) {
	if len(m.servers) == 0 {
		t.Skip("no servers")
	}
	i := rapid.IntRange(0, len(m.servers)-1).Draw(t, "which")
	m.servers[i].Gone()
	delete(m.held, m.servers[i].id)
	m.servers = append(m.servers[:i:i], m.servers[i+1:]...)
}

// check reads what the clients got. Every answer is to a call of that client
// that is open, and carries its body.
func (m *machine) check(t *rapid.T) {
	for _, c := range m.clients {
		for len(c.got) > 0 {
			got := <-c.got
			body := fmt.Sprintf("%s/%s", c.id, got.Rmid)
			if m.open[body] != c.id {
				t.Fatalf("%s got %s of %q, which is not open", c.id, got.Verb, got.Rmid)
			}
			if got.Verb == message.VerbPart || got.Verb == message.VerbReply {
				if want := fmt.Sprintf("%q", body); string(got.Body) != want {
					t.Fatalf("%s got %s, want %s", c.id, got.Body, want)
				}
			}
			if got.Verb != message.VerbPart {
				delete(m.open, body)
			}
		}
	}
}

func TestEachCallEndsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{
			w:    newWorld(t, func(c *exchange.Config) { c.MaxCalls = 1 << 20 }),
			open: map[string]string{}, held: map[string][]message.Message{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"client": m.connectClient, "server": m.connectServer, "call": m.call, "answer": m.answer,
			"cancel": m.cancel, "lose": m.loseServer, "": m.check,
		})
		for _, s := range m.servers {
			s.Gone()
		}
		m.check(rt)
		if len(m.open) > 0 {
			rt.Fatalf("calls without a final answer: %v", m.open)
		}
		if n := m.w.InFlight(); n != 0 {
			rt.Fatalf("%d calls in flight", n)
		}
	})
}

// The same with everything at once, for the race detector: answers, cancels,
// deadlines and losses meet each other.
func TestEachCallEndsOnceConcurrently(t *testing.T) {
	t.Parallel()
	const clients, servers, calls = 8, 3, 400
	w := newWorld(t)
	ends, done := make([]end, servers), make(chan struct{})
	var serving sync.WaitGroup
	for i := range ends {
		ends[i] = w.connect(fmt.Sprintf("s%d", i))
		ends[i].serve("echo:/")
		serving.Go(func() { serveBadly(ends[i], done) })
	}
	var all sync.WaitGroup
	for i := range clients {
		c := w.connect(fmt.Sprintf("c%d", i))
		all.Go(func() {
			for n := range calls {
				c.send(`{"to":"echo:/","mid":"%d","tmo":%f,"bdy":"%d"}`, n, 0.001+rand.Float64()*0.1, n)
				if rand.IntN(4) == 0 {
					c.send(`{"vrb":"cancel","rmid":"%d"}`, rand.IntN(n+1))
				}
			}
		})
		all.Go(func() {
			final := map[string]bool{}
			for len(final) < calls {
				m := c.next(t)
				mid := string(m.Rmid)
				if final[mid] {
					t.Errorf("%s got %s after the end of %s", c.id, m.Verb, mid)
				}
				final[mid] = m.Verb != message.VerbPart
				if !final[mid] {
					delete(final, mid)
				}
				if m.Verb != message.VerbError && string(m.Body) != `"`+mid+`"` {
					t.Errorf("%s got %s for %s", c.id, m.Body, mid)
				}
			}
		})
	}
	all.Wait()
	close(done)
	serving.Wait()
	for _, s := range ends {
		s.Gone()
	}
	w.idle() // a deadline may have given its answer, and not have counted that
}

// serveBadly answers most calls, some twice, some never.
func serveBadly(s end, done <-chan struct{}) {
	for {
		var m message.Message
		select {
		case <-done:
			return
		case m = <-s.got:
		}
		if m.Verb != message.VerbCall {
			continue
		}
		for range rand.IntN(3) {
			s.Receive(&message.Message{Verb: message.VerbPart, Rmid: m.Mid, Body: m.Body})
		}
		for range rand.IntN(3) {
			s.Receive(&message.Message{Verb: message.VerbReply, Rmid: m.Mid, Body: m.Body})
		}
	}
}

// sink is a Link that throws away what it gets.
type sink struct {
	wire
	mid []byte
}

func (s *sink) Deliver(m *message.Message) error {
	s.mid = append(s.mid[:0], m.Mid...)
	return nil
}

// A call through the node and back costs the call itself, and nothing else.
func TestCallAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	w := newWorld(t)
	client, server := &sink{wire: wire{id: "c1"}}, &sink{wire: wire{id: "s1"}}
	c, s := w.Attach(client, 1<<20), w.Attach(server, 1<<20)
	serve := message.Message{Verb: message.VerbServe, To: []byte("echo:/"), Mid: []byte("s")}
	s.Receive(&serve)
	once := callOnce(t, c, s, server)
	if n := testing.AllocsPerRun(1000, once); n > 3 {
		t.Errorf("%v allocations a call, want at most 3: the call, the server's name, the address", n)
	}
	if w.InFlight() != 0 {
		t.Errorf("%d calls in flight", w.InFlight())
	}
}

// callOnce returns a function that makes one call from c, which s answers.
func callOnce(tb testing.TB, c, s *exchange.Peer, server *sink) func() {
	tb.Helper()
	ask := []byte("{\"to\":\"echo:/\",\"mid\":\"1\",\"tmo\":5}\n{\"a\":2,\"b\":5}")
	return func() {
		var m message.Message
		if err := message.DecodeSplit(ask, &m); err != nil {
			tb.Fatal(err)
		}
		c.Receive(&m)
		m.Reset()
		m.Verb, m.Rmid, m.Body = message.VerbReply, server.mid, ask
		s.Receive(&m)
	}
}

func BenchmarkCall(b *testing.B) {
	x := exchange.New(exchange.Config{NodeID: "n", Allow: allowAll})
	defer x.Close()
	client, server := &sink{wire: wire{id: "c1"}}, &sink{wire: wire{id: "s1"}}
	c, s := x.Attach(client, 1<<20), x.Attach(server, 1<<20)
	serve := message.Message{Verb: message.VerbServe, To: []byte("echo:/"), Mid: []byte("s")}
	s.Receive(&serve)
	once := callOnce(b, c, s, server)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
