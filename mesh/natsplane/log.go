package natsplane

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

const (
	// logEach is how often the same thing is logged about the same host: a node
	// that is refused comes back each second.
	logEach = time.Minute
	// logKeys bounds what is remembered of that.
	logKeys = 1000
)

// serverLog puts what the NATS server inside has to say into our words. Much of
// what it logs is of no use to somebody who does not know that it is there.
type serverLog struct {
	log   *slog.Logger
	fatal chan error // why the server could not start

	mu   sync.Mutex
	last map[string]time.Time
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log, fatal: make(chan error, 1), last: make(map[string]time.Time)}
}

// meaning is what a line of the server's log means to us, by a part of it.
var meaning = []struct{ part, text string }{
	{"authentication error", "a node was refused: it has another secret; all nodes of a mesh need the same one"},
	{"authentication timeout", "a connection was closed: it did not say that it is a node"},
	{"Authorization Violation", "a node refused this one: it has another secret; all nodes of a mesh need the same one"},
	{"Cluster Name Conflict", "a node of a mesh with another name was turned away; all nodes of a mesh need the same name"},
	{"cluster name", "a node of a mesh with another name was turned away; all nodes of a mesh need the same name"},
	{"TLS route handshake error", "TLS with another node failed; all nodes need TLS, and certificates of one authority"},
	{"Error trying to connect to route", "a node to join cannot be reached; it is tried again each second"},
	{"attempted to connect to route port", "a NATS client was turned away: the port is for nodes of the mesh only"},
	{"no metadata leader", "nothing can be kept: half of the nodes that have a store, or more, are away"},
	{"account missing", "some nodes of the mesh have a store and others have none; set mesh.store on all of them or on none"},
	{"NO quorum", "nothing can be kept: half of the nodes that have a store, or more, are away"},
	{"Slow Consumer", "a connection does not take what is sent over it"},
}

// silent are lines of the server's log that mean nothing.
var silent = []string{
	"will not be verified", // it is, by tlsConfig
	"Waiting for routing to be established",
	"failed to be ready for connections", // for clients; see noPort
}

// Noticef implements server.Logger.
func (l *serverLog) Noticef(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "Cluster Name Conflict") || strings.Contains(text, "Slow Consumer") {
		l.say(text)
		return
	}
	l.log.Debug("nats", slog.String("text", text))
}

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.say(fmt.Sprintf(format, v...)) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, v ...any) { l.say(fmt.Sprintf(format, v...)) }

// Fatalf implements server.Logger. The server goes on after it.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "listening on port") { // for clients; see noPort
		l.log.Debug("nats", slog.String("text", text))
		return
	}
	err := errors.New(text)
	for _, x := range v {
		if e, ok := x.(error); ok {
			err = e
		}
	}
	select {
	case l.fatal <- err:
	default:
	}
}

// Debugf implements server.Logger.
func (*serverLog) Debugf(string, ...any) {}

// Tracef implements server.Logger.
func (*serverLog) Tracef(string, ...any) {}

// say warns of what text means, unless it did a moment ago.
func (l *serverLog) say(text string) {
	for _, s := range silent {
		if strings.Contains(text, s) {
			return
		}
	}
	msg, host := "the NATS server inside warns", ""
	// "10.0.0.5:4248 - rid:7 - what happened"
	peer, what, ok := strings.Cut(text, " - rid:")
	if ok {
		_, what, _ = strings.Cut(what, " - ")
		host, _, _ = net.SplitHostPort(peer)
	} else {
		peer, what = "", text
	}
	for _, m := range meaning {
		if strings.Contains(what, m.part) {
			msg = m.text
			break
		}
	}
	key := msg + host
	if !ok {
		key = msg + what
	}
	if !l.fresh(key, time.Now()) {
		return
	}
	attrs := []any{slog.String("err", what)}
	if peer != "" {
		attrs = append(attrs, slog.String("peer", peer))
	}
	l.log.Warn(msg, attrs...) //nolint:sloglint // msg is one of the texts of meaning
}

// fresh tells whether a key was not seen for a while.
func (l *serverLog) fresh(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last[key]; ok && now.Sub(last) < logEach {
		return false
	}
	if len(l.last) >= logKeys {
		clear(l.last)
	}
	l.last[key] = now
	return true
}

var _ natsserver.Logger = (*serverLog)(nil)
