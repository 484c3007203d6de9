package client

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/route"
)

const (
	// DefaultQueue is how many messages wait to be sent: as many as a node
	// lets a connection have calls in flight.
	DefaultQueue = 1024
	// DefaultQueueBytes bounds the same in bytes.
	DefaultQueueBytes = 16 << 20
	// DefaultReadLimit is the largest frame that is taken from a node. It is
	// more than a node's own limit, since replies to gathers add up.
	DefaultReadLimit = 16 << 20
	// DefaultCloseTimeout is how long Close takes at most: long enough to
	// flush over a slow line, short enough for a program that has to end.
	DefaultCloseTimeout = 5 * time.Second
	// DefaultHandshake is how long one transport may take to get a welcome
	// before the next one is tried.
	DefaultHandshake = 10 * time.Second
	// DefaultSilence is how long nothing may be heard from the node before the
	// client sends a ping: more than two of the node's own pings.
	DefaultSilence = 60 * time.Second
	// DefaultMinBackoff and DefaultMaxBackoff bound the time between attempts
	// to connect: soon enough for a short fault, rarely enough for a long one.
	DefaultMinBackoff = 250 * time.Millisecond
	// DefaultMaxBackoff is the upper bound.
	DefaultMaxBackoff = 30 * time.Second

	// defaultFrame is the limit of a frame until a node names its own.
	defaultFrame = 1 << 20
	// pongTimeout is how long the answer to a ping may take, unless the silence
	// that led to it was shorter.
	pongTimeout = 10 * time.Second
	// hopTimeout bounds the first try at another node when there are more: one
	// that died with its machine does not say so.
	hopTimeout = 3 * time.Second
	// stable is how long a connection has to last for the next attempt to
	// count as the first.
	stable = 10 * time.Second
)

// Option changes how a client connects and behaves.
type Option interface{ apply(*config) }

type option func(*config)

func (f option) apply(c *config) { f(c) }

type config struct {
	log          *slog.Logger
	json         bool
	compress     bool
	lazy         bool
	urls         []string // more than the one of Dial
	follow       bool
	httpClient   *http.Client
	header       http.Header
	transports   []string
	queue        int
	queueBytes   int
	readLimit    int
	closeTimeout time.Duration
	handshake    time.Duration
	silence      time.Duration
	minBackoff   time.Duration
	maxBackoff   time.Duration
	onState      []func(State)
	onSend       func(context.Context, *route.Request)
	token        string
	source       func(context.Context) (string, error)
	noRefresh    bool
	onSession    []func(SessionEvent)
	onUnserve    func(address string, err error)

	// dial makes one connection; tests put their own in its place.
	dial func(ctx context.Context, at *place) (transport, *welcome, error)
}

func defaults() config {
	return config{
		log:          slog.Default(),
		follow:       true,
		transports:   []string{transportWebSocket, transportStream, transportPoll},
		queue:        DefaultQueue,
		queueBytes:   DefaultQueueBytes,
		readLimit:    DefaultReadLimit,
		closeTimeout: DefaultCloseTimeout,
		handshake:    DefaultHandshake,
		silence:      DefaultSilence,
		minBackoff:   DefaultMinBackoff,
		maxBackoff:   DefaultMaxBackoff,
	}
}

// WithLazy has Dial return at once. The client connects in the background, and
// keeps trying if the node is not there yet; messages wait meanwhile.
func WithLazy() Option { return option(func(c *config) { c.lazy = true }) }

// WithURLs adds more URLs at which the client may connect: of other nodes of the
// same mesh, or other ways to the same node. The one of Dial is tried first.
func WithURLs(more ...string) Option {
	return option(func(c *config) { c.urls = append(c.urls, more...) })
}

// WithoutFollow has the client connect only where the program says, with Dial
// and [WithURLs], and never where a node says that others are: for nodes behind
// a load balancer, whose own addresses clients cannot reach. Even without it a
// client that is connected by TLS is not led away from TLS, and one that is not
// connected to its own machine not to that.
func WithoutFollow() Option { return option(func(c *config) { c.follow = false }) }

