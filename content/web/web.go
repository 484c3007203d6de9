package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

// Web is the provider for both schemes, and a guarded client for scripts: see
// [Web.Do]. Make one with [New]; all methods may be called from any goroutine.
//
// A provider answers one scheme, so that each of the two gets its own from
// [Web.Scheme]; Close of the Web itself comes after them.
type Web struct {
	rules    []*rule
	maxBytes int
	timeout  time.Duration
	log      *slog.Logger
	public   *http.Transport
	private  *http.Transport
	hosts    hosts
	cache    cache

	ctx    context.Context //nolint:containedctx // it ends with the Web
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	using  sync.WaitGroup // requests, until their bodies are closed
}

// errClosed is the cause of the end of what a closed Web was doing.
var errClosed = errors.New("closed")

// New returns a provider. The error names the settings at fault.
func New(s Settings) (*Web, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	s = s.withDefaults()
	w := &Web{
		maxBytes: s.MaxBytes, timeout: time.Duration(s.Timeout), log: s.Logger,
		public: s.transport(isPublic), private: s.transport(isPrivate),
		hosts: hosts{limit: s.PerHost, slots: make(map[string]*hostSlots)},
		cache: newCache(s.CacheBytes),
	}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	for i := range s.Allow {
		r, err := s.Allow[i].rule()
		if err != nil {
			return nil, fmt.Errorf("allow[%d].%w", i, err)
		}
		w.rules = append(w.rules, r)
	}
	return w, nil
}

// Scheme returns the provider for "http" or "https".
func (w *Web) Scheme(name string) content.Provider { return scheme{w, name} }

type scheme struct {
	w    *Web
	name string
}

// Open implements [content.Provider].
func (s scheme) Open(_ context.Context, r *content.Request) (content.Resource, error) {
	return s.w.open(s.name, r)
}

// Close ends all requests, waits for them and closes all connections. What is
// asked for afterwards fails with shutting_down.
func (w *Web) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel(errClosed)
	w.using.Wait()
	w.public.CloseIdleConnections()
	w.private.CloseIdleConnections()
	return nil
}

func closedError() *message.Error {
	return message.NewError(message.CodeShuttingDown, "contents from the web are being closed", "Try again: another node may serve them.")
}

// enter counts a request in. The context that it returns ends with the Web, too.
func (w *Web) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, nil, closedError()
	}
	w.using.Add(1)
	inner, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(w.ctx, func() { cancel(errClosed) })
	return inner, sync.OnceFunc(func() {
		stop()
		cancel(nil)
		w.using.Done()
	}), nil
}

// open returns what an address with parameters stands for.
func (w *Web) open(name string, r *content.Request) (content.Resource, error) {
	rest := strings.TrimPrefix(r.Path, "/")
	if r.Dir {
		rest += "/"
	}
	t, err := targetOf(name, rest, r.Query)
	if err != nil {
		return nil, errURL(name+":"+r.Path, err)
	}
	p, err := readParams(r.Params)
	if err != nil {
		return nil, err
	}
	o := order{
		method: http.MethodGet, to: t, redirects: maxRedirects,
		headers: http.Header{"Accept": {"application/json, */*;q=0.8"}},
	}
	if p.body != nil {
		o.method, o.body = http.MethodPost, p.body
		o.headers.Set("Content-Type", "application/json")
	}
	rule, err := w.find(o.method, t)
	if err != nil {
		return nil, err
	}
	return &resource{w: w, order: o, base64: p.base64, poll: rule.poll, key: p.key(t)}, nil
}
