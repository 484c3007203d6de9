//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
)

// SplitProtocol is the sub-protocol that is offered.
const SplitProtocol = "ropewalk.v1.split"

// Errors of the Ropewalk protocol.
var (
	errFrame = errors.New("unexpected frame")
	errReply = errors.New("unexpected message")
)

// rope is a client of a Ropewalk node.
type rope struct {
	hello []byte
	head  []byte // of a call's envelope, up to the mid
	size  int
	seq   uint64
	msg   []byte
}

func newRope(cfg Config) *rope {
	return &rope{
		hello: ws.Request(cfg.Addr.String(), cfg.Path, SplitProtocol),
		head:  []byte(`{"vrb":"call","to":"` + cfg.To + `","mid":"`),
		size:  cfg.Payload,
	}
}

func (r *rope) first(dst []byte) ([]byte, phase) { return append(dst, r.hello...), shaking }

func (r *rope) call(dst []byte, i int, stamp time.Duration) []byte {
	r.seq++
	r.msg = strconv.AppendUint(append(r.msg[:0], r.head...), r.seq, 36)
	r.msg = append(r.msg, "\"}\n"...)
	r.msg = appendBody(r.msg, r.size, i, stamp)
	return ws.AppendMasked(dst, ws.Binary, maskKey, r.msg)
}

func (r *rope) feed(e *engine, c *conn, b []byte) (int, error) {
	used, err := shake(c, b)
	for err == nil {
		f, n, ferr := ws.Next(b[used:])
		if ferr != nil || n == 0 {
			return used, ferr
		}
		used += n
		switch f.Op {
		case ws.Text, ws.Binary:
			err = r.message(e, c, f)
		default:
			err = e.control(f)
		}
	}
	return used, err
}

// shake takes the answer to the handshake off b while it has not come.
func shake(c *conn, b []byte) (int, error) {
	if c.phase != shaking {
		return 0, nil
	}
	n, err := ws.Response(b)
	if n > 0 {
		c.phase = greeting
	}
	return n, err
}

// control answers a ping and refuses what else is not a message.
func (e *engine) control(f ws.Frame) error {
	switch f.Op {
	case ws.Ping:
		e.pings++
		e.out = ws.AppendMasked(e.out, ws.Pong, maskKey, f.Payload)
		return nil
	case ws.Pong:
		return nil
	default:
		return fmt.Errorf("%w: opcode %d, %q", errFrame, f.Op, f.Payload)
	}
}

// message takes a welcome or reply. It only looks for the word that tells
// them from everything else: to check each answer is the body's business.
func (r *rope) message(e *engine, c *conn, f ws.Frame) error {
	if !f.Fin {
		return fmt.Errorf("%w: a fragment", errFrame)
	}
	env, body, _ := bytes.Cut(f.Payload, []byte{'\n'})
	switch {
	case c.phase == ready && bytes.Contains(env, []byte(`"reply"`)):
		return e.answered(c, body)
	case c.phase == greeting && bytes.Contains(env, []byte(`"welcome"`)):
		return e.greeted(c)
	default:
		return fmt.Errorf("%w: %s", errReply, f.Payload)
	}
}
