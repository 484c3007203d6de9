//go:build linux

package load

import (
	"errors"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
)

const (
	// underWay is the most events that may be under way.
	underWay = 1 << 12
	// asking is how many topics a connection asks for at a time: less than it may
	// have calls in flight.
	asking = 64
	// stalledBuffer is the receive buffer of a connection that does not read.
	stalledBuffer = 4096
	// stuffing events of stuffingSize bytes are more than a kernel takes for one.
	stuffing, stuffingSize = 128, 64 << 10
)

var (
	errOrder  = errors.New("event is not the next one of this connection")
	errTooFar = errors.New("the server is too slow for so many events")
)

// topical is a proto that knows topics.
type topical interface {
	proto
	// watch asks for a topic, from after a position on if there is one.
	watch(dst []byte, topic int, after position) []byte
	// publish gives a topic event i.
	publish(dst []byte, topic, i int, stamp time.Duration) []byte
}

// position is how far a topic was seen, as the server writes it.
type position struct{ epoch, offset string }

// feed is what modes with topics know of their events. Those of all topics are
// counted together.
type feed struct {
	on     bool
	to     topical
	each   int           // topics that a connection asks for
	next   int           // the next event
	under  int           // events under way
	left   [underWay]int // watchers that have not got an event yet
	again  bool          // when all have got one the next is published
	agreed int           // events that the server has confirmed
	after  position      // of mode storm: where all were cut off
	whole  int           // of mode storm: connections that have got everything
	groups []group       // of mode query
}

// watches tells whether a connection is one that watches.
func (e *engine) watches(c *conn) bool { return e.feed.on && !e.receives(e.index(c)) }

// begin prepares for events.
func (e *engine) begin(res *Result) error {
	to, ok := e.proto.(topical)
	if !ok {
		return fmt.Errorf("%w: %s has no topics", ErrProto, e.cfg.Proto)
	}
	f := &e.feed
	f.on, f.to, f.each = true, to, 1
	if e.cfg.Mode == ModeTopics {
		if f.each = e.cfg.Topics / e.cfg.Conns; f.each*e.cfg.Conns != e.cfg.Topics || f.each < 1 {
			return fmt.Errorf("%w: %d topics over %d connections", ErrConfig, e.cfg.Topics, e.cfg.Conns)
		}
	}
	if r, isRope := to.(*rope); isRope && e.cfg.Mode == ModeQuery {
		f.to = &queries{rope: r, groups: e.cfg.Topics}
	}
	res.Topics, res.Stalled = e.cfg.Topics, e.cfg.Stalled
	return nil
}

// topic is the n-th one of connection i.
func (e *engine) topic(i, n int) int {
	switch e.cfg.Mode {
	case ModeTopics:
		return i + n*e.cfg.Conns
	case ModeQuery:
		return i % e.cfg.Topics
	default:
		return n
	}
}

// ask asks for the topics of a connection, some at a time.
func (e *engine) ask(c *conn) error {
	for ; c.asked < e.each(c) && c.asked < c.armed+asking; c.asked++ {
		e.out = e.feed.to.watch(e.out, e.topic(e.index(c), c.asked), e.feed.after)
	}
	return nil
}

// agreed is told that the server has done what it was asked for.
func (e *engine) agreed(c *conn) error {
	if !e.watches(c) {
		e.feed.agreed++
		return nil
	}
	c.armed++
	switch {
	case c.armed < e.each(c):
		return e.ask(c)
	case c.phase == ready: // it has asked for more topics
		e.ready++
		return nil
	case e.stalls(e.index(c)):
		if err := e.poll.Set(c.fd, 0); err != nil {
			return err
		}
	}
	return e.greeted(c)
}

// each is how many topics a connection watches. One that does not read has
// another one, by which it is stuffed.
func (e *engine) each(c *conn) int {
	if e.stalls(e.index(c)) {
		return 2
	}
	return e.feed.each
}

// stuff has so much sent to those who do not read that no kernel takes more, and
// what follows has to wait for them in the server.
func (e *engine) stuff() error {
	r, ok := e.proto.(*rope)
	if !ok || e.cfg.Stalled == 0 {
		return nil
	}
	f, size := &e.feed, r.size
	want := f.agreed + stuffing
	r.size = stuffingSize
	for range stuffing {
		e.back = r.publish(e.back[:0], 1, 0, 0)
		if err := e.flush(&e.conns[e.cfg.Conns], e.back); err != nil {
			return err
		}
	}
	r.size = size
	return e.spin(stuck, func() bool { return f.agreed == want })
}

// stalls tells whether connection i watches and does not read.
func (e *engine) stalls(i int) bool { return i >= e.cfg.Conns-e.cfg.Stalled && i < e.cfg.Conns }

