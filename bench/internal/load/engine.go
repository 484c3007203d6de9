//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
	"github.com/ropewalk/ropewalk/bench/internal/sock"
)

const (
	batch   = 512     // events a turn
	inSize  = 1 << 16 // bytes read at a time, one buffer for all
	tickMax = 50 * time.Millisecond
)

// phase is how far a connection has come:
//
//	closed ─► dialing ─► shaking (WebSocket only) ─► greeting ─► ready
type phase uint8

const (
	closed phase = iota
	dialing
	shaking
	greeting
	ready
)

// conn is one connection. The slices are nil but for the moments in which a
// message has arrived or left in part.
type conn struct {
	fd    int
	phase phase
	began time.Duration
	asked int    // topics that it has asked for
	armed int    // topics that it watches
	heard int    // events that it has got
	to    []byte // mode send: the address of the receiver
	rest  []byte // read, but not a whole frame
	part  []byte // NATS over WebSocket: unwrapped, but not a whole message
	out   []byte // not yet taken by the kernel
}

// proto speaks one protocol. Its methods append what is to be sent to dst.
type proto interface {
	// first is the phase after the TCP connect, with what the client says then.
	first(dst []byte) ([]byte, phase)
	// feed takes whole frames off b and returns how many bytes it has used.
	feed(e *engine, c *conn, b []byte) (int, error)
	// call makes a call, gather or send from c, which is connection i.
	call(dst []byte, c *conn, i int, stamp time.Duration) []byte
}

// engine is one run.
type engine struct {
	cfg   Config
	own   []int // this process, or nothing if it is one of the servers
	proto proto
	poll  *sock.Poll
	conns []conn
	byFD  []int32 // index into conns
	in    []byte
	out   []byte // what the connection in hand is about to send
	back  []byte // what another one is about to send
	zero  time.Time
	now   time.Duration // when the event in hand was seen
	seen  time.Duration // when anything last happened

	dialed, ready int
	want          int // how many connections are to be open
	pings         int
	hist          hist.Hist
	feed          feed
}

// Errors of a connection.
var (
	errEnded = errors.New("server closed the connection")
	errAlien = errors.New("answer is not the echo of a call of this connection")
)

func never() bool { return false }

func newEngine(cfg Config) (*engine, error) {
	e := &engine{cfg: cfg, own: []int{os.Getpid()}, zero: time.Now(), in: make([]byte, inSize)}
	switch cfg.Proto {
	case ProtoRope:
		e.proto = newRope(cfg)
	case ProtoNATSTCP, ProtoNATSWS:
		e.proto = newNATS(cfg)
	default:
		return nil, fmt.Errorf("%w: %s", ErrProto, cfg.Proto)
	}
	var err error
	if e.poll, err = sock.NewPoll(batch); err != nil {
		return nil, err
	}
	n := cfg.Conns + cfg.extra()
	e.want, e.conns = n, make([]conn, n)
	e.byFD = make([]int32, n+1024)
	return e, nil
}

func (e *engine) close() {
	for i := range e.conns {
		if e.conns[i].phase != closed {
			sock.Close(e.conns[i].fd)
		}
	}
	e.poll.Close()
}

// clock is the time since the run began.
func (e *engine) clock() time.Duration { return time.Since(e.zero) }

// openAll opens every connection, AtOnce at a time, and returns when the
// server has greeted the last.
func (e *engine) openAll() error {
	for range min(e.cfg.AtOnce, e.want) {
		if err := e.dial(); err != nil {
			return err
		}
	}
	all := func() bool { return e.ready == e.want }
	return e.spin(24*time.Hour, all)
}

// dial begins the next connection.
func (e *engine) dial() error {
	addr := e.cfg.Addr
	if e.receives(e.dialed) && e.cfg.Far.IsValid() {
		addr = e.cfg.Far
	}
	narrow := 0
	if e.stalls(e.dialed) {
		narrow = stalledBuffer
	}
	fd, err := sock.DialNarrow(addr, narrow)
	if err != nil {
		return err
	}
	for fd >= len(e.byFD) {
		e.byFD = append(e.byFD, 0)
	}
	e.byFD[fd] = int32(e.dialed)
	c := &e.conns[e.dialed]
	e.dialed++
	c.fd, c.phase, c.began = fd, dialing, e.clock()
	return e.poll.Add(fd, sock.Out)
}

