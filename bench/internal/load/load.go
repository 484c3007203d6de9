//go:build linux

// Package load is the load generator: one loop over one epoll set on one
// goroutine, with frames made by hand and neither goroutine nor buffer per
// connection, so that what it costs itself stays near the system calls.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
	"github.com/ropewalk/ropewalk/bench/internal/proc"
)

// The modes.
const (
	ModeCall    = "call"    // calls to a service, a fixed number under way
	ModeConnect = "connect" // connections, until each is greeted
	ModeIdle    = "idle"    // connections that are held and do nothing
	ModeGather  = "gather"  // calls that ask all servers, a fixed number under way
	ModeSend    = "send"    // messages from client to client, a fixed number under way
	ModeFanout  = "fanout"  // events of one topic, watched by all connections
	ModeTopics  = "topics"  // events of many topics, each watched by one connection
	ModeWatches = "watches" // many topics that all connections watch and nobody publishes to
	ModeStorm   = "storm"   // connections that come back at once, and get what they have missed
	ModeQuery   = "query"   // contents that a node computes from a table that is written to
)

// The protocols.
const (
	ProtoRope    = "ropewalk" // ropewalk.v1.split over WebSocket
	ProtoNATSWS  = "nats-ws"  // NATS over WebSocket
	ProtoNATSTCP = "nats-tcp" // NATS over TCP
)

// Config is what one run does.
type Config struct {
	Mode  string
	Proto string
	// Addr is where the server listens.
	Addr netip.AddrPort
	// Far is where the receivers of mode send connect, and in mode storm who
	// publishes and who comes back: another node; zero for Addr.
	Far netip.AddrPort
	// Path is that of the WebSocket handshake.
	Path string
	// Token opens a session for each connection; empty for none.
	Token string
	// Conns is the number of connections; in mode send of those that send, and
	// each has another one to which it sends; where there are topics, of those that
	// watch, and there is another one that publishes.
	Conns int
	// InFlight is the number of calls, gathers or sends under way, a multiple of
	// Conns; or of events that not all watchers have got.
	InFlight int
	// Servers is how many answers a gather gets.
	Servers int
	// Topics is how many topics there are in modes topics, watches and query.
	Topics int
	// Every is the time between two events of mode fanout, or writes of mode query,
	// however long they take; 0 for as many under way as InFlight says.
	Every time.Duration
	// Stalled is how many of the connections of mode fanout watch and do not read.
	Stalled int
	// Burst is how many writes mode query makes without Every.
	Burst int
	// Missed is how many events each connection of mode storm has missed.
	Missed int
	// Kill is a process that is killed to cut the connections of mode storm; 0 to
	// close them.
	Kill int
	// AtOnce is how many connections are being opened at a time.
	AtOnce int
	// To is the address of the service, or its subject.
	To string
	// Payload is the length of a call's body in bytes, at least [MinPayload].
	Payload int
	// Warm is how long the load runs before it is measured; in modes connect and
	// idle how long the server is left alone before its memory is read.
	Warm time.Duration
	// For is how long is measured.
	For time.Duration
	// ServerPIDs and PeerPIDs are the processes whose CPU time is measured. That
	// of several is added up.
	ServerPIDs, PeerPIDs []int
}