// receivers is how many connections that read get an event.
func (e *engine) receivers() int {
	if e.cfg.Mode == ModeTopics {
		return 1
	}
	return e.cfg.Conns - e.cfg.Stalled
}

// emit publishes the next event.
func (e *engine) emit() error {
	f := &e.feed
	if f.left[f.next%underWay] != 0 {
		return errTooFar
	}
	f.left[f.next%underWay] = e.receivers()
	topic := 0
	if e.cfg.Mode == ModeTopics {
		topic = scatter(f.next) % e.cfg.Topics
	}
	e.back = f.to.publish(e.back[:0], topic, f.next, e.clock())
	f.next++
	f.under++
	return e.flush(&e.conns[e.cfg.Conns], e.back)
}

// scatter spreads numbers that follow one another.
func scatter(n int) int { return int(uint64(n) * 0x9e3779b97f4a7c15 >> 33) }

// delivered takes an event. Each connection must get all events of its topics in
// order.
func (e *engine) delivered(c *conn, env, body []byte) error {
	i, stamp, ok := readBody(body)
	at, f := e.index(c), &e.feed
	if ok = ok && len(body) == e.cfg.Payload && i < f.next && f.left[i%underWay] > 0; ok {
		if e.cfg.Mode == ModeTopics {
			ok = scatter(i)%e.cfg.Topics%e.cfg.Conns == at && i >= c.heard
		} else {
			ok = i == c.heard
		}
	}
	if !ok {
		return fmt.Errorf("%w: %d: %s %q", errOrder, c.heard, env, body)
	}
	c.heard = i + 1
	if e.cfg.Mode == ModeStorm {
		return e.recovered(c, env)
	}
	e.hist.Add(e.now - stamp)
	if f.left[i%underWay]--; f.left[i%underWay] > 0 {
		return nil
	}
	f.under--
	if f.again {
		return e.emit()
	}
	return nil
}

// runEvents measures modes fanout and topics.
func (e *engine) runEvents(res *Result) error {
	if err := e.begin(res); err != nil {
		return err
	}
	if e.cfg.Every == 0 {
		res.InFlight = e.cfg.InFlight
	}
	var err error
	if res.Base, err = e.rss(); err != nil {
		return err
	}
	if err := e.openAll(); err != nil {
		return err
	}
	if err := e.stuff(); err != nil {
		return err
	}
	if res.Full, err = e.rss(); err != nil {
		return err
	}
	if e.cfg.Every == 0 {
		e.feed.again = true
		for range e.cfg.InFlight {
			if err := e.emit(); err != nil {
				return err
			}
		}
	}
	if err := e.events(e.cfg.Warm); err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	e.hist = hist.Hist{}
	if err := e.events(e.cfg.For); err != nil {
		return err
	}
	if err := e.fill(res, from); err != nil {
		return err
	}
	res.Rested, err = e.rss()
	return err
}

// events lets the events go on, or publishes one again and again.
func (e *engine) events(d time.Duration) error {
	if e.cfg.Every == 0 {
		return e.spin(d, never)
	}
	for at, end := e.clock(), e.clock()+d; at < end; {
		if err := e.emit(); err != nil {
			return err
		}
		at += e.cfg.Every
		if err := e.spin(at-e.clock(), never); err != nil {
			return err
		}
	}
	return e.spin(e.cfg.Every, func() bool { return e.feed.under == 0 })
}

// runWatches measures what a watch costs beyond the first one of a connection.
func (e *engine) runWatches(res *Result) error {
	if err := e.begin(res); err != nil {
		return err
	}
	var err error
	if res.Base, err = e.rss(); err != nil {
		return err
	}
	if err := e.openAll(); err != nil {
		return err
	}
	if err := e.spin(e.cfg.Warm, never); err != nil {
		return err
	}
	if res.Full, err = e.rss(); err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	e.feed.each, e.ready = e.cfg.Topics, 1 // who publishes
	for i := range e.cfg.Conns {
		e.out = e.out[:0]
		if err := e.ask(&e.conns[i]); err != nil {
			return err
		}
		if err := e.flush(&e.conns[i], e.out); err != nil {
			return err
		}
	}
	if err := e.spin(time.Hour, func() bool { return e.ready == e.want }); err != nil {
		return err
	}
	e.hist.Add(e.clock() - from.at)
	if err := e.fill(res, from); err != nil {
		return err
	}
	res.share(uint64(e.cfg.Conns) * uint64(e.cfg.Topics-1)) //nolint:gosec // small numbers
	if err := e.spin(e.cfg.For, never); err != nil {
		return err
	}
	res.Rested, err = e.rss()
	return err
}
