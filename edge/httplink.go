package edge

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

// streamBeat is how often a stream without messages shows that it lives.
const streamBeat = 15 * time.Second

// beat is streamBeat, or less if connections are given up earlier than that.
func (l *Limits) beat() time.Duration {
	if l.Unread > 0 {
		return min(streamBeat, max(l.Unread/2, time.Millisecond))
	}
	return streamBeat
}

// httpLink is a connection over HTTP requests: those that send bring input, and
// a stream or one poll after another takes output away. Whoever holds input is
// the connection's owner.
type httpLink struct {
	conn   *Conn
	secret string

	input sync.Mutex
	seq   uint64 // of the last batch that was taken

	ready chan struct{} // there may be something to send
	gone  chan struct{} // closed when the connection is dead

	// Guarded by conn.mu.
	readers int  // streams and polls
	beating bool // the stream is writing a sign of life
	stream  *http.ResponseController

	// reading is held by the one stream or poll. Guarded by it:
	reading chan struct{}
	batch   uint64
	unacked []byte // the last batch, as long as it was not acknowledged

	replace chan struct{} // has a waiting poll give way to a newer one
}

func newHTTPLink(c *Conn) *httpLink {
	return &httpLink{
		conn:    c,
		secret:  rand.Text(),
		ready:   make(chan struct{}, 1),
		gone:    make(chan struct{}),
		reading: make(chan struct{}, 1),
		replace: make(chan struct{}),
	}
}

// token names node and connection, and proves that the bearer made it.
func (l *httpLink) token() string {
	return base64.RawURLEncoding.EncodeToString([]byte(l.conn.srv.cfg.NodeID)) + "." + l.conn.id + "." + l.secret
}

// find returns the link of a token. ok tells whether the token has the right form at
// all; the link is nil when there is no such connection here, or the secret is
// wrong, which looks the same from outside.
func (w *web) find(token string) (l *httpLink, ok bool) {
	_, rest, found1 := strings.Cut(token, ".")
	id, secret, found2 := strings.Cut(rest, ".")
	if !found1 || !found2 || id == "" || secret == "" {
		return nil, false
	}
	w.mu.Lock()
	l = w.links[id]
	w.mu.Unlock()
	if l == nil || subtle.ConstantTimeCompare([]byte(l.secret), []byte(secret)) != 1 {
		return nil, true
	}
	return l, true
}

// flush implements [link]: it wakes the stream or poll.
func (l *httpLink) flush(*Conn, *scratch) {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// nudge implements [link].
func (l *httpLink) nudge(c *Conn) {
	l.flush(c, nil)
	c.srv.lane.Do(func(context.Context) {
		l.input.Lock()
		defer l.input.Unlock()
		c.settle()
	})
}

// wait implements [link]; writes to a response block.
func (l *httpLink) wait(*Conn) {}

// halfClose implements [link]; a response ends by itself.
func (l *httpLink) halfClose(*Conn) {}

// leave implements [link]. It wakes a write that is blocked; a stream that has
// written everything is left to end its response in order.
func (l *httpLink) leave(c *Conn) {
	w := c.srv.web
	w.mu.Lock()
	delete(w.links, c.id)
	w.mu.Unlock()
	close(l.gone)
	if l.stream != nil && (c.writing || l.beating) {
		_ = l.stream.SetWriteDeadline(past)
	}
}

// release implements [link]; net/http has the socket.
func (l *httpLink) release(*Conn) {}

// startReading is called by a stream or poll that begins. The time-out for a
// connection that nobody reads stops meanwhile.
func (l *httpLink) startReading(stream *http.ResponseController) {
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	l.readers++
	l.stream = stream
	if state(c.state.Load()) == stateOpen {
		c.srv.wheel.Stop(&c.timer)
	}
}

// stopReading undoes startReading.
func (l *httpLink) stopReading() {
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	l.readers--
	l.stream = nil
	if l.readers == 0 && state(c.state.Load()) == stateOpen {
		c.startUnread()
	}
}

// startUnread is called with mu held when nobody reads a connection over HTTP.
func (c *Conn) startUnread() {
	if d := c.srv.cfg.Limits.Unread; d > 0 {
		c.srv.wheel.Reset(&c.timer, d)
	}
}

// writeDeadline bounds how long the next write of an answer may take.
func (l *httpLink) writeDeadline(rc *http.ResponseController) {
	if d := l.conn.srv.cfg.Limits.Unread; d > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(d))
	}
}

// streamed reports whether there is a stream.
func (l *httpLink) streamed() bool {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	return l.stream != nil
}

// take encodes what is pending into w; done has to follow if it returns true.
func (l *httpLink) take(w *scratch) bool {
	if !l.conn.take(w) {
		return false
	}
	w.encodeBatch()
	return true
}

// over reports whether the connection will send nothing more.
func (l *httpLink) over() bool {
	select {
	case <-l.gone:
		return true
	default:
	}
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	return state(c.state.Load()) == stateClosing && len(c.pending) == 0 || c.kill
}

// become changes the transport that the connection is counted under.
func (l *httpLink) become(t transport) {
	l.input.Lock()
	defer l.input.Unlock()
	c := l.conn
	if old := c.via(); old != t && !c.notified {
		c.lis.open[old].Dec()
		c.lis.open[t].Inc()
		c.transport.Store(uint32(t))
	}
}

var _ link = (*httpLink)(nil)