// Result is what one run found. Fields that its mode does not measure are 0.
type Result struct {
	Mode     string `json:"mode"`
	Proto    string `json:"proto"`
	Conns    int    `json:"conns"`
	InFlight int    `json:"inFlight,omitempty"`
	Topics   int    `json:"topics,omitempty"`
	Stalled  int    `json:"stalled,omitempty"`
	// Count is the number of calls, gathers, sends, connects, deliveries, recoveries
	// or writes measured, Seconds how long that took.
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"`
	// Rate is Count a second.
	Rate float64 `json:"rate"`
	// Latencies in microseconds; of a send or event until the receiver has it, of a
	// recovery from the connect until the last event that was missed, of a write
	// until the last watcher has its content, of many until all have theirs.
	P50 float64 `json:"p50us"`
	P99 float64 `json:"p99us"`
	Max float64 `json:"maxus"`
	// CPU time in microseconds for each of them, of the servers, of the processes
	// that serve the calls, and of this generator.
	Server float64 `json:"serverCPUus"`
	Peer   float64 `json:"peerCPUus,omitempty"`
	Own    float64 `json:"loadCPUus"`
	// ServerShare is the share of one core that the server used, in percent.
	ServerShare float64 `json:"serverShare"`
	// Resident memory of the server in bytes: before the first connection, with
	// all of them (mode watches: and their first watch), and after they were idle
	// for a while (with all watches; mode fanout: at the end).
	Base   int64 `json:"rssBase,omitempty"`
	Full   int64 `json:"rssFull,omitempty"`
	Rested int64 `json:"rssRested,omitempty"`
	// Others is how many cores other programs of the machine used meanwhile.
	Others float64 `json:"others"`
	// Pings that the server sent in the time.
	Pings int `json:"pings,omitempty"`
	// Runs is how many contents the server computed, in mode query.
	Runs uint64 `json:"runs,omitempty"`
}

// Errors of a run.
var (
	ErrMode   = errors.New("unknown mode")
	ErrProto  = errors.New("unknown protocol")
	ErrConfig = errors.New("bad numbers")
	ErrStuck  = errors.New("no answer any more")
)

// stuck is how long nothing may happen before a run is given up.
const stuck = 20 * time.Second

// Run runs one mode against a server that already runs. It uses the calling
// goroutine alone and returns when the measurement is over and its connections
// are closed. An answer that is an error, belongs to somebody else or is not
// the echo ends it with an error.
func Run(cfg Config) (Result, error) {
	res := Result{Mode: cfg.Mode, Proto: cfg.Proto, Conns: cfg.Conns}
	if err := cfg.check(); err != nil {
		return res, err
	}
	e, err := newEngine(cfg)
	if err != nil {
		return res, err
	}
	defer e.close()
	switch cfg.Mode {
	case ModeCall, ModeGather, ModeSend:
		err = e.runCall(&res)
	case ModeConnect:
		err = e.runConnect(&res)
	case ModeIdle:
		err = e.runIdle(&res)
	case ModeFanout, ModeTopics:
		err = e.runEvents(&res)
	case ModeWatches:
		err = e.runWatches(&res)
	case ModeStorm:
		err = e.runStorm(&res)
	case ModeQuery:
		err = e.runQuery(&res)
	default:
		err = fmt.Errorf("%w: %s", ErrMode, cfg.Mode)
	}
	return res, err
}

func (c *Config) check() error {
	switch {
	case c.Conns < 1 || c.AtOnce < 1 || c.Payload < MinPayload:
		return fmt.Errorf("%w: %d connections, %d at once, %d bytes", ErrConfig, c.Conns, c.AtOnce, c.Payload)
	case c.Mode == ModeGather && c.Servers < 1:
		return fmt.Errorf("%w: a gather of %d servers", ErrConfig, c.Servers)
	case c.Stalled < 0 || c.Stalled >= c.Conns || c.Every < 0 || c.Topics < 0 || c.Missed < 0 || c.Burst < 0:
		return fmt.Errorf("%w: %d of %d stalled, %d topics, %d missed", ErrConfig, c.Stalled, c.Conns, c.Topics, c.Missed)
	case (c.Mode == ModeGather || c.Mode == ModeSend || c.Mode == ModeStorm || c.Mode == ModeQuery) && c.Proto != ProtoRope:
		return fmt.Errorf("%w: %s has no mode %s", ErrProto, c.Proto, c.Mode)
	}
	return nil
}

