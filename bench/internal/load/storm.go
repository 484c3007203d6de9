//go:build linux

package load

import (
	"golang.org/x/sys/unix"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
	"github.com/ropewalk/ropewalk/bench/internal/sock"
)

// runStorm has all connections watch, cuts them off, publishes what they miss,
// and measures how long it takes until all are back and have got it.
func (e *engine) runStorm(res *Result) error {
	if err := e.begin(res); err != nil {
		return err
	}
	if err := e.openAll(); err != nil {
		return err
	}
	f := &e.feed
	if err := e.told(1); err != nil {
		return err
	}
	if err := e.spin(stuck, func() bool { return f.whole == e.cfg.Conns }); err != nil {
		return err
	}
	if f.whole < e.cfg.Conns {
		return ErrStuck
	}
	if err := e.cutOff(); err != nil {
		return err
	}
	if e.cfg.Kill == 0 { // what it does for those who have gone is not part of it
		if err := e.spin(e.cfg.Warm, never); err != nil {
			return err
		}
	}
	began := e.clock()
	if err := e.told(e.cfg.Missed); err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	if e.cfg.Kill == 0 {
		began = from.at
	}
	f.whole, e.hist = 0, hist.Hist{}
	if e.cfg.Far.IsValid() {
		e.cfg.Addr = e.cfg.Far
	}
	e.dialed, e.ready, e.want = 0, 0, e.cfg.Conns
	if err := e.openAll(); err != nil {
		return err
	}
	if err := e.spin(stuck, func() bool { return f.whole == e.cfg.Conns }); err != nil {
		return err
	}
	if f.whole < e.cfg.Conns {
		return ErrStuck
	}
	took := e.clock() - began
	if err := e.fill(res, from); err != nil {
		return err
	}
	res.Seconds, res.Rate = took.Seconds(), float64(res.Count)/took.Seconds()
	return nil
}

// told publishes n events and waits until the server has them.
func (e *engine) told(n int) error {
	f := &e.feed
	want := f.agreed + n
	for range n {
		if err := e.emit(); err != nil {
			return err
		}
	}
	return e.spin(stuck, func() bool { return f.agreed == want })
}

// cutOff ends all connections but that of who publishes.
func (e *engine) cutOff() error {
	if e.cfg.Kill != 0 {
		if err := unix.Kill(e.cfg.Kill, unix.SIGKILL); err != nil {
			return err
		}
	}
	for i := range e.cfg.Conns {
		c := &e.conns[i]
		sock.Close(c.fd)
		*c = conn{heard: c.heard}
	}
	return nil
}

// recovered notes that a connection has got an event.
func (e *engine) recovered(c *conn, env []byte) error {
	f := &e.feed
	if f.after.epoch == "" {
		f.after = positionOf(env)
	}
	if c.heard == f.next {
		e.hist.Add(e.now - c.began)
		f.whole++
	}
	return nil
}
