package line

import (
	"errors"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
)

// talk is one connection, from its greeting on:
//
//	who dials:    challenged ──► proven ──► up
//	who accepts:  hello ──► proof ──► up
//
// But for what is under mu only the connection's owner uses it.
type talk struct {
	lines *Lines
	side  string
	said  greeting
	step  step
	end   *mesh.End
	done  chan error // of who dials: how the greeting ended
	timer *time.Timer

	mu   sync.Mutex
	conn *edge.Conn
	gone error // it was abandoned before there was a connection
}

// step is what is expected next.
type step uint8

const (
	stepHello     step = iota // who accepts: hello
	stepChallenge             // who dials: challenge
	stepProof                 // both: the proof of the other side
	stepUp
	stepOver
)

// handler is Lines as the server sees them.
type handler Lines

// Open implements edge.Handler.
func (h *handler) Open(c *edge.Conn) {
	l := (*Lines)(h)
	t, ok := c.Data().(*talk)
	if !ok {
		t = &talk{lines: l, side: accepts}
		c.SetData(t)
	}
	c.SetPolicy(edge.PolicyReject)
	t.mu.Lock()
	t.conn = c
	gone := t.gone
	t.mu.Unlock()
	if gone != nil {
		t.close(edge.CloseNormal, gone)
		return
	}
	t.timer = time.AfterFunc(greetTime, func() { c.Close(edge.CloseUnauthenticated, "the greeting took too long") })
	switch {
	case t.side == dials:
		t.step = stepChallenge
		t.send(t.said.hello())
	case l.cfg.Local() && !isLoopback(c.RemoteAddr()):
		t.close(edge.CloseForbidden, errors.New("this mesh is on one machine, and takes no lines of others"))
	}
}

// Frame implements edge.Handler.
func (h *handler) Frame(c *edge.Conn, frame []byte) {
	t, ok := c.Data().(*talk)
	if !ok {
		return
	}
	if t.step == stepUp {
		t.end.Received(frame)
		return
	}
	if t.step == stepOver {
		return
	}
	if len(frame) > maxGreeting {
		t.fail(errGreeting)
		return
	}
	if err := t.greet(frame); err != nil {
		t.fail(err)
	}
}

// Closed implements edge.Handler.
func (h *handler) Closed(c *edge.Conn, err error) {
	t, ok := c.Data().(*talk)
	if !ok {
		return
	}
	up := t.step == stepUp
	t.step = stepOver
	t.ends(err)
	if up {
		t.end.Closed(err.Error())
	}
}

// greet takes one message of the greeting.
func (t *talk) greet(frame []byte) error {
	l := t.lines
	switch t.step {
	case stepHello:
		if err := t.said.readHello(frame, l.self); err != nil {
			return err
		}
		t.said.accepted = newNonce()
		t.step = stepProof
		t.send(t.said.challenge())
		return nil
	case stepChallenge:
		if err := t.said.readChallenge(frame); err != nil {
			return err
		}
		t.step = stepProof
		t.send(t.said.proof(l.key, dials))
		return nil
	case stepProof:
		other := accepts
		if t.side == accepts {
			m := l.mesh.Load()
			if m == nil {
				return errNotYet
			}
			other, t.said.word = dials, m.LineWord()
		}
		if err := t.said.proves(l.key, other, frame); err != nil {
			return err
		}
		return t.attach()
	case stepUp, stepOver:
	}
	return nil
}

// attach gives the line to the mesh. Who accepts proves before, so that nothing
// of the mesh is sent earlier.
func (t *talk) attach() error {
	m := t.lines.mesh.Load()
	if m == nil {
		return errNotYet
	}
	peer := t.said.accepter
	if t.side == accepts {
		peer = t.said.dialer
		if err := m.Wants(peer.String(), false); err != nil {
			return unwanted{err}
		}
		t.send(t.said.proof(t.lines.key, accepts))
	}
	end, err := m.Attach(peer.String(), t.side == dials, (*wire)(t.conn))
	if err != nil {
		return unwanted{err}
	}
	t.timer.Stop()
	t.conn.Unmeter()
	t.end, t.step = end, stepUp
	t.ends(nil)
	return nil
}

var errNotYet = unwanted{errors.New("this node has not joined its mesh yet")}

// unwanted is an error that is nobody's fault: there is no use for the line now.
type unwanted struct{ error }

// fail ends a greeting that has gone wrong.
func (t *talk) fail(err error) {
	if _, fine := errors.AsType[unwanted](err); fine {
		t.close(edge.CloseNormal, err)
		return
	}
	t.lines.refuse(t.conn.RemoteAddr(), err)
	code := edge.CloseProtocol
	switch {
	case errors.Is(err, errSecret):
		code = edge.CloseUnauthenticated
	case errors.Is(err, errOther):
		code = edge.CloseForbidden
	}
	t.close(code, err)
}

func (t *talk) close(code edge.CloseCode, err error) {
	t.step = stepOver
	t.ends(err)
	t.conn.Close(code, err.Error())
}

// ends tells who dials how the greeting ended, and stops its clock.
func (t *talk) ends(err error) {
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.done != nil {
		select {
		case t.done <- err:
		default:
		}
	}
}

// abandon ends the connection of who dialed and waits no more.
func (t *talk) abandon(err error) {
	t.mu.Lock()
	t.gone = err
	c := t.conn
	t.mu.Unlock()
	if c != nil {
		c.Close(edge.CloseNormal, "the greeting took too long")
	}
}

func (t *talk) send(b []byte) { _ = (*wire)(t.conn).Send(b) } // if it is broken, Closed comes

// wire is a connection as the mesh sends over it.
type wire edge.Conn

// Send implements mesh.Line.
func (w *wire) Send(data []byte) error {
	f := edge.NewFrame()
	defer f.Release()
	f.Payload = append(f.Payload, data...)
	err := (*edge.Conn)(w).Send(f)
	if message.CodeOf(err) == message.CodeOverloaded {
		return mesh.ErrLineFull
	}
	return err
}

// Close implements mesh.Line.
func (w *wire) Close(reason string) { (*edge.Conn)(w).Close(edge.CloseNormal, reason) }

var (
	_ edge.Handler = (*handler)(nil)
	_ mesh.Line    = (*wire)(nil)
)