// extra is how many connections there are besides Conns.
func (c *Config) extra() int {
	switch c.Mode {
	case ModeSend:
		return c.Conns
	case ModeFanout, ModeTopics, ModeWatches, ModeStorm, ModeQuery:
		return 1
	default:
		return 0
	}
}

func (e *engine) runCall(res *Result) error {
	each := e.cfg.InFlight / e.cfg.Conns
	if each < 1 || each*e.cfg.Conns != e.cfg.InFlight {
		return fmt.Errorf("%w: %d in flight over %d connections", ErrConfig, e.cfg.InFlight, e.cfg.Conns)
	}
	res.InFlight = e.cfg.InFlight
	if err := e.openAll(); err != nil {
		return err
	}
	for i := range e.cfg.Conns { // in mode send the others receive
		if err := e.start(&e.conns[i], each); err != nil {
			return err
		}
	}
	if err := e.spin(e.cfg.Warm, never); err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	e.hist = hist.Hist{}
	if err := e.spin(e.cfg.For, never); err != nil {
		return err
	}
	return e.fill(res, from)
}

func (e *engine) runConnect(res *Result) error {
	from, err := e.snap()
	if err != nil {
		return err
	}
	if err := e.openAll(); err != nil {
		return err
	}
	took := e.clock() - from.at
	// What the server still has to do for them is part of the price.
	if err := e.spin(e.cfg.Warm, never); err != nil {
		return err
	}
	if err := e.fill(res, from); err != nil {
		return err
	}
	res.Seconds = took.Seconds()
	res.Rate = float64(res.Count) / res.Seconds
	return nil
}

func (e *engine) runIdle(res *Result) error {
	var err error
	if res.Base, err = e.rss(); err != nil {
		return err
	}
	if err := e.openAll(); err != nil {
		return err
	}
	if err := e.spin(e.cfg.Warm, never); err != nil {
		return err
	}
	if res.Full, err = e.rss(); err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	e.pings, e.hist = 0, hist.Hist{}
	if err := e.spin(e.cfg.For, never); err != nil {
		return err
	}
	if err := e.fill(res, from); err != nil {
		return err
	}
	res.Pings = e.pings
	res.Rested, err = e.rss()
	return err
}

// snapshot is the state of all clocks at one moment.
type snapshot struct {
	at                time.Duration
	server, peer, own time.Duration
	busy              time.Duration // all cores, everybody
}

func (e *engine) snap() (snapshot, error) {
	s := snapshot{at: e.clock()}
	var err error
	for _, p := range []struct {
		pids []int
		to   *time.Duration
	}{{e.cfg.ServerPIDs, &s.server}, {e.cfg.PeerPIDs, &s.peer}, {e.own, &s.own}} {
		if *p.to, err = proc.CPU(p.pids...); err != nil {
			return s, err
		}
	}
	s.busy, err = proc.Busy()
	return s, err
}

func (e *engine) rss() (int64, error) { return proc.RSS(e.cfg.ServerPIDs...) }

// fill writes what happened since from into res.
func (e *engine) fill(res *Result, from snapshot) error {
	to, err := e.snap()
	if err != nil {
		return err
	}
	micros := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	took := to.at - from.at
	res.Seconds = took.Seconds()
	res.ServerShare = 100 * float64(to.server-from.server) / float64(took)
	ours := to.server - from.server + to.peer - from.peer + to.own - from.own
	res.Others = max(0, float64(to.busy-from.busy-ours)/float64(took))
	res.Count = e.hist.Count()
	if res.Count == 0 {
		return nil
	}
	n := float64(res.Count)
	res.Rate = n / took.Seconds()
	res.P50, res.P99, res.Max = micros(e.hist.Quantile(0.5)), micros(e.hist.Quantile(0.99)), micros(e.hist.Max())
	res.Server = micros(to.server-from.server) / n
	res.Peer = micros(to.peer-from.peer) / n
	res.Own = micros(to.own-from.own) / n
	return nil
}
