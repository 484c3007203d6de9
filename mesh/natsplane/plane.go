package natsplane

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/mesh"
)

const (
	// selfBytes bounds what a node has sent to itself and not taken yet.
	selfBytes = 16 << 20
	// knownNodes bounds of how many nodes the subject is remembered.
	knownNodes = 1 << 12
)

var (
	errNotOpen  = errors.New("the backplane is not open")
	errNoNode   = errors.New("a message for no node")
	errLost     = errors.New("the connection to the NATS server is lost")
	errTooLarge = fmt.Errorf("a message is larger than the %d bytes that a backplane takes", mesh.MaxMessage)
	errSelfFull = errors.New("too much waits that this node has sent to itself")
)

// goodNode is what may be part of a subject.
var goodNode = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// carrier is a connection to NATS.
type carrier interface {
	// publish sends data to all who hear subject but this node.
	publish(subject string, data []byte) error
	// close disconnects; nothing is heard after it.
	close()
}

// Plane is a [mesh.Backplane] over NATS. Make one with [New]. Its methods may be
// called from any goroutine, but Close not from within Receiver.Received.
type Plane struct {
	cfg    Config
	log    *slog.Logger
	prefix string // of subjects

	mu     sync.Mutex
	open   bool
	closed bool
	node   string
	to     carrier // nil if there is nobody to meet
	server *inside // nil without one
	addr   string
	lane   *lane.Lane
	known  map[string]string // subjects of nodes that were sent to
	keeps  *nats.Conn        // for JetStream; nil without it
	self   [][]byte          // sent by this node to itself
	selfN  int               // bytes in self
	wake   chan struct{}

	hearing  sync.Mutex // one message at a time
	receiver mesh.Receiver
	deaf     bool // set by Close, and if Open fails
	once     sync.Once
	opened   chan struct{} // closed at the end of Open
}

// New checks a configuration and the files that it names, and returns a Plane
// that is ready to be opened. A nil logger means [slog.Default].
func New(cfg Config, log *slog.Logger) (*Plane, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := cfg.readable(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.Default()
	}
	return &Plane{
		cfg: cfg, log: log, prefix: "ropewalk." + cfg.name() + "." + cfg.word("subject")[:16],
		known: make(map[string]string), wake: make(chan struct{}, 1), opened: make(chan struct{}),
	}, nil
}

// word makes something of the secret that does not tell the secret. It differs
// by what it is for, and by the mesh if that is part of what.
func (c *Config) word(what string) string {
	h := hmac.New(sha256.New, []byte(c.Secret))
	h.Write([]byte("ropewalk mesh " + what + " " + c.name()))
	return hex.EncodeToString(h.Sum(nil))
}

