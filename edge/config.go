package edge

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Config is what a [Server] is made of.
type Config struct {
	// Listeners, at least one, with different names.
	Listeners []ListenerConfig
	// Limits apply to all listeners together. Zero fields get the defaults.
	Limits Limits
	// NodeID is written into the tokens of the HTTP transports, and its tag
	// into the ids of clients, so that a proxy or another node can see where a
	// connection lives. Default: a new random id.
	NodeID string
	// OriginAllowed, if set, is asked about an Origin that a listener's own
	// Origins do not allow, so that the pages of other nodes may connect. It
	// must not block.
	OriginAllowed func(origin string) bool
	// Peering takes and makes connections that are no clients. Default: none.
	Peering *Peering
	// HTTP gets every request that does not make or use a connection: metrics,
	// health, pages. Default: 404 for all.
	HTTP http.Handler
	// Pollers is the number of pollers, each with a goroutine and a buffer of
	// 64 KiB. Default: GOMAXPROCS.
	Pollers int
	// Logger. Default: slog.Default().
	Logger *slog.Logger
	// Metrics. Default: metrics that are registered nowhere.
	Metrics *Metrics
}

// ListenerConfig is one address to listen on.
type ListenerConfig struct {
	// Name of the listener, in addresses (*@client:/NAME) and metrics.
	// Default: "main".
	Name string
	// Addr is HOST:PORT. Port 0 takes a free one; see [Server.Addrs].
	Addr string
	// CertFile and KeyFile are PEM files; with both the listener speaks TLS.
	CertFile, KeyFile string
	// Deflate allows permessage-deflate, without context takeover. It costs
	// CPU for each frame of 256 bytes or more; off by default.
	Deflate bool
	// Origins that a browser may come from, as scheme://host[:port], or "*"
	// for all. The host that was connected to is always allowed, and so are
	// requests without an Origin, since only browsers send one.
	Origins []string
	// Driver; auto by default.
	Driver Driver
	// Admit, if set, is asked before a connection is made; an error refuses it
	// with the HTTP status of its code. It must not block.
	Admit func(h *Handshake) error
}

// Limits bound what the other ends may do. A zero field gets its default, a
// negative one means no limit. Each limit that was hit is counted in
// ropewalk_edge_limit_hits_total and tells the other end by error or close code.
type Limits struct {
	// Frame is the largest message frame in bytes, after putting fragments
	// together and inflating. Close code 1009. Default 1 MiB.
	Frame int
	// HandshakeBytes is the largest head of an HTTP request. Status 431.
	// Default 16 KiB.
	HandshakeBytes int
	// HandshakeTime is how long a new connection may take until its request
	// has arrived. Default 10 s.
	HandshakeTime time.Duration
	// Ping is how often the other end of a WebSocket is pinged when it sends no
	// messages.
	// Close code 4000 after two intervals in which nothing came. Default 25 s.
	Ping time.Duration
	// Idle closes WebSockets that sent no message for so long, with 4002; looked
	// at once in a Ping interval. Default: no limit.
	Idle time.Duration
	// Poll is how long a poll of the HTTP transports waits for messages.
	// Default 25 s.
	Poll time.Duration
	// Unread is how long a connection over HTTP may be neither streamed nor
	// polled, how long writing to it may take, and how long the body of any HTTP
	// request, if that is less than 30 s. Default 40 s.
	Unread time.Duration
	// Close is how long the other end may take to answer a close. Default 5 s.
	Close time.Duration
	// Leave is how long a Shutdown leaves connections open, for clients that were
	// told to go elsewhere: what they had sent by then is still answered, if
	// only with a refusal, and what is refused they can safely send elsewhere.
	// Default: not at all.
	Leave time.Duration
	// PendingFrames and PendingBytes bound what waits to be sent on one
	// connection; see [Policy]. Defaults 4096 and 4 MiB. One frame always fits.
	PendingFrames, PendingBytes int
	// Connections is how many there may be at once. Status 503. Default:
	// no limit but the file descriptors of the process.
	Connections int
	// PerIP is how many of them may come from one address. Status 429.
	// Default: no limit.
	PerIP int
	// FramesPerSecond and BytesPerSecond bound what one connection sends, with
	// bursts of two seconds' worth. Close code 4003. Default: no limit.
	FramesPerSecond, BytesPerSecond int
}

