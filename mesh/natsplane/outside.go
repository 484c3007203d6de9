package natsplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ropewalk/ropewalk/mesh"
)

const (
	// outsideDial is how long connecting to one server may take.
	outsideDial = 3 * time.Second
	// outsideWait is how long to wait before a server that was lost is tried
	// again.
	outsideWait = 250 * time.Millisecond
	// outsidePing is how often a server is asked whether it is there; after two
	// pings without an answer another one is connected to.
	outsidePing = 2 * time.Second
	// outsideWrite is how long one write to the server may take.
	outsideWrite = 3 * time.Second
	// outsidePending bounds what has arrived and was not taken yet, in bytes.
	// What is beyond it is lost, and sent again by the mesh.
	outsidePending = 64 << 20
	// outsideClose is how long what was sent last has to leave.
	outsideClose = time.Second
)

// outside is a client of a NATS cluster that somebody else runs.
type outside struct {
	conn *nats.Conn
	gone chan struct{} // closed when the connection is over
}

// openOutside connects to the NATS cluster.
func (p *Plane) openOutside(ctx context.Context, subjects [2]string) (*outside, error) {
	o := &outside{gone: make(chan struct{})}
	conn, err := nats.Connect(strings.Join(p.cfg.NATS, ","), p.outsideOptions(ctx, o)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redacted(p.cfg.NATS), err)
	}
	o.conn = conn
	if err := o.subscribe(ctx, subjects, p.hear); err != nil {
		p.settle(false)
		o.close()
		return nil, fmt.Errorf("NATS at %s: %w", conn.ConnectedUrlRedacted(), err)
	}
	return o, nil
}

func (p *Plane) outsideOptions(ctx context.Context, o *outside) []nats.Option {
	dial := outsideDial
	if end, ok := ctx.Deadline(); ok {
		dial = min(dial, max(time.Until(end), time.Millisecond))
	}
	warnings := newServerLog(p.log) // so that they do not repeat
	opts := []nats.Option{
		nats.Name("ropewalk node " + p.node),
		nats.NoEcho(),
		nats.Timeout(dial),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(outsideWait),
		nats.ReconnectJitter(outsideWait, outsideWait),
		nats.ReconnectBufSize(-1), // the mesh keeps what does not arrive
		nats.PingInterval(outsidePing),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(outsideWrite),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil { // because of Close
				return
			}
			p.log.Warn("the connection to NATS is lost; it is tried again until it is back", slog.Any("err", err))
			p.state(false)
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			p.log.Info("connected to NATS again", slog.String("peer", c.ConnectedUrlRedacted()))
			p.state(true)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if warnings.fresh(err.Error(), time.Now()) {
				p.log.Warn("NATS complains", slog.Any("err", err))
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(o.gone) }),
	}
	if p.cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(p.cfg.Credentials))
	}
	if p.cfg.CAFile != "" {
		opts = append(opts, nats.RootCAs(p.cfg.CAFile))
	}
	if p.cfg.tls() {
		opts = append(opts, nats.ClientCert(p.cfg.CertFile, p.cfg.KeyFile))
	}
	return opts
}

// subscribe makes hear be called with what arrives, and waits until the server
// knows.
func (o *outside) subscribe(ctx context.Context, subjects [2]string, hear func([]byte)) error {
	if most := o.conn.MaxPayload(); most < mesh.MaxMessage {
		return fmt.Errorf("the server takes messages of up to %d bytes, and the mesh needs %d; raise max_payload there", most, mesh.MaxMessage)
	}
	for _, s := range subjects {
		sub, err := o.conn.Subscribe(s, func(m *nats.Msg) { hear(m.Data) })
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		if err := sub.SetPendingLimits(-1, outsidePending); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, outsideDial)
	defer cancel()
	if err := o.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	if err := o.conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w; the user of the nodes needs the permission to publish and subscribe to %s.>", err,
			subjects[1][:strings.LastIndexByte(subjects[1], '.')])
	}
	return nil
}

// publish implements carrier.
func (o *outside) publish(subject string, data []byte) error { return o.conn.Publish(subject, data) }

// close implements carrier.
func (o *outside) close() {
	if o.conn.IsConnected() {
		_ = o.conn.FlushTimeout(outsideClose) // what does not leave by then is lost
	}
	o.conn.Close()
	<-o.gone
}

// redacted are URLs without what is secret in them.
func redacted(urls []string) string {
	out := make([]string, len(urls))
	for i, raw := range urls {
		if u, err := url.Parse(raw); err == nil {
			u.User = nil // a token would stand where the user does
			out[i] = u.String()
		}
	}
	return strings.Join(out, ", ")
}
