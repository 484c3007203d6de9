//go:build linux

package load_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/bench/internal/echo"
	"github.com/ropewalk/ropewalk/bench/internal/floor"
	"github.com/ropewalk/ropewalk/bench/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// startFloor runs a floor for the length of the test, with a service if echo.
func startFloor(t *testing.T, served string) netip.AddrPort {
	t.Helper()
	s, err := floor.Listen(loopback)
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	ended := make(chan error, 2)
	go func() { ended <- s.Serve(stop.Load) }()
	want := 1
	if served != "" {
		want++
		ready := make(chan struct{})
		go func() {
			err := echo.Serve(s.Addr(), "/", served, func() { close(ready) })
			if errors.Is(err, echo.ErrEnded) {
				err = nil
			}
			ended <- err
		}()
		select {
		case <-ready:
		case err := <-ended:
			t.Fatalf("service: %v", err)
		}
	}
	t.Cleanup(func() {
		stop.Store(true)
		for range want {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	return s.Addr()
}

// startNATS runs a NATS server with a service for the length of the test.
func startNATS(t *testing.T) (tcp, web netip.AddrPort) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		PingInterval: 50 * time.Millisecond, MaxPingsOut: 10_000, // a slow machine is not a stale client
		Websocket: server.WebsocketOpts{Host: "127.0.0.1", Port: -1, NoTLS: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	for range 100 { // a ping of the server may come before the pong that nats.go waits for
		if err == nil {
			break
		}
		nc, err = nats.Connect(s.ClientURL())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("bench.echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(strings.TrimPrefix(s.ClientURL(), "nats://")),
		netip.MustParseAddrPort(strings.TrimPrefix(s.WebsocketURL(), "ws://"))
}

func config(mode, proto string, addr netip.AddrPort) load.Config {
	cfg := load.Config{
		Mode: mode, Proto: proto, Addr: addr, Path: "/", Conns: 8, InFlight: 24, AtOnce: 3, To: "bench:/echo",
		Payload: 128, Warm: 20 * time.Millisecond, For: 200 * time.Millisecond,
		ServerPIDs: []int{os.Getpid()}, PeerPIDs: []int{os.Getpid()},
	}
	if proto != load.ProtoRope {
		cfg.To = "bench.echo"
	}
	return cfg
}

func TestRun(t *testing.T) {
	t.Parallel()
	node := startFloor(t, "bench:/echo")
	tcp, web := startNATS(t)
	for proto, addr := range map[string]netip.AddrPort{
		load.ProtoRope: node, load.ProtoNATSTCP: tcp, load.ProtoNATSWS: web,
	} {
		for _, mode := range []string{load.ModeCall, load.ModeConnect, load.ModeIdle} {
			t.Run(proto+"/"+mode, func(t *testing.T) {
				t.Parallel()
				res, err := run(config(mode, proto, addr))
				if err != nil {
					t.Fatal(err)
				}
				check(t, res)
			})
		}
	}
}

// run takes longer if a busy machine has not done what is to be measured.
func run(cfg load.Config) (load.Result, error) {
	res, err := load.Run(cfg)
	for err == nil && cfg.Mode == load.ModeCall && res.Count < uint64(cfg.InFlight) && cfg.For < 10*time.Second {
		cfg.For *= 3
		res, err = load.Run(cfg)
	}
	return res, err
}

func check(t *testing.T, r load.Result) {
	t.Helper()
	if r.Seconds <= 0 || r.ServerShare <= 0 {
		t.Errorf("no time passed: %+v", r)
	}
	switch r.Mode {
	case load.ModeIdle:
		if r.Base == 0 || r.Full == 0 || r.Rested == 0 {
			t.Errorf("no memory read: %+v", r)
		}
		if r.Proto != load.ProtoRope && r.Pings == 0 {
			t.Errorf("no ping answered: %+v", r)
		}
	case load.ModeConnect:
		if r.Count != 8 || r.Server <= 0 || r.P50 <= 0 {
			t.Errorf("connects: %+v", r)
		}
	default:
		if r.Count < 24 || r.Server <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P99 || r.Rate <= 0 {
			t.Errorf("calls: %+v", r)
		}
	}
}

// TestBodies sends calls of several sizes: whole frames of 64 KiB do not fit
// into one read or write.
func TestBodies(t *testing.T) {
	t.Parallel()
	node := startFloor(t, "bench:/echo")
	tcp, web := startNATS(t)
	for proto, addr := range map[string]netip.AddrPort{
		load.ProtoRope: node, load.ProtoNATSTCP: tcp, load.ProtoNATSWS: web,
	} {
		for _, size := range []int{load.MinPayload, 1000, 40_000} {
			cfg := config(load.ModeCall, proto, addr)
			cfg.Payload = size
			res, err := run(cfg)
			if err != nil || res.Count == 0 {
				t.Errorf("%s, %d bytes: %+v, %v", proto, size, res, err)
			}
		}
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	node := startFloor(t, "")
	closed := closedAddr(t)
	for name, tc := range map[string]struct {
		change func(*load.Config)
		want   error
		text   string
	}{
		"nobody serves":   {func(*load.Config) {}, nil, "no_service"},
		"nobody listens":  {func(c *load.Config) { c.Addr = closed }, nil, "connection refused"},
		"unknown mode":    {func(c *load.Config) { c.Mode = "x" }, load.ErrMode, ""},
		"unknown proto":   {func(c *load.Config) { c.Proto = "x" }, load.ErrProto, ""},
		"no connections":  {func(c *load.Config) { c.Conns = 0 }, load.ErrConfig, ""},
		"uneven":          {func(c *load.Config) { c.InFlight = 9 }, load.ErrConfig, ""},
		"no servers":      {func(c *load.Config) { c.Mode = load.ModeGather }, load.ErrConfig, ""},
		"NATS gathers":    {func(c *load.Config) { c.Mode, c.Servers, c.Proto = load.ModeGather, 1, load.ProtoNATSTCP }, load.ErrProto, ""},
		"body too short":  {func(c *load.Config) { c.Payload = 1 }, load.ErrConfig, ""},
		"no such process": {func(c *load.Config) { c.ServerPIDs = []int{1 << 22} }, nil, "CPU clock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(load.ModeCall, load.ProtoRope, node)
			if name == "no such process" {
				cfg.Mode = load.ModeConnect
			}
			tc.change(&cfg)
			_, err := load.Run(cfg)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Run = %v, want %v %s", err, tc.want, tc.text)
			}
		})
	}
}

func closedAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	s, err := floor.Listen(loopback)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	return s.Addr()
}