// receives tells whether connection i is one that others send to, or the one
// that publishes.
func (e *engine) receives(i int) bool { return i >= e.cfg.Conns }

// spin handles events until done says so or the time is over. It gives up
// when connections or calls are under way and nothing has moved for long.
func (e *engine) spin(d time.Duration, done func() bool) error {
	e.now = e.clock()
	e.seen = e.now
	end := e.now + d
	for !done() && e.now < end {
		events, err := e.poll.Wait(int(min(end-e.now, tickMax)/time.Millisecond) + 1)
		if err != nil {
			return err
		}
		for _, ev := range events {
			e.now = e.clock()
			c := &e.conns[e.byFD[ev.FD]]
			if err := e.handle(c, ev.What); err != nil {
				return fmt.Errorf("connection %d of %d (%d ready): %w", e.index(c), len(e.conns), e.ready, err)
			}
		}
		if len(events) > 0 {
			e.seen = e.now
			continue
		}
		e.now = e.clock()
		busy := e.cfg.Mode != ModeConnect && e.cfg.Mode != ModeIdle && e.cfg.Mode != ModeWatches || e.ready < e.dialed
		if busy && e.now-e.seen > stuck {
			return ErrStuck
		}
	}
	return nil
}

func (e *engine) index(c *conn) int { return int(e.byFD[c.fd]) }

func (e *engine) handle(c *conn, what uint32) error {
	if c.phase == dialing {
		if err := sock.Connected(c.fd); err != nil {
			return err
		}
		if err := e.poll.Set(c.fd, sock.In); err != nil {
			return err
		}
		e.out, c.phase = e.proto.first(e.out[:0])
		return e.flush(c, e.out)
	}
	e.out = e.out[:0]
	if what&(sock.In|sock.Gone) != 0 {
		if err := e.read(c); err != nil {
			return err
		}
	}
	return e.flush(c, e.out)
}

// read reads once and handles all whole frames.
func (e *engine) read(c *conn) error {
	for len(e.in) <= len(c.rest) { // a frame that is larger than the buffer
		e.in = make([]byte, 2*len(e.in))
	}
	kept := copy(e.in, c.rest)
	n, err := sock.Read(c.fd, e.in[kept:])
	if err != nil {
		if sock.Again(err) {
			return nil
		}
		return fmt.Errorf("read: %w", err)
	}
	if n == 0 {
		return errEnded
	}
	got := e.in[:kept+n]
	used, err := e.proto.feed(e, c, got)
	if err != nil {
		return err
	}
	c.rest = keep(c.rest, got[used:])
	return nil
}

// keep replaces what is in old by b; an empty one is let go, so that ten
// thousand connections do not hold ten thousand buffers.
func keep(old, b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append(old[:0], b...)
}

// flush sends b after what the connection already owes.
func (e *engine) flush(c *conn, b []byte) error {
	owed := len(c.out) > 0
	if owed {
		c.out = append(c.out, b...)
		b = c.out
	}
	if len(b) == 0 {
		return nil
	}
	n, err := sock.Write(c.fd, b)
	if err != nil && !sock.Again(err) {
		return fmt.Errorf("write: %w", err)
	}
	if n == len(b) {
		c.out = nil
		if owed {
			return e.poll.Set(c.fd, sock.In)
		}
		return nil
	}
	c.out = append([]byte(nil), b[n:]...)
	if owed {
		return nil
	}
	return e.poll.Set(c.fd, sock.In|sock.Out)
}

// greeted notes that the server has taken a connection in, and begins another.
func (e *engine) greeted(c *conn) error {
	c.phase = ready
	e.ready++
	if e.cfg.Mode == ModeConnect || e.cfg.Mode == ModeIdle {
		e.hist.Add(e.now - c.began)
	}
	if e.dialed < e.want {
		return e.dial()
	}
	return nil
}

