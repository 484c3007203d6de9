package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// The names of the transports.
const (
	transportWebSocket = "websocket"
	transportStream    = "stream"
	transportPoll      = "poll"
)

// ladder makes connections, by the best transport that works. It climbs down
// when a transport looks blocked on the way, as proxies do with WebSocket, not
// when the node is not there or refuses. What worked is tried first the next
// time, and now and then the best one again, since networks change.
type ladder struct {
	url *url.URL
	cfg *config
	mem *memory
}

// memory is what ladders remember. All of a client share it: what blocks a
// transport is mostly on the client's side of the way.
type memory struct {
	mu    sync.Mutex
	first int       // index of the transport to begin with
	since time.Time // when first was last more than 0
}

// climbAfter is how long a worse transport is preferred because it worked.
const climbAfter = 10 * time.Minute

func newLadder(u *url.URL, cfg *config, mem *memory) *ladder {
	return &ladder{url: u, cfg: cfg, mem: mem}
}

// dial makes one connection and waits for its welcome.
func (l *ladder) dial(ctx context.Context) (transport, *welcome, error) {
	n := len(l.cfg.transports)
	begin := l.mem.begin()
	var first error
	for i := range n {
		at := (begin + i) % n
		tr, hello, err := l.try(ctx, l.cfg.transports[at])
		if err == nil {
			l.mem.remember(at)
			return tr, hello, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || !blocked(err) {
			if message.FromPeer(err) {
				return nil, nil, err
			}
			break
		}
	}
	return nil, nil, l.unreachable(ctx, first)
}

func (m *memory) begin() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.since) > climbAfter {
		m.first = 0
	}
	return m.first
}

func (m *memory) remember(at int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at != m.first {
		m.first, m.since = at, time.Now()
	}
}

func (l *ladder) unreachable(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return call.Ended(ctx)
	}
	if e := (*message.Error)(nil); errors.As(cause, &e) {
		return e
	}
	e := message.NewError(message.CodeNotReady, "cannot connect to "+shown(l.url)+reason(cause),
		"Check the address, and that a node is running there; \"ropewalk dev\" starts one.")
	e.Cause = cause
	e.Retryable = true
	return e
}

// shown is a URL as people write it: without password, and ws again.
func shown(u *url.URL) string { return "ws" + strings.TrimPrefix(u.Redacted(), "http") }

// reason says in plain words why there is no connection, if it is a usual one.
// The whole story is in the error's cause.
func reason(err error) string {
	var (
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		answer *status
		late   net.Error
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": nothing listens there"
	case errors.As(err, &dns):
		return ": the name of the host is not known"
	case errors.As(err, &cert):
		return ": its certificate is not trusted"
	case errors.As(err, &answer):
		return ": " + answer.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return ": no answer in time"
	}
	return ""
}

// try connects by one transport.
func (l *ladder) try(ctx context.Context, name string) (transport, *welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.handshake)
	defer cancel()
	var tr transport
	var err error
	switch name {
	case transportWebSocket:
		tr, err = l.webSocket(ctx)
	default:
		tr, err = openHTTP(ctx, l.url, l.cfg, name)
	}
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, tr.kill)
	frame, err := tr.read()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	var hello *welcome
	if err == nil {
		hello, err = readWelcome(frame, l.cfg.json)
	}
	if err != nil {
		tr.kill()
		if ctx.Err() != nil {
			err = fmt.Errorf("no welcome by %s: %w", name, ctx.Err())
		}
		return nil, nil, err
	}
	return tr, hello, nil
}

func (l *ladder) webSocket(ctx context.Context) (transport, error) {
	tr, res, err := dialWebSocket(ctx, l.url, l.cfg) //nolint:bodyclose // websocket.Dial has closed it
	if err == nil {
		return tr, nil
	}
	if res != nil && res.Body != nil {
		if e := refusal(res); e != nil {
			return nil, e
		}
		err = &status{res.StatusCode}
	}
	return nil, err
}

// status is an HTTP response that no node of Ropewalk gives.
type status struct{ code int }

func (s *status) Error() string {
	return fmt.Sprintf("the server answered %d %s", s.code, http.StatusText(s.code))
}

// maxRefusal bounds what is read of a response that refuses.
const maxRefusal = 16 << 10

// refusal reads the error of a node from its response; nil if it is not one.
func refusal(res *http.Response) *message.Error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal)) // what there is of it
	var probe struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(body, &probe) // whatever it is, it has no code then
	if probe.Code == "" {
		return nil
	}
	return message.DecodeError(body)
}

// blocked reports whether another transport may get through where this one did
// not: something was there, but it did not let us, or kept silent. A node that
// says no means it, unless it only knows nothing of the transport.
func blocked(err error) bool {
	if message.FromPeer(err) {
		return message.CodeOf(err) == message.CodeUnimplemented
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return false
	}
	d := new(dropped)
	if errors.As(err, &d) && d.final() {
		return slices.Contains([]int{closeProtocol, closeUnknown}, d.code)
	}
	return true
}

// httpClient returns a client for handshakes and requests, with a transport
// that belongs to the caller if it is of the usual kind.
func httpClient(cfg *config) *http.Client {
	h := new(http.Client)
	if cfg.httpClient != nil {
		*h = *cfg.httpClient
	}
	h.Timeout = 0
	switch t := h.Transport.(type) {
	case nil:
		if d, ok := http.DefaultTransport.(*http.Transport); ok {
			h.Transport = d.Clone()
		}
	case *http.Transport:
		h.Transport = t.Clone()
	}
	return h
}
