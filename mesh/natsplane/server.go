package natsplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const (
	// routePing is how often a route is asked whether it is there; without an
	// answer until the next time it is made anew. A route that a fault has cut is
	// noticed so by both sides, and does not wait for the operating system, which
	// may try for minutes. What the mesh sends goes over direct lines, which notice
	// a fault in seconds, so that this may be slow; and each of these pings wakes
	// two processes: at ten seconds they were a quarter of what a mesh of twenty
	// costs at rest.
	routePing = 30 * time.Second
	// routeRetries is how often, once a second, a node that was heard of from
	// others and is lost is connected to before it is given up. Nodes to join
	// are never given up.
	routeRetries = 600
	// looking is how often it is looked whether the server listens.
	looking = 2 * time.Millisecond
	// startLimit is how long the server may take to start.
	startLimit = 15 * time.Second
	// noPort makes the server fail to listen for clients, before any system
	// call. The router of the NATS server waits until the listener for clients
	// is there or has failed; the option not to have one leaves it waiting for
	// ever. This way there is no listener, and the router starts.
	noPort = 70000
	// routeUser is what nodes call themselves to each other.
	routeUser = "ropewalk"
)

// inside is a NATS server in this process.
type inside struct {
	*natsserver.Server

	cfg *Config
}

// startInside starts a server and waits until it listens.
func startInside(ctx context.Context, cfg *Config, node string, log *slog.Logger) (*inside, error) {
	opts, err := serverOptions(cfg, node)
	if err != nil {
		return nil, err
	}
	s, err := natsserver.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("set up the NATS server inside: %w", err)
	}
	if cfg.beyond() && !cfg.tls() {
		log.Warn("the secret of the mesh protects nodes from strangers, but what they say can be read on the network; " +
			"set certFile, keyFile and caFile for TLS between nodes")
	}
	l := newServerLog(log)
	s.SetLoggerV2(l, false, false, false)
	s.Start() // it returns when the listeners have their goroutines
	in := &inside{Server: s, cfg: cfg}
	if err := in.ready(ctx, l); err != nil {
		in.stop()
		return nil, err
	}
	return in, nil
}

// ready waits until the server listens for other nodes.
func (s *inside) ready(ctx context.Context, l *serverLog) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, errors.New("the NATS server inside does not start"))
	defer cancel()
	tick := time.NewTicker(looking)
	defer tick.Stop()
	for {
		select {
		case err := <-l.fatal:
			if s.cfg.alone() {
				return fmt.Errorf("store: %w", err)
			}
			host, port := s.cfg.listen()
			return fmt.Errorf("listen for other nodes at %s: %w", net.JoinHostPort(host, strconv.Itoa(port)), err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			if s.cfg.alone() || s.ClusterAddr() != nil {
				return nil
			}
		}
	}
}

// stop shuts the server down and waits for it.
func (s *inside) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

// reachable is where others can reach the node.
func (s *inside) reachable() string {
	addr := s.ClusterAddr()
	port := strconv.Itoa(addr.Port)
	if s.cfg.Advertise != "" {
		host, p, _ := hostPort(s.cfg.advertised())
		if p != 0 {
			port = strconv.Itoa(p)
		}
		return net.JoinHostPort(host, port)
	}
	if !addr.IP.IsUnspecified() {
		return net.JoinHostPort(addr.IP.String(), port)
	}
	return net.JoinHostPort(ownIP().String(), port)
}

// ownIP is the first address of this machine that others may reach.
func ownIP() net.IP {
	addrs, _ := net.InterfaceAddrs()
	var six net.IP
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			return n.IP
		case six == nil:
			six = n.IP
		}
	}
	if six != nil {
		return six
	}
	return net.IPv4(127, 0, 0, 1)
}

func serverOptions(cfg *Config, node string) (*natsserver.Options, error) {
	if cfg.alone() { // it has a store
		opts := &natsserver.Options{ServerName: node, DontListen: true, NoLog: true, NoSigs: true}
		return opts, cfg.keep(opts)
	}
	host, port := cfg.listen()
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	// Anybody who can be connected to asks for a password, also without a
	// secret: else a node with a secret would join a mesh without one.
	password := cfg.word("route")
	opts := &natsserver.Options{
		ServerName: node,
		Host:       "127.0.0.1",
		Port:       noPort,
		NoLog:      true, // none of its own
		NoSigs:     true,
		// Without it, servers would tell each other how they are.
		NoSystemAccount: true,
		// A node that does not read would make the others slow: what is for it
		// is lost, and sent again by the mesh.
		NoFastProducerStall:   true,
		ConnectErrorReports:   int(time.Hour / time.Second),
		ReconnectErrorReports: int(time.Hour / time.Second),
		Cluster: natsserver.ClusterOpts{
			Name: cfg.name(), Host: host, Port: port,
			Username: routeUser, Password: password,
			NoAdvertise:    true, // of ports for clients
			ConnectRetries: routeRetries,
			PoolSize:       1,
			Compression:    natsserver.CompressionOpts{Mode: natsserver.CompressionOff},
			PingInterval:   routePing,
			MaxPingsOut:    1,
		},
	}
	switch {
	case cfg.Advertise != "":
		opts.Cluster.Advertise = cfg.advertised()
	case isLoopback(host):
		// What others would see as our address depends on how they connect.
		opts.Cluster.Advertise = net.JoinHostPort(host, "0")
	}
	for _, j := range cfg.Join {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", Host: j, User: url.UserPassword(routeUser, password)})
	}
	if cfg.tls() {
		t, err := cfg.tlsConfig()
		if err != nil {
			return nil, err
		}
		opts.Cluster.TLSConfig = t
	}
	return opts, cfg.keep(opts)
}
