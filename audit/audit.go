// Package audit keeps the audit log of a node: who was refused what, who logged
// in, who changed permissions, middleware and configuration. Its lines are JSON,
// in a file that is rotated by size, in the node's log, or in both.
//
//	log, err := audit.New(cfg, audit.Env{Logger: logger, Metrics: audit.NewMetrics(registry), Node: "shop-1"})
//	log.Record(audit.Event{Kind: audit.KindAccess, Outcome: audit.Refused, Verb: "serve", Address: "math:/mul", Rule: "default"})
//
// Whoever records never waits: events wait in a bounded queue, and those for
// which there is no room are counted. Refusals of the same kind to the same one
// are written once and then counted, and the count is written once a minute, so
// that nobody can fill the disk, or push out what is older, by being refused. A
// disk that is full costs events and not the node.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
)

// Log is an audit log. All methods may be called from any goroutine, and on a
// nil *Log, which is a log that keeps nothing. Make one with [New].
type Log struct {
	node    string
	window  time.Duration
	metrics *Metrics
	queue   chan Event
	lane    *lane.Lane
	closed  atomic.Bool
	full    atomic.Int64 // events that found no room, since that was written
	out     writer       // of the goroutine that writes

	mu    sync.Mutex
	folds map[foldKey]*fold
}

// Env is what an audit log gets from its node. Every field may be left out.
type Env struct {
	// Logger is told of what goes wrong, and of the events if [Config.Log] says
	// so. Default: [slog.Default].
	Logger *slog.Logger
	// Metrics count. Default: nobody sees them.
	Metrics *Metrics
	// Node is the name of the node, in each line.
	Node string
}

// foldKey is what refusals have in common that are counted together. The
// address is not part of it: who tries many is one who tries.
type foldKey struct {
	kind    Kind
	verb    string
	rule    string
	code    string
	subject string
	ip      netip.Prefix // invalid: not known
}

// fold is how often a refusal happened since it was written.
type fold struct {
	ends  time.Time // when the count is written
	first time.Time
	last  Event
	count int
}

// maxFolds bounds who is counted alone; others are counted together.
const maxFolds = 4096

// New opens the file and begins to write; with a Config that is off it returns
// nil, which is a log too. Errors are those of [Config.Validate], or say that
// the file cannot be opened, with Path "file".
func New(cfg Config, env Env) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Off() {
		return nil, nil //nolint:nilnil // a log that keeps nothing
	}
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	if env.Metrics == nil {
		env.Metrics = NewMetrics(nil)
	}
	l := &Log{
		node: env.Node, window: cfg.Fold.Or(DefaultFold), metrics: env.Metrics,
		queue: make(chan Event, or(cfg.Queue, DefaultQueue)), folds: make(map[foldKey]*fold),
		lane: lane.New(context.Background(), env.Logger),
		out:  writer{log: env.Logger, lost: env.Metrics.dropped.WithLabelValues(reasonWrite), tell: cfg.Log},
	}
	if cfg.File != "" {
		f, err := openFile(cfg.File, or(cfg.MaxSize, DefaultMaxSize), or(cfg.Keep, DefaultKeep))
		if err != nil {
			return nil, invalid("file", "the audit log cannot be opened: "+err.Error(),
				"Name a file in a directory that is there and that the node may write to.")
		}
		l.out.file = f
	}
	l.lane.Go("audit", l.run)
	return l, nil
}

// Record notes an event. It never waits: an event for which there is no room is
// counted and dropped. After [Log.Close] it does nothing.
func (l *Log) Record(e Event) {
	if l == nil || l.closed.Load() {
		return
	}
	l.metrics.events.WithLabelValues(kindLabel(e.Kind), outcomeLabel(e.Outcome)).Inc()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Node = l.node
	e.trim()
	if e.Outcome == Refused && l.fold(&e) {
		l.metrics.folded.Inc()
		return
	}
	l.put(e)
}

