package topic

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// journey is a topic of which two logs are the owner by turns, of the node itself
// or of another one, with watchers who come and go, and are slow.
type journey struct {
	t     *testing.T
	rnd   *rand.Rand
	logs  [2]*Log
	top   *topic
	leave func() // nil: it has no owner
	told  map[string][]uint64
	who   []*traveler
}

// far is a tap as that of another node is: what it gets is overwritten after it.
type far struct{ *tap }

func (s *far) Part(b route.Body) {
	p := b.Stamp.Publisher
	if !b.Stable {
		stamp := *b.Stamp
		stamp.Publisher = bytes.Clone(p)
		b.Bytes, b.Stamp = bytes.Clone(b.Bytes), &stamp
	}
	s.tap.Part(b)
	if !b.Stable {
		clear(b.Bytes)
		clear(b.Stamp.Publisher)
	}
}

// traveler is a client that looks whether it misses anything that it was not told
// to miss.
type traveler struct {
	j     *journey
	w     *watch
	full  bool
	epoch string
	at    map[string]uint64 // up to where it has all, by epoch
}

func bodyAt(offset uint64) []byte {
	b := numbered(offset)
	return b[:max(1, len(b)-int(offset%5)*inData/2)] //nolint:gosec // small
}

func publisherAt(offset uint64) []byte {
	if offset%3 == 0 {
		return nil
	}
	return fmt.Appendf(nil, `"p%d"`, offset)
}

// between are events of an epoch after one offset and before another.
func (j *journey) between(epoch string, after, before uint64) (n int) {
	for _, o := range j.told[epoch] {
		if o > after && o < before {
			n++
		}
	}
	return n
}

func (c *traveler) Update(m *message.Message, _ *exchange.Shared) error {
	epoch := string(m.Epoch)
	if m.Verb == message.VerbGap { // of other epochs it may have missed the end
		c.epoch, c.at = epoch, map[string]uint64{epoch: m.Offset}
		return nil
	}
	if c.full {
		return message.NewError(message.CodeOverloaded, "full", "")
	}
	if at, known := c.at[epoch]; known && (m.Offset <= at || c.j.between(epoch, at, m.Offset) > 0) {
		c.j.t.Errorf("%s%d after %d, without a gap", epoch, m.Offset, at)
	}
	if !bytes.Equal(m.Body, bodyAt(m.Offset)) || !bytes.Equal(m.Publisher, publisherAt(m.Offset)) {
		c.j.t.Errorf("%s%d is %.20q of %q", epoch, m.Offset, m.Body, m.Publisher)
	}
	c.epoch, c.at[epoch] = epoch, m.Offset
	return nil
}

func (c *traveler) Relief() <-chan struct{}                 { return nil }
func (c *traveler) Disconnect(string)                       {}
func (c *traveler) MayWatch(message.Address) *message.Error { return nil }
func (c *traveler) Closed() bool                            { return false }

func (j *journey) publish() {
	l, to := j.logs[j.rnd.IntN(2)], "e:/x"
	if j.rnd.IntN(4) == 0 {
		to = "e:/y"
	}
	n := l.offset + 1
	if to == "e:/x" {
		j.told[l.epoch] = append(j.told[l.epoch], n)
	}
	e := &event{record: record{body: bodyAt(n), more: moreOf(more{publisher: publisherAt(n)})}, epoch: l.epoch}
	l.append([]byte(to), e, nil)
	clear(e.body) // it was not stable
}

// lose takes the owner away.
func (j *journey) lose() {
	if j.leave == nil {
		return
	}
	j.leave()
	j.leave = nil
	j.top.mu.Lock()
	j.top.turn++
	j.top.state, j.top.moving = broken, false
	j.top.mu.Unlock()
}

// move has the topic find an owner.
func (j *journey) move() {
	moving := j.leave != nil && j.rnd.IntN(2) == 0
	j.lose()
	j.top.moving = moving
	for range j.rnd.IntN(3) {
		j.publish()
	}
	tap := &tap{t: j.top, turn: j.top.turn}
	var s route.Sink = tap
	if j.rnd.IntN(2) == 0 {
		s = &far{tap}
	}
	l, at := j.logs[j.rnd.IntN(2)], message.Address{Name: "e", Path: "/x"}
	if err := l.Join(at, route.Stamp{Epoch: j.top.epoch, Offset: j.top.past.told}, s); err != nil {
		j.t.Fatal(err)
	}
	j.leave = func() { l.Leave(at, s) }
}

