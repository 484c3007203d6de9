package ropewalk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session/token"
	"github.com/ropewalk/ropewalk/topic"
)

// Node is one Ropewalk node: listeners, the services compiled in, and
// everything between. Make one with [New], add services with [Node.Serve], then
// [Node.Run] it. Its methods may be called from any goroutine.
//
// A Node is a [Caller]: Call, Stream, Gather and Send reach whatever its clients
// can reach, without a connection.
type Node struct {
	cfg      Config
	id       string
	log      *slog.Logger
	registry *prometheus.Registry
	x        *exchange.Exchange
	topics   *topic.Hub
	logs     []topic.Durable
	kit      middlewareKit
	started  time.Time
	ready    atomic.Bool
	meshState

	strategies *route.Strategies
	reloading  reloading

	audit    *audit.Log
	guard    *guard // nil: Config.Allow decides
	tokens   *token.Codec
	sessions *sessions // nil: there are none

	mu      sync.Mutex
	edge    *edge.Server
	runners []*service.Runner
	stopped bool

	ended    chan struct{} // closed when the edge serves no more
	serveErr error         // why; valid then
}

// New makes a node. Nothing listens until [Node.Start] or [Node.Run]. Errors
// name the field of the configuration that is at fault.
func New(cfg Config) (*Node, error) {
	if cfg.Name == "" {
		cfg.Name = hostname()
	}
	log, err := cfg.logger()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, id: message.NewNodeID(), log: log, registry: cfg.Registry, started: time.Now(), ended: make(chan struct{})}
	n.reloading.now.Store(&cfg)
	if n.registry == nil {
		n.registry = prometheus.NewRegistry()
		n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if err := n.build(); err != nil {
		return nil, errors.Join(err, n.close(context.Background()))
	}
	return n, nil
}

func hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "node"
}

// build wires the parts together.
func (n *Node) build() error {
	cfg := &n.cfg
	var err error
	if n.strategies, err = cfg.strategies(n.id); err != nil {
		return err
	}
	if cfg.Trace.Endpoint != "" && cfg.Tracer == nil {
		return errors.New("trace.endpoint is set, but there is no Config.Tracer to send traces; package otlp makes one")
	}
	if err := cfg.checkMesh(); err != nil {
		return err
	}
	if err := n.buildSecurity(); err != nil {
		return err
	}
	n.kit = middlewareKit{env: middleware.Env{Logger: n.log, Registry: n.registry, Tracer: cfg.Tracer}}
	stack := route.NewStack()
	n.topics = topic.New(topic.Config{
		MaxWatches: cfg.Limits.Watches, MaxTopics: cfg.Limits.Topics, MaxHistory: cfg.Limits.History, Logger: n.log, Metrics: topic.NewMetrics(n.registry),
	})
	n.x = exchange.New(exchange.Config{
		NodeID: n.id, NodeName: cfg.Name,
		DefaultTimeout: time.Duration(cfg.Calls.Timeout), MaxTimeout: time.Duration(cfg.Calls.MaxTimeout),
		MaxCalls: cfg.Limits.Calls, MaxServes: cfg.Limits.Routes,
		Allow: cfg.Allow, Guard: n.exchangeGuard(), Sessions: n.exchangeSessions(), Topics: n.topics,
		Strategies: n.strategies, Stack: stack, Unreachable: n.unreachable,
		Logger: n.log, Metrics: exchange.NewMetrics(n.registry),
	})
	n.topics.Begin(n.x)
	if err := n.kit.fill(stack, cfg.Middleware); err != nil {
		return err
	}
	for _, w := range stack.Warnings() {
		n.log.Warn("middleware order", "warning", w)
	}
	return n.serveBuiltIns()
}

func (n *Node) serveBuiltIns() error {
	host := nodeapi.Host{
		Exchange: n.x, Strategies: n.strategies, ID: n.id, NodeName: n.cfg.Name, Version: Version,
		Labels: n.cfg.Mesh.Labels, Started: n.started, Logger: n.log,
		Listeners: n.addresses, URLs: n.urls, Mesh: n.Mesh, SetDraining: n.SetDraining, Middleware: n.kit.entry, Audit: n.audit,
		Hub: n.topics, Topics: func() []topic.Info { return n.topics.Topics(n.id, n.cfg.Name) },
	}
	if n.cfg.Source != nil {
		host.Reload = n.reloadFromSource
	}
	if n.sessions != nil {
		host.Sessions = n.sessions
	}
	if err := n.Serve(nodeapi.New(host)); err != nil {
		return err
	}
	if err := n.serveTopics(); err != nil {
		return err
	}
	for name, b := range n.cfg.Services {
		if err := n.serveBuiltIn(name, b); err != nil {
			return err
		}
	}
	return nil
}