// start sends the first calls of a connection.
func (e *engine) start(c *conn, calls int) error {
	e.out = e.out[:0]
	for range calls {
		e.out = e.proto.call(e.out, c, e.index(c), e.clock())
	}
	return e.flush(c, e.out)
}

// answered takes the body of a reply and makes the next call.
func (e *engine) answered(c *conn, body []byte) error {
	i, stamp, ok := readBody(body)
	if !ok || len(body) != e.cfg.Payload || i != e.index(c) {
		return fmt.Errorf("%w: %q", errAlien, body)
	}
	e.hist.Add(e.now - stamp)
	e.out = e.proto.call(e.out, c, i, e.now)
	return nil
}

// gathered takes the body of the reply to a gather and makes the next one: it
// must have the right number of answers, all of them the echo.
func (e *engine) gathered(c *conn, body []byte) error {
	from := bytes.Index(body, []byte(bodyHead))
	if from < 0 || len(body) < from+e.cfg.Payload {
		return fmt.Errorf("%w: %q", errAlien, body)
	}
	one := body[from : from+e.cfg.Payload]
	i, stamp, ok := readBody(one)
	if n := bytes.Count(body, one); !ok || i != e.index(c) || n != e.cfg.Servers {
		return fmt.Errorf("%w: %d of %d answers: %q", errAlien, n, e.cfg.Servers, body)
	}
	e.hist.Add(e.now - stamp)
	e.out = e.proto.call(e.out, c, i, e.now)
	return nil
}

// arrived takes what c was sent, and has its sender send again.
func (e *engine) arrived(c *conn, body []byte) error {
	i, stamp, ok := readBody(body)
	if !ok || len(body) != e.cfg.Payload || !e.receives(e.index(c)) || i != e.index(c)-e.cfg.Conns {
		return fmt.Errorf("%w: %q", errAlien, body)
	}
	e.hist.Add(e.now - stamp)
	from := &e.conns[i]
	e.back = e.proto.call(e.back[:0], from, i, e.now)
	return e.flush(from, e.back)
}

// The body of a call: a JSON object with the time and the connection at fixed
// places, filled up to its length.
const (
	bodyHead = `{"at":"`
	bodyMid  = `","conn":"`
	bodyPad  = `","pad":"`
	bodyTail = `"}`
	atPlace  = len(bodyHead)
	atLen    = 16
	conPlace = atPlace + atLen + len(bodyMid)
	conLen   = 8
	// MinPayload is the shortest body.
	MinPayload = conPlace + conLen + len(bodyPad) + len(bodyTail)
)

const hexDigits = "0123456789abcdef"

// appendBody appends a body of the given length.
func appendBody(dst []byte, size, i int, stamp time.Duration) []byte {
	var hex [atLen]byte
	dst = append(dst, bodyHead...)
	dst = append(dst, putHex(hex[:atLen], uint64(stamp))...)
	dst = append(dst, bodyMid...)
	dst = append(dst, putHex(hex[:conLen], uint64(i))...)
	dst = append(dst, bodyPad...)
	for range size - MinPayload {
		dst = append(dst, 'x')
	}
	return append(dst, bodyTail...)
}

// readBody reads what [appendBody] wrote.
func readBody(b []byte) (i int, stamp time.Duration, ok bool) {
	if len(b) < MinPayload || string(b[:atPlace]) != bodyHead {
		return 0, 0, false
	}
	at, okAt := getHex(b[atPlace : atPlace+atLen])
	con, okCon := getHex(b[conPlace : conPlace+conLen])
	return int(con), time.Duration(at), okAt && okCon
}

func putHex(dst []byte, v uint64) []byte {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexDigits[v&0xf]
		v >>= 4
	}
	return dst
}

func getHex(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// maskKey is the masking key of all frames: any will do between our own
// programs, and the server has the same work with each.
var maskKey = binary.LittleEndian.Uint32([]byte{0x37, 0xfa, 0x21, 0x3d})