// WithLogger sets where the client logs: Info for connections made and lost,
// Warn for what a person should look at. The default is [slog.Default].
func WithLogger(l *slog.Logger) Option {
	return option(func(c *config) {
		if l != nil {
			c.log = l
		}
	})
}

// WithJSON uses JSON frames, which a person can read in a network trace,
// instead of split ones, which are faster.
func WithJSON() Option { return option(func(c *config) { c.json = true }) }

// WithCompression compresses WebSocket messages of 512 bytes and more, if the
// node's listener allows it. It saves bandwidth and costs CPU and memory on
// both sides.
func WithCompression() Option { return option(func(c *config) { c.compress = true }) }

// WithHTTPClient sets the client that handshakes and the HTTP transports use,
// for its TLS configuration, proxy and cookies. Its Timeout is ignored.
func WithHTTPClient(h *http.Client) Option {
	return option(func(c *config) { c.httpClient = h })
}

// WithHTTPHeader sends headers with handshakes and HTTP requests, such as
// Origin. A credential in them says who the client is before anything is sent,
// but its session does not go on beyond the credential: use [WithToken].
func WithHTTPHeader(h http.Header) Option {
	return option(func(c *config) { c.header = h.Clone() })
}

// WithTransports names the transports to try, in order: "websocket", "stream"
// (an HTTP response that never ends) and "poll" (long-polling). The default is
// all three in this order. Unknown names are ignored.
func WithTransports(names ...string) Option {
	return option(func(c *config) {
		known := []string{transportWebSocket, transportStream, transportPoll}
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(known, n) })
		if len(names) > 0 {
			c.transports = names
		}
	})
}

// WithQueue bounds the messages that wait to be sent, in number and bytes:
// [DefaultQueue] and [DefaultQueueBytes]. While the client is connected, Call,
// Gather and Send wait for room; while it is not, and always for Stream, a full
// queue is CodeOverloaded. Values below 1 change nothing.
func WithQueue(messages, bytes int) Option {
	return option(func(c *config) {
		if messages > 0 {
			c.queue = messages
		}
		if bytes > 0 {
			c.queueBytes = bytes
		}
	})
}

// WithReadLimit sets the largest frame, in bytes, that is taken from the node:
// [DefaultReadLimit]. A larger one costs the connection. Values below 1 change
// nothing.
func WithReadLimit(bytes int) Option {
	return option(func(c *config) {
		if bytes > 0 {
			c.readLimit = bytes
		}
	})
}

// WithCloseTimeout bounds Close: [DefaultCloseTimeout].
func WithCloseTimeout(d time.Duration) Option {
	return duration(d, func(c *config) { c.closeTimeout = d })
}

// WithHandshakeTimeout bounds the attempt to connect by one transport, to the
// welcome: [DefaultHandshake].
func WithHandshakeTimeout(d time.Duration) Option {
	return duration(d, func(c *config) { c.handshake = d })
}

// WithSilence sets after what time without hearing from the node the client
// asks whether it is still there: [DefaultSilence].
func WithSilence(d time.Duration) Option { return duration(d, func(c *config) { c.silence = d }) }

// WithBackoff bounds the time between attempts to connect:
// [DefaultMinBackoff] and [DefaultMaxBackoff]. The n-th attempt waits a random
// time between 0 and lowest·2ⁿ, at most highest.
func WithBackoff(lowest, highest time.Duration) Option {
	return duration(min(lowest, highest), func(c *config) { c.minBackoff, c.maxBackoff = lowest, highest })
}

// duration ignores values that make no sense.
func duration(d time.Duration, f option) Option {
	if d <= 0 {
		return option(func(*config) {})
	}
	return f
}

// WithOnState is [Client.OnState] from the very first change.
func WithOnState(f func(State)) Option {
	return option(func(c *config) { c.onState = append(c.onState, f) })
}

// WithOnSend is [Client.OnSend] from the very first message.
func WithOnSend(f func(ctx context.Context, req *route.Request)) Option {
	return option(func(c *config) { c.onSend = f })
}