// kindEcho is the kind of service that every node has.
const kindEcho = "echo"

func (n *Node) serveBuiltIn(name string, b BuiltIn) error {
	if err := service.CheckName(name); err != nil {
		return fmt.Errorf("services.%s: %w", name, err)
	}
	if b.Kind != kindEcho {
		return fmt.Errorf("services.%s.kind: there is no built-in service %q; there is %q", name, b.Kind, kindEcho)
	}
	if err := n.Serve(newEcho(name)); err != nil {
		return fmt.Errorf("services.%s: %w", name, err)
	}
	return nil
}

// ServeOwn is [Node.Serve] for a service that is told what nobody else may know,
// such as passwords: connections of this node cannot serve anything under its
// name, and calls of its clients are answered by this node unless the
// configuration says otherwise. Connections of other nodes cannot serve anything
// under its name either, as soon as these know of this node.
func (n *Node) ServeOwn(svc *Service) error {
	n.x.Reserve(svc.Name())
	for _, r := range svc.Routes() {
		at := svc.Name() + ":" + r.Pattern.String()
		if _, chosen := n.cfg.Calls.Routes[at]; chosen {
			continue
		}
		if err := n.strategies.SetRoute(at, "prefer-local"); err != nil {
			return err
		}
	}
	return n.Serve(svc)
}

// ID returns the node's id: 32 hex digits, new with each [New].
func (n *Node) ID() string { return n.id }

// Name returns the node's name.
func (n *Node) Name() string { return n.cfg.Name }

// Middleware returns the stack that every message passes. It may be changed at
// any time.
func (n *Node) Middleware() *route.Stack { return n.x.Stack() }

// Serve has the node answer for a service in this process, until
// [Node.Shutdown].
func (n *Node) Serve(svc *Service) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped {
		return errShutDown
	}
	run := svc.Runner(context.Background(), n.log)
	if _, err := n.x.Serve(svc, run); err != nil {
		run.Close()
		return err
	}
	n.runners = append(n.runners, run)
	return nil
}

var errShutDown = errors.New("the node was shut down")

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Start begins to accept connections, joins the mesh, and returns when both are
// done; other nodes become known after that. ctx bounds only the start.
// [Node.Shutdown] ends what it began.
func (n *Node) Start(ctx context.Context) error {
	if err := n.listen(ctx); err != nil {
		return err
	}
	if err := n.join(ctx); err != nil {
		return err
	}
	n.ready.Store(true)
	return nil
}

func (n *Node) listen(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stopped || n.edge != nil {
		return errors.New("the node was started already")
	}
	if len(n.cfg.Listeners) == 0 {
		return nil
	}
	cfg, err := n.reloading.now.Load().edge(n.id, n.handler(), n.log, edge.NewMetrics(n.registry), n.admit)
	if err != nil {
		return err
	}
	cfg.OriginAllowed = n.originAllowed
	if err := n.makeLines(&cfg); err != nil {
		return err
	}
	srv, err := edge.New(cfg, newConns(n.x, positive(n.cfg.Limits.Frame, edge.DefaultFrame), n.sessions))
	if err != nil {
		return err
	}
	if err := srv.Listen(ctx); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	n.edge = srv
	n.useLines(srv)
	go func() {
		n.serveErr = srv.Serve(context.Background())
		close(n.ended)
	}()
	return nil
}

// Addrs returns the addresses that the node listens on, by listener.
func (n *Node) Addrs() map[string]net.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.edge == nil {
		return nil
	}
	out := make(map[string]net.Addr)
	addrs := n.edge.Addrs()
	for i, name := range n.cfg.listenerNames() {
		out[name] = addrs[i]
	}
	return out
}

func (n *Node) addresses() map[string]string {
	out := make(map[string]string)
	for name, a := range n.Addrs() {
		out[name] = a.String()
	}
	return out
}

