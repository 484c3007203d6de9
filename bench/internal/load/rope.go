//go:build linux

package load

import (
	"bytes"
	"encoding/json"
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
	head  []byte // of an envelope, up to the address
	to    []byte // the address of the service; empty in mode send
	size  int
	seq   uint64
	msg   []byte
}

func newRope(cfg Config) *rope {
	var fields []string
	if cfg.Token != "" {
		fields = append(fields, "Authorization: Bearer "+cfg.Token)
	}
	r := &rope{hello: ws.Request(cfg.Addr.String(), cfg.Path, SplitProtocol, fields...), size: cfg.Payload, to: []byte(cfg.To)}
	switch cfg.Mode {
	case ModeGather:
		r.head = []byte(`{"vrb":"call","str":"all","to":"`)
	case ModeSend:
		r.head, r.to = []byte(`{"vrb":"send","to":"`), nil
	default:
		r.head = []byte(`{"vrb":"call","to":"`)
	}
	return r
}

func (r *rope) watch(dst []byte, topic int, after position) []byte {
	r.msg = r.topic(append(r.msg[:0], `{"vrb":"subscribe","to":"`...), topic)
	if after.epoch != "" {
		r.msg = append(append(r.msg, `{"recover":{"epoch":"`...), after.epoch...)
		r.msg = append(append(append(r.msg, `","offset":`...), after.offset...), "}}"...)
	}
	return ws.AppendMasked(dst, ws.Binary, maskKey, r.msg)
}

func (r *rope) publish(dst []byte, topic, i int, stamp time.Duration) []byte {
	r.msg = r.topic(append(r.msg[:0], `{"vrb":"publish","to":"`...), topic)
	r.msg = appendBody(r.msg, r.size, i, stamp)
	return ws.AppendMasked(dst, ws.Binary, maskKey, r.msg)
}

// topic appends the end of an envelope from the address of a topic on.
func (r *rope) topic(dst []byte, topic int) []byte {
	r.seq++
	dst = strconv.AppendInt(append(append(dst, r.to...), '/'), int64(topic), 10)
	dst = strconv.AppendUint(append(dst, `","mid":"`...), r.seq, 36)
	return append(dst, "\"}\n"...)
}

// positionOf reads where an update stands in its topic.
func positionOf(env []byte) position {
	cut := func(key, end string) string {
		_, rest, _ := bytes.Cut(env, []byte(key))
		value, _, _ := bytes.Cut(rest, []byte(end))
		return string(bytes.TrimRight(value, "}"))
	}
	return position{epoch: cut(`"epo":"`, `"`), offset: cut(`"off":`, ",")}
}

func (r *rope) first(dst []byte) ([]byte, phase) { return append(dst, r.hello...), shaking }

func (r *rope) call(dst []byte, c *conn, i int, stamp time.Duration) []byte {
	r.seq++
	r.msg = append(append(append(r.msg[:0], r.head...), r.to...), c.to...)
	r.msg = strconv.AppendUint(append(r.msg, `","mid":"`...), r.seq, 36)
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

// message takes what a client is told. It only looks for the word that tells
// one kind from the others: to check each answer is the body's business.
func (r *rope) message(e *engine, c *conn, f ws.Frame) error {
	if !f.Fin {
		return fmt.Errorf("%w: a fragment", errFrame)
	}
	env, body, _ := bytes.Cut(f.Payload, []byte{'\n'})
	switch {
	case e.feed.on && c.phase == ready && bytes.Contains(env, []byte(`"update"`)):
		if e.cfg.Mode == ModeQuery {
			return e.changed(c, body)
		}
		return e.delivered(c, env, body)
	case c.phase == greeting && bytes.Contains(env, []byte(`"welcome"`)):
		if e.watches(c) {
			return e.ask(c)
		}
		if err := e.meet(c, body); err != nil {
			return err
		}
		return e.greeted(c)
	case e.feed.on && bytes.Contains(env, []byte(`"reply"`)):
		return e.agreed(c)
	case c.phase == ready && bytes.Contains(env, []byte(`"reply"`)):
		if e.cfg.Mode == ModeGather {
			return e.gathered(c, body)
		}
		return e.answered(c, body)
	case c.phase == ready && e.cfg.Mode == ModeSend && bytes.Contains(env, []byte(`"send"`)):
		return e.arrived(c, body)
	case bytes.Contains(env, []byte(`"nodes"`)): // the list of nodes has changed
		return nil
	default:
		return fmt.Errorf("%w: %s", errReply, f.Payload)
	}
}

// meet reads its id from the welcome of a connection that others send to.
func (e *engine) meet(c *conn, body []byte) error {
	at := e.index(c)
	if e.cfg.Mode != ModeSend || !e.receives(at) {
		return nil
	}
	var w struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return fmt.Errorf("read welcome: %w", err)
	}
	e.conns[at-e.cfg.Conns].to = []byte(w.ID + "@client:/")
	return nil
}
