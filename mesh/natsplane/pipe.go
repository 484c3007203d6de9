package natsplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
)

// redial is how long a pipe waits before it connects again. The server is in
// this process: when it hangs up, it is because nobody took what it had.
const redial = 100 * time.Millisecond

// closeWait is how long what was sent last has to get to the server.
const closeWait = 500 * time.Millisecond

// pipe is a client of the NATS server in this process.
type pipe struct {
	dial     func() (net.Conn, error)
	subjects [2]string // the node's own, and that for all
	hear     func([]byte)
	state    func(connected bool)
	log      *slog.Logger
	lane     *lane.Lane
	ponged   chan struct{}

	write sync.Mutex // one write at a time
	buf   []byte

	mu   sync.Mutex // never held during a write, so that hangUp can end one
	conn net.Conn   // nil while there is none
}

// openPipe connects. hear is called with what arrives, state when the
// connection is lost or comes back, both by one goroutine.
func openPipe(ctx context.Context, p *pipe) error {
	p.ponged = make(chan struct{}, 1)
	r, err := p.connect(ctx)
	if err != nil {
		return err
	}
	p.lane = lane.New(context.WithoutCancel(ctx), p.log)
	p.lane.Go("nats pipe", func(ctx context.Context) { p.run(ctx, r) })
	return nil
}

// connect makes a connection and waits until the server has its subscriptions.
func (p *pipe) connect(ctx context.Context) (*wireReader, error) {
	conn, err := p.dial()
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := newWireReader(conn)
	if err := p.greet(conn, r); err != nil {
		conn.Close()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("greet the NATS server inside: %w", err))
	}
	p.mu.Lock()
	p.conn = conn
	p.mu.Unlock()
	return r, nil
}

func (p *pipe) greet(conn net.Conn, r *wireReader) error {
	if what, _, err := r.next(); err != nil || what != opInfo {
		return errors.Join(errProtocol, err)
	}
	b := appendConnect(nil)
	for i, s := range p.subjects {
		b = appendSub(b, s, i+1)
	}
	b = append(b, "PING\r\n"...)
	if _, err := conn.Write(b); err != nil {
		return err
	}
	for {
		switch what, text, err := r.next(); {
		case err != nil:
			return err
		case what == opPong:
			return nil
		case what == opErr:
			return errors.New(string(text))
		}
	}
}

// run hears what arrives, and connects again, until ctx ends.
func (p *pipe) run(ctx context.Context, r *wireReader) {
	stop := context.AfterFunc(ctx, p.hangUp)
	defer stop()
	for {
		err := p.listen(r)
		p.hangUp()
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("the NATS server inside hung up; what was under way to this node is sent again",
			slog.Any("err", err))
		p.state(false)
		for r = nil; r == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(redial):
			}
			if r, err = p.connect(ctx); err != nil && ctx.Err() == nil {
				p.log.Warn("connect to the NATS server inside", slog.Any("err", err))
			}
		}
		if ctx.Err() != nil { // between the two, and nobody else would hang up
			p.hangUp()
			return
		}
		p.state(true)
	}
}

// listen hears what arrives until the connection ends.
func (p *pipe) listen(r *wireReader) error {
	for {
		what, data, err := r.next()
		if err != nil {
			return err
		}
		switch what {
		case opMsg:
			p.hear(data)
		case opPing:
			if err := p.say("PONG\r\n"); err != nil {
				return err
			}
		case opErr:
			p.log.Warn("the NATS server inside complains", slog.String("err", string(data)))
		case opPong:
			select {
			case p.ponged <- struct{}{}:
			default:
			}
		case opInfo, opOK:
		}
	}
}

// say writes a line.
func (p *pipe) say(line string) error {
	p.write.Lock()
	defer p.write.Unlock()
	conn := p.current()
	if conn == nil {
		return errLost
	}
	_, err := conn.Write([]byte(line))
	return err
}

func (p *pipe) current() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

// hangUp ends the connection, if there is one.
func (p *pipe) hangUp() {
	p.mu.Lock()
	conn := p.conn
	p.conn = nil
	p.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}

// publish implements carrier. It returns when the server has read data.
func (p *pipe) publish(subject string, data []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	conn := p.current()
	if conn == nil {
		return errLost
	}
	b := appendPub(p.buf[:0], subject, len(data))
	var err error
	if len(data) <= smallWrite {
		b = append(append(b, data...), "\r\n"...)
		_, err = conn.Write(b)
	} else if _, err = conn.Write(b); err == nil {
		if _, err = conn.Write(data); err == nil {
			_, err = conn.Write([]byte("\r\n"))
		}
	}
	p.buf = b
	if err != nil { // the server may have half of it
		conn.Close()
		return fmt.Errorf("write to the NATS server inside: %w", err)
	}
	return nil
}

// close implements carrier. When the server has answered a ping, it has passed
// on what came before.
func (p *pipe) close() {
	if p.say("PING\r\n") == nil {
		limit := time.NewTimer(closeWait)
		select {
		case <-p.ponged:
		case <-limit.C:
		}
		limit.Stop()
	}
	p.lane.Close()
}