// Run starts the node, serves until ctx ends, and shuts down, giving calls in
// flight the time of [Config.Shutdown].
func (n *Node) Run(ctx context.Context) error {
	if err := n.Start(ctx); err != nil {
		return errors.Join(err, n.Shutdown(ctx))
	}
	select {
	case <-ctx.Done():
	case <-n.ended: // it could not go on; Shutdown returns why
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Shutdown.Or(DefaultShutdown))
	defer cancel()
	return n.Shutdown(end)
}

// Shutdown stops accepting connections and, as soon as the services of
// connections have gone to other nodes of the mesh, calls; it waits until the
// calls in flight have had their answers, and closes all connections with a code
// that tells clients to come back. When ctx ends first it stops waiting, ends the
// contexts of handlers, and returns ctx's error; handlers that do not return
// soon after that are left behind. It may be called more than once.
func (n *Node) Shutdown(ctx context.Context) error {
	n.mu.Lock()
	if n.stopped {
		n.mu.Unlock()
		return nil
	}
	n.stopped = true
	srv := n.edge
	n.mu.Unlock()
	n.ready.Store(false)

	var err error
	if srv != nil {
		srv.StopAccepting()
	}
	if n.mesh.Load() != nil {
		n.SetDraining(true) // others send their calls elsewhere from now on
		n.handOver(ctx)
	}
	if drainErr := n.x.Drain(ctx); drainErr != nil {
		err = fmt.Errorf("%d calls had no answer yet: %w", n.x.InFlight(), drainErr)
	}
	if srv != nil {
		err = errors.Join(err, srv.Shutdown(ctx))
		<-n.ended
		err = errors.Join(err, n.serveErr)
	}
	return errors.Join(err, n.leave(ctx), n.close(ctx))
}

// close ends what New began. Handlers have until the end of ctx, and at least
// handlerGrace, to return.
func (n *Node) close(ctx context.Context) error {
	defer n.closeSecurity(ctx)
	if n.x == nil { // New came to nothing
		return nil
	}
	var runners sync.WaitGroup
	for _, r := range n.runners {
		runners.Go(r.Close)
	}
	returned := make(chan struct{})
	go func() {
		runners.Wait()
		close(returned)
	}()
	defer n.x.Close()
	defer n.topics.Close()
	defer n.closeLogs()
	grace := time.NewTimer(handlerGrace)
	defer grace.Stop()
	select {
	case <-returned:
		return nil
	case <-grace.C:
	}
	select {
	case <-returned:
		return nil
	case <-ctx.Done():
		return errors.New("handlers have not returned although their contexts have ended; the node went without them")
	}
}

// handlerGrace is how long handlers have to return after their contexts ended,
// when the time to shut down is over.
const handlerGrace = time.Second

// handler answers the HTTP requests that are no connections.
func (n *Node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{Registry: n.registry}))
	if n.tokens != nil {
		mux.HandleFunc("GET "+jwksPath, n.jwks)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !n.ready.Load() {
			http.Error(w, "the node is starting or stopping", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	if n.cfg.HTTP != nil {
		mux.Handle("/", n.cfg.HTTP)
	}
	return mux
}

// Call implements [Caller].
func (n *Node) Call(ctx context.Context, address string, body any, opts ...call.Option) (*call.Answer, error) {
	return n.x.Local().Call(ctx, address, body, opts...)
}

// Stream implements [Caller].
func (n *Node) Stream(ctx context.Context, address string, body any, opts ...call.Option) *call.Stream {
	return n.x.Local().Stream(ctx, address, body, opts...)
}

// Gather implements [Caller].
func (n *Node) Gather(ctx context.Context, address string, body any, opts ...call.Option) (*call.Gathered, error) {
	return n.x.Local().Gather(ctx, address, body, opts...)
}

// Send implements [Caller].
func (n *Node) Send(ctx context.Context, address string, body any, opts ...call.Option) error {
	return n.x.Local().Send(ctx, address, body, opts...)
}

var _ Caller = (*Node)(nil)

// Logger takes the node's log.
func (n *Node) Logger() *slog.Logger { return n.log }

// Registry has the node's metrics.
func (n *Node) Registry() *prometheus.Registry { return n.registry }