// come has somebody watch, from somewhere on.
func (j *journey) come() {
	c := &traveler{j: j, at: make(map[string]uint64)}
	o, res := options{}, new(answers)
	after := j.top.past.told
	switch list := j.told[j.top.epoch]; j.rnd.IntN(3) {
	case 0:
		if o.History = j.rnd.IntN(10); o.History > 0 {
			after = 0 // or later
		}
	case 1:
		if len(list) > 0 && list[0] <= after {
			for i := j.rnd.IntN(len(list)); ; i /= 2 {
				if list[i] <= after {
					after = list[i]
					break
				}
			}
			o.Recover = &position{j.top.epoch, after}
		}
	}
	v := &viewer{hub: j.top.hub, client: &starter{traveler: c, res: res}, gone: make(chan struct{})}
	j.top.enter(&entrant{v: v, res: res, opts: o})
	if res.reply == nil {
		j.t.Fatalf("no answer, %v", res.err)
	}
	if at := res.reply.Stamp.Offset; o.History == 0 && at < after {
		j.t.Errorf("who has seen up to %d begins after %d", after, at)
	}
	c.w = v.all()[0]
	j.who = append(j.who, c)
}

// starter tells a traveler where it begins before it gets anything.
type starter struct {
	*traveler

	res *answers
}

func (s *starter) Update(m *message.Message, shared *exchange.Shared) error {
	if s.epoch == "" {
		s.epoch = s.res.reply.Stamp.Epoch
		s.at[s.epoch] = s.res.reply.Stamp.Offset
	}
	return s.traveler.Update(m, shared)
}

// leaves has somebody go.
func (j *journey) leaves() {
	if len(j.who) == 0 {
		return
	}
	i := j.rnd.IntN(len(j.who))
	w := j.who[i].w
	w.v.drop(w)
	j.top.mu.Lock()
	j.top.remove(w)
	j.top.mu.Unlock()
	j.who = append(j.who[:i], j.who[i+1:]...)
}

// forget forgets a history.
func (j *journey) forget() {
	if j.rnd.IntN(2) == 0 {
		j.top.shed(j.top.oldest())
		return
	}
	if r := j.logs[j.rnd.IntN(2)].rings.at([]byte("e:/x")); r != nil {
		r.shed(r.oldest())
	}
}

func (j *journey) step() {
	switch n := j.rnd.IntN(100); {
	case n < 50:
		j.publish()
	case n < 60:
		j.come()
	case n < 66:
		j.leaves()
	case n < 72:
		j.move()
	case n < 74:
		j.lose()
	case n < 76:
		j.forget()
	case len(j.who) > 0:
		c := j.who[j.rnd.IntN(len(j.who))]
		if c.full = !c.full; !c.full {
			j.top.catchUp(c.w)
		}
	}
}

// finish has all be told what they miss, and looks whether they have it.
func (j *journey) finish() {
	j.move()
	p := &j.top.past
	for i, c := range j.who {
		c.full = false
		j.top.catchUp(c.w)
		at := p.floor // from there on all are told, whatever they had before
		switch c.epoch {
		case j.top.epoch:
			at = c.at[c.epoch]
		case "": // it was told nothing
			at = p.told
		}
		if n := j.between(j.top.epoch, at, p.told+1); n > 0 {
			j.t.Errorf("watcher %d of %d has not got %d events after %d of %s", i, len(j.who), n, at, j.top.epoch)
		}
	}
	want := 0
	for _, l := range j.logs {
		for r := range l.rings.all() {
			want += r.past.counted
		}
	}
	if p.own {
		want += p.counted
	}
	for _, f := range j.top.forms.list {
		want += f.size
	}
	m := &j.top.hub.metrics.memory
	if used := m.used.Load(); used != int64(want) {
		j.t.Errorf("%d bytes are counted, there are %d", used, want)
	}
	j.leave()
	j.top.end(errClosed)
	for _, l := range j.logs {
		for r := range l.rings.all() {
			l.forget(r)
		}
	}
	if used := m.used.Load(); used != 0 {
		j.t.Errorf("%d bytes of nothing", used)
	}
}

// However a topic moves, each watcher gets all events in order and as they were
// published, or is told that it misses some.
func TestTopicsThatMove(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			j := &journey{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), told: make(map[string][]uint64)} //nolint:gosec // not secret
			info := route.Topic{Events: true, Publisher: true, History: route.History{Count: 4 + j.rnd.IntN(40)}}
			hub := quietHub(t)
			for i := range j.logs {
				j.logs[i] = NewLog("e", route.Pattern{}, info, hub.metrics)
				j.logs[i].epoch = string(rune('a' + i))
			}
			j.top = newTopic(hub, "k", "e:/x", 1, &info)
			j.move()
			for range 300 {
				if j.step(); t.Failed() {
					return
				}
			}
			j.finish()
		})
	}
}