// Defaults of [Limits].
const (
	DefaultFrame          = 1 << 20
	DefaultHandshakeBytes = 16 << 10
	DefaultHandshakeTime  = 10 * time.Second
	DefaultPing           = 25 * time.Second // below the 30 s and 60 s after which many proxies cut
	DefaultPoll           = 25 * time.Second // as DefaultPing
	DefaultUnread         = 40 * time.Second // one poll, and 15 s for the way to the next
	DefaultClose          = 5 * time.Second
	DefaultPendingFrames  = 4096
	DefaultPendingBytes   = 4 << 20
)

// noLimit is large, but its double and small sums still fit into an int.
const noLimit = 1 << 30

func orDefault[T int | time.Duration](v *T, def T) {
	switch {
	case *v == 0:
		*v = def
	case *v < 0:
		*v = 0
	}
}

// withDefaults returns l with zero fields filled in. Afterwards 0 means no
// limit for Idle, Ping, Connections, PerIP and the rates, and the sizes are
// all positive.
func (l Limits) withDefaults() Limits {
	orDefault(&l.Frame, DefaultFrame)
	orDefault(&l.HandshakeBytes, DefaultHandshakeBytes)
	orDefault(&l.HandshakeTime, DefaultHandshakeTime)
	orDefault(&l.Ping, DefaultPing)
	orDefault(&l.Idle, 0)
	orDefault(&l.Poll, DefaultPoll)
	orDefault(&l.Unread, DefaultUnread)
	orDefault(&l.Close, DefaultClose)
	orDefault(&l.PendingFrames, DefaultPendingFrames)
	orDefault(&l.PendingBytes, DefaultPendingBytes)
	orDefault(&l.Connections, 0)
	orDefault(&l.PerIP, 0)
	orDefault(&l.FramesPerSecond, 0)
	orDefault(&l.BytesPerSecond, 0)
	for _, size := range []*int{&l.Frame, &l.HandshakeBytes, &l.PendingFrames, &l.PendingBytes} {
		if *size == 0 || *size > noLimit {
			*size = noLimit
		}
	}
	return l
}

// tick is the interval of the keep-alive timer; 0 if there is nothing to do.
func (l *Limits) tick() time.Duration {
	if l.Idle > 0 && (l.Ping == 0 || l.Idle < l.Ping) {
		return l.Idle
	}
	return l.Ping
}

func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Listeners) == 0 {
		return cfg, errors.New("edge: no listeners")
	}
	cfg.Listeners = slices.Clone(cfg.Listeners)
	cfg.Limits = cfg.Limits.withDefaults()
	seen := make(map[string]bool, len(cfg.Listeners))
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if l.Name == "" {
			l.Name = "main"
		}
		if seen[l.Name] {
			return cfg, fmt.Errorf("edge: two listeners named %q", l.Name)
		}
		seen[l.Name] = true
		if err := l.check(); err != nil {
			return cfg, fmt.Errorf("edge: listener %q: %w", l.Name, err)
		}
	}
	if cfg.Pollers <= 0 {
		cfg.Pollers = runtime.GOMAXPROCS(0)
	}
	if cfg.NodeID == "" {
		cfg.NodeID = message.NewNodeID()
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.NotFoundHandler()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	return cfg, nil
}

// check settles the driver.
func (l *ListenerConfig) check() error {
	withTLS := l.CertFile != "" || l.KeyFile != ""
	if withTLS && (l.CertFile == "" || l.KeyFile == "") {
		return errors.New("TLS needs both a certificate and a key file")
	}
	switch l.Driver {
	case DriverPoller:
		if withTLS {
			return errors.New("the poller driver has no TLS; use the goroutine driver")
		}
		if !pollerSupported {
			return errors.New("the poller driver needs Linux; use the goroutine driver")
		}
	case DriverGoroutine:
	default:
		l.Driver = DriverGoroutine
		if pollerSupported && !withTLS {
			l.Driver = DriverPoller
		}
	}
	return nil
}