// Open implements mesh.Backplane. It starts the NATS server inside, or connects
// to the NATS cluster. If Cluster's port is taken the error is
// syscall.EADDRINUSE.
func (p *Plane) Open(ctx context.Context, node string, r mesh.Receiver) error {
	if !goodNode.MatchString(node) {
		return fmt.Errorf("the id %q of a node has something else in it than letters, digits, - and _", node)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open || p.closed {
		return errors.New("the backplane was opened before")
	}
	p.node, p.receiver = node, r
	p.lane = lane.New(context.WithoutCancel(ctx), p.log)
	if err := p.connect(ctx); err != nil {
		p.closed = true
		p.settle(false)
		p.lane.Close()
		return err
	}
	p.lane.Go("nats self", p.runSelf)
	p.open = true
	p.settle(true)
	return nil
}

// settle lets go those who wait for the end of Open, which went well or not.
func (p *Plane) settle(ok bool) {
	p.once.Do(func() {
		p.hearing.Lock()
		p.deaf = !ok
		p.hearing.Unlock()
		close(p.opened)
	})
}

// connect makes the carrier. Called with p.mu held.
func (p *Plane) connect(ctx context.Context) error {
	subjects := [2]string{p.subject(p.node), p.subject("")}
	switch {
	case p.cfg.alone():
		return p.openStore(ctx)
	case len(p.cfg.NATS) > 0:
		out, err := p.openOutside(ctx, subjects)
		if err != nil {
			return err
		}
		p.to, p.keeps = out, out.conn
		return nil
	}
	s, err := startInside(ctx, &p.cfg, p.node, p.log)
	if err != nil {
		return err
	}
	in := &pipe{dial: s.InProcessConn, subjects: subjects, hear: p.hear, state: p.state, log: p.log}
	if err := openPipe(ctx, in); err != nil {
		s.stop()
		return err
	}
	p.to, p.server, p.addr = in, s, s.reachable()
	if p.cfg.Store != "" {
		return p.connectStore()
	}
	return nil
}

// subject is where a node hears, or all nodes with "".
func (p *Plane) subject(node string) string {
	if node == "" {
		return p.prefix + ".all"
	}
	return p.prefix + ".node." + node
}

// hear hands a message over. What comes while Open is not done waits: Receiver
// may send, and that needs what Open holds.
func (p *Plane) hear(data []byte) {
	<-p.opened
	p.hearing.Lock()
	defer p.hearing.Unlock()
	if !p.deaf {
		p.receiver.Received(data)
	}
}

// state tells that the connection to NATS is lost, or there again.
func (p *Plane) state(connected bool) {
	<-p.opened
	p.hearing.Lock()
	defer p.hearing.Unlock()
	if !p.deaf {
		p.receiver.Connected(connected)
	}
}

// Send implements mesh.Backplane. It blocks until the server inside has taken
// data, or while the operating system's buffer for an outside server is full.
func (p *Plane) Send(node string, data []byte) error {
	if node == "" { // to all, in take
		return errNoNode
	}
	to, subject, err := p.take(node, data)
	switch {
	case err != nil:
		return err
	case node == p.node:
		return p.sendSelf(data)
	case to == nil:
		return nil
	}
	return to.publish(subject, data)
}

// Publish implements mesh.Backplane. It does not reach this node.
func (p *Plane) Publish(data []byte) error {
	to, subject, err := p.take("", data)
	if err != nil || to == nil {
		return err
	}
	return to.publish(subject, data)
}

// take checks data and returns what takes it, nil if there is nobody to meet,
// and the subject of a node, or of all with "".
func (p *Plane) take(node string, data []byte) (carrier, string, error) {
	if len(data) > mesh.MaxMessage {
		return nil, "", errTooLarge
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || p.closed {
		return nil, "", errNotOpen
	}
	subject, ok := p.known[node]
	if !ok {
		if node != "" && !goodNode.MatchString(node) {
			return nil, "", fmt.Errorf("there can be no node %q", node)
		}
		if len(p.known) >= knownNodes {
			clear(p.known)
		}
		subject = p.subject(node)
		p.known[node] = subject
	}
	return p.to, subject, nil
}

// sendSelf takes what the node sends to itself.
func (p *Plane) sendSelf(data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.selfN+len(data) > selfBytes {
		return errSelfFull
	}
	p.selfN += len(data)
	p.self = append(p.self, slices.Clone(data))
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// runSelf hands over what the node sends to itself.
func (p *Plane) runSelf(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.mu.Lock()
		list := p.self
		p.self, p.selfN = nil, 0
		p.mu.Unlock()
		for _, data := range list {
			if ctx.Err() != nil {
				return
			}
			p.hear(data)
		}
	}
}

// Addr implements mesh.Backplane. It is Advertise, or where Cluster listens; if
// that is all addresses of the machine, the first that others can reach. It is
// "" for a node that is alone, or meets others in a NATS cluster.
func (p *Plane) Addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Close implements mesh.Backplane. What was sent last is given a moment to
// leave. It may be called more than once.
func (p *Plane) Close(context.Context) error {
	p.mu.Lock()
	was := p.open && !p.closed
	p.closed = true
	p.mu.Unlock()
	if !was {
		return nil
	}
	p.hearing.Lock()
	p.deaf = true
	p.hearing.Unlock()
	if p.to != nil {
		p.to.close()
	}
	if p.keeps != nil {
		p.keeps.Close()
	}
	if p.server != nil {
		p.server.stop()
	}
	p.lane.Close()
	return nil
}

// LineKey implements mesh.Keyed. There are no lines beside TLS, which would have
// been for nothing, and none beside a NATS cluster of somebody's own, who has
// decided there what goes where.
func (p *Plane) LineKey() string {
	if p.cfg.alone() || p.cfg.tls() || len(p.cfg.NATS) > 0 {
		return ""
	}
	return p.cfg.word("line")
}

var _ mesh.Keyed = (*Plane)(nil)