// put hands an event to the goroutine that writes.
func (l *Log) put(e Event) {
	select {
	case l.queue <- e:
	default:
		l.full.Add(1)
		l.metrics.dropped.WithLabelValues(reasonQueue).Inc()
	}
}

// fold counts a refusal if one like it was written a short while ago.
func (l *Log) fold(e *Event) bool {
	key := foldKey{kind: e.Kind, verb: e.Verb, rule: e.Rule, code: string(e.Code), subject: e.Who.Subject, ip: network(e.Who.IP)}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.folds[key]
	if f == nil && len(l.folds) >= maxFolds {
		key = foldKey{kind: e.Kind}
		f = l.folds[key]
	}
	if f == nil {
		l.folds[key] = &fold{ends: e.Time.Add(l.window)}
		return false
	}
	if f.count == 0 {
		f.first = e.Time
	}
	f.count++
	f.last = *e
	return true
}

// unfold returns the counts whose time is over by now; those that have counted
// nothing are forgotten.
func (l *Log) unfold(now time.Time, all bool) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Event //nolint:prealloc // most have counted nothing
	for key, f := range l.folds {
		switch {
		case !all && now.Before(f.ends):
			continue
		case f.count == 0:
			delete(l.folds, key)
			continue
		}
		e := f.last
		e.Count, e.Since = f.count, f.first
		out = append(out, e)
		f.count, f.ends = 0, now.Add(l.window)
	}
	return out
}

// sweeps is how often within a window counts are written.
const sweeps = 4

// run writes until the lane ends, and then what is left.
func (l *Log) run(ctx context.Context) {
	ticker := time.NewTicker(max(l.window/sweeps, time.Millisecond))
	defer ticker.Stop()
	defer l.out.close()
	for {
		select {
		case e := <-l.queue:
			l.write(e)
		case now := <-ticker.C:
			l.sweep(now, false)
			l.out.look()
		case <-ctx.Done():
			l.rest()
			return
		}
		if len(l.queue) == 0 {
			l.out.flush()
		}
	}
}

// rest writes what is in the queue and what was counted.
func (l *Log) rest() {
	for {
		select {
		case e := <-l.queue:
			l.write(e)
		default:
			l.sweep(time.Now(), true)
			return
		}
	}
}

func (l *Log) sweep(now time.Time, all bool) {
	for _, e := range l.unfold(now, all) {
		l.write(e)
	}
	l.noteDropped(now)
}

func (l *Log) write(e Event) {
	l.noteDropped(e.Time)
	e.clean()
	l.out.write(&e)
}

// noteDropped writes that the log is not whole.
func (l *Log) noteDropped(now time.Time) {
	if n := l.full.Swap(0); n > 0 {
		l.out.write(&Event{
			Time: now, Kind: KindAudit, Outcome: Failed, Node: l.node, Count: int(n),
			Detail: "so many events are missing here: more came than could be written",
		})
	}
}

// Close writes what waits and closes the file, or gives up when ctx ends. It may
// be called more than once.
func (l *Log) Close(ctx context.Context) error {
	if l == nil || l.closed.Swap(true) {
		return nil
	}
	l.lane.Cancel()
	if err := l.lane.Wait(ctx); err != nil {
		return errors.Join(errors.New("the audit log could not be written to its end"), err)
	}
	return nil
}

// network is what stands for one who comes from ip: those who have one IPv6
// address have 2 to the 64 of them.
func network(ip string) netip.Prefix {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // they are in range
	return p
}

// hostOf takes the port from HOST:PORT.
func hostOf(s string) string {
	if strings.Count(s, ":") != 1 && !strings.HasPrefix(s, "[") {
		return s // no port, or an IPv6 address
	}
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return s
}

// kindLabel bounds the values of a label.
func kindLabel(k Kind) string {
	switch k {
	case KindAccess, KindLogin, KindLogout, KindSession, KindPermissions, KindMiddleware, KindConfig, KindNode, KindAudit:
		return string(k)
	}
	return "other"
}

func outcomeLabel(o Outcome) string {
	switch o {
	case Done, Refused, Failed:
		return string(o)
	}
	return "other"
}
