//go:build linux

package load

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
)

// natsConnect is what nats.go says, but for the language.
const natsConnect = `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"name":"","lang":"bench",` +
	`"version":"1","protocol":1,"echo":true,"headers":true,"no_responders":true}` + "\r\n"

// nats is a client of a NATS server. Like nats.go it has one subscription for
// the answers to all its requests.
type nats struct {
	overWS bool
	hello  []byte
	pub    []byte // PUB and the subject
	to     string // the subject
	box    string // first part of the inboxes
	size   string
	body   int
	seq    uint64
	msg    []byte
	send   []byte // what is to go out, before it is wrapped into a frame
}

func newNATS(cfg Config) *nats {
	return &nats{
		overWS: cfg.Proto == ProtoNATSWS,
		hello:  ws.Request(cfg.Addr.String(), cfg.Path, ""),
		pub:    []byte("PUB " + cfg.To + " "),
		to:     cfg.To,
		box:    "_INBOX." + rand.Text()[:12],
		size:   strconv.Itoa(cfg.Payload),
		body:   cfg.Payload,
	}
}

func (p *nats) first(dst []byte) ([]byte, phase) {
	if p.overWS {
		return append(dst, p.hello...), shaking
	}
	return dst, greeting
}

// inbox is the subject of the answers to connection i, as long as those of
// nats.go and another in each run: a late answer to the last one is not ours.
func (p *nats) inbox(dst []byte, i int) []byte {
	dst = append(dst, p.box...)
	for unit := 1_000_000_000; unit > max(i, 1); unit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(i), 10)
}

func (p *nats) call(dst []byte, _ *conn, i int, stamp time.Duration) []byte {
	p.msg = p.appendPub(p.msg[:0], i, stamp)
	return p.wrap(dst, p.msg)
}

func (p *nats) appendPub(dst []byte, i int, stamp time.Duration) []byte {
	p.seq++
	dst = append(p.inbox(append(dst, p.pub...), i), '.')
	dst = strconv.AppendUint(dst, p.seq, 36)
	dst = append(append(append(dst, ' '), p.size...), "\r\n"...)
	dst = appendBody(dst, p.body, i, stamp)
	return append(dst, "\r\n"...)
}

// watch subscribes; the PONG says that it is done.
func (p *nats) watch(dst []byte, topic int, _ position) []byte {
	p.msg = fmt.Appendf(p.msg[:0], "SUB %s.%d %d\r\nPING\r\n", p.to, topic, topic+1)
	return p.wrap(dst, p.msg)
}

func (p *nats) publish(dst []byte, topic, i int, stamp time.Duration) []byte {
	p.msg = append(append(append(p.msg[:0], "PUB "...), p.to...), '.')
	p.msg = append(strconv.AppendInt(p.msg, int64(topic), 10), ' ')
	p.msg = append(append(p.msg, p.size...), "\r\n"...)
	p.msg = append(appendBody(p.msg, p.body, i, stamp), "\r\n"...)
	return p.wrap(dst, p.msg)
}

func (p *nats) wrap(dst, msg []byte) []byte {
	if p.overWS {
		return ws.AppendMasked(dst, ws.Binary, maskKey, msg)
	}
	return append(dst, msg...)
}

func (p *nats) feed(e *engine, c *conn, b []byte) (int, error) {
	if !p.overWS {
		return p.stream(e, c, b)
	}
	used, err := shake(c, b)
	for err == nil {
		f, n, ferr := ws.Next(b[used:])
		if ferr != nil || n == 0 {
			return used, ferr
		}
		used += n
		switch f.Op {
		case ws.Binary, ws.Continuation:
			err = p.unwrapped(e, c, f.Payload)
		default:
			err = e.control(f)
		}
	}
	return used, err
}

// unwrapped takes the payload of one frame: any piece of the stream.
func (p *nats) unwrapped(e *engine, c *conn, b []byte) error {
	if c.part != nil {
		c.part = append(c.part, b...)
		b = c.part
	}
	used, err := p.stream(e, c, b)
	c.part = keep(nil, b[used:])
	return err
}

// stream takes whole messages off b and returns how many bytes they were.
func (p *nats) stream(e *engine, c *conn, b []byte) (int, error) {
	used := 0
	for {
		end := bytes.IndexByte(b[used:], '\n')
		if end < 0 {
			return used, nil
		}
		line := bytes.TrimSuffix(b[used:used+end], []byte{'\r'})
		next := used + end + 1
		if bytes.HasPrefix(line, []byte("MSG ")) {
			size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
			if err != nil {
				return used, fmt.Errorf("%w: %s", errReply, line)
			}
			if len(b) < next+size+2 {
				return used, nil
			}
			if err := p.arrived(e, c, b[next:next+size]); err != nil {
				return used, err
			}
			used = next + size + 2
			continue
		}
		if err := p.line(e, c, line); err != nil {
			return used, err
		}
		used = next
	}
}

// arrived takes an answer or an event.
func (p *nats) arrived(e *engine, c *conn, body []byte) error {
	if e.feed.on {
		return e.delivered(c, nil, body)
	}
	return e.answered(c, body)
}

// line takes a message without a payload.
func (p *nats) line(e *engine, c *conn, line []byte) error {
	switch verb, _, _ := bytes.Cut(line, []byte{' '}); string(verb) {
	case "INFO":
		if c.phase != greeting || c.asked > 0 {
			return nil // the server tells of changes
		}
		p.send = append(p.send[:0], natsConnect...)
		if !e.feed.on {
			p.send = append(p.inbox(append(p.send, "SUB "...), e.index(c)), ".* 1\r\n"...)
		}
		p.send = append(p.send, "PING\r\n"...)
		e.out = p.wrap(e.out, p.send)
		return nil
	case "PING":
		e.pings++
		e.out = p.wrap(e.out, []byte("PONG\r\n"))
		return nil
	case "PONG":
		switch {
		case c.phase == greeting && e.watches(c) && c.asked == 0:
			return e.ask(c)
		case e.feed.on && e.watches(c):
			return e.agreed(c)
		case c.phase == greeting:
			return e.greeted(c)
		}
		return nil
	case "+OK":
		return nil
	default: // -ERR, or HMSG: nobody serves the subject
		return fmt.Errorf("%w: %s", errReply, line)
	}
}
