package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

const (
	subprotocolSplit = "ropewalk.v1.split"
	subprotocolJSON  = "ropewalk.v1.json"
)

// wsTransport is a WebSocket.
type wsTransport struct {
	ws   *websocket.Conn
	cork *cork // nil if the HTTP client brings a transport of its own kind
	kind websocket.MessageType
	last atomic.Int64 // when something was heard, in Unix nanoseconds

	buf []byte // of read
}

// dialWebSocket makes the handshake. The response is given for its status and
// body if it was refused; see [websocket.Dial].
func dialWebSocket(ctx context.Context, u *url.URL, cfg *config) (*wsTransport, *http.Response, error) {
	t := &wsTransport{kind: websocket.MessageBinary}
	protocol := subprotocolSplit
	if cfg.json {
		t.kind, protocol = websocket.MessageText, subprotocolJSON
	}
	h := httpClient(cfg)
	release := t.wrap(h)
	mode := websocket.CompressionDisabled
	if cfg.compress {
		mode = websocket.CompressionNoContextTakeover
	}
	ws, res, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{
		HTTPClient:      h,
		HTTPHeader:      cfg.header,
		Subprotocols:    []string{protocol},
		CompressionMode: mode,
		OnPingReceived: func(context.Context, []byte) bool {
			t.hear()
			return true
		},
	})
	release()
	if err != nil {
		return nil, res, err
	}
	if got := ws.Subprotocol(); got != protocol {
		_ = ws.CloseNow()
		return nil, nil, errors.New("the server does not speak " + protocol)
	}
	ws.SetReadLimit(int64(cfg.readLimit))
	t.ws = ws
	t.hear()
	return t, res, nil
}

// wrap puts a cork on the connection that h is going to make. The function
// returned frees what is not needed after the handshake.
func (t *wsTransport) wrap(h *http.Client) func() {
	base, ok := h.Transport.(*http.Transport)
	if !ok {
		return func() {}
	}
	base = base.Clone()
	dial := base.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t.cork = &cork{Conn: conn}
		return t.cork, nil
	}
	h.Transport = base
	return base.CloseIdleConnections
}

func (t *wsTransport) hear() { t.last.Store(time.Now().UnixNano()) }

func (t *wsTransport) name() string     { return transportWebSocket }
func (t *wsTransport) heard() time.Time { return time.Unix(0, t.last.Load()) }

func (t *wsTransport) read() ([]byte, error) {
	_, r, err := t.ws.Reader(context.Background()) // kill ends it
	if err != nil {
		return nil, wsError(err)
	}
	t.hear()
	if cap(t.buf) > keepBuffer {
		t.buf = nil
	}
	t.buf = t.buf[:0]
	for {
		if len(t.buf) == cap(t.buf) {
			t.buf = append(t.buf, 0)[:len(t.buf)]
		}
		n, err := r.Read(t.buf[len(t.buf):cap(t.buf)])
		t.buf = t.buf[:len(t.buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return t.buf, nil
		case err != nil:
			return nil, wsError(err)
		}
	}
}

func (t *wsTransport) write(frames [][]byte) (int, error) {
	ctx := context.Background() // kill ends it
	if t.cork == nil || len(frames) < 2 {
		for i, f := range frames {
			if err := t.ws.Write(ctx, t.kind, f); err != nil {
				return i + 1, wsError(err)
			}
		}
		return len(frames), nil
	}
	t.cork.hold()
	var err error
	for _, f := range frames {
		if err = t.ws.Write(ctx, t.kind, f); err != nil {
			break
		}
	}
	if flushErr := t.cork.flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		err = wsError(err)
	}
	return len(frames), err
}

func (t *wsTransport) ping(ctx context.Context) error {
	if err := t.ws.Ping(ctx); err != nil {
		return err
	}
	t.hear()
	return nil
}

func (t *wsTransport) close(code int, reason string) {
	_ = t.ws.Close(websocket.StatusCode(code), reason)
}

// kill closes the socket itself first, since CloseNow waits for a Close that
// is going on.
func (t *wsTransport) kill() {
	if t.cork != nil {
		_ = t.cork.Conn.Close()
	}
	_ = t.ws.CloseNow()
}

// wsError keeps what a close frame said.
func wsError(err error) error {
	d := &dropped{cause: err}
	if ce := (websocket.CloseError{}); errors.As(err, &ce) {
		d.code, d.reason = int(ce.Code), ce.Reason
		if ce.Code == websocket.StatusNoStatusRcvd || ce.Code == websocket.StatusAbnormalClosure {
			d.code = 0
		}
	}
	return d
}

// cork is a connection that can hold back what is written, so that several
// frames leave with one system call.
type cork struct {
	net.Conn

	mu      sync.Mutex
	holding bool
	buf     []byte
	err     error
}

// corkSize is how much is held back at most: more does not make system calls
// cheaper.
const corkSize = 64 << 10

// Write implements net.Conn.
func (c *cork) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.holding {
		return c.Conn.Write(p)
	}
	c.buf = append(c.buf, p...)
	if len(c.buf) >= corkSize {
		c.push()
	}
	return len(p), c.err
}

// hold keeps what is written from now on until flush.
func (c *cork) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = true
}

// flush writes what was held back.
func (c *cork) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = false
	c.push()
	return c.err
}

func (c *cork) push() {
	if len(c.buf) > 0 && c.err == nil {
		_, c.err = c.Conn.Write(c.buf)
	}
	c.buf = c.buf[:0]
}
