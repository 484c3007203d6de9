package ws_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	// RFC 6455 section 1.3.
	if got, want := ws.Accept([]byte("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("Accept = %s, want %s", got, want)
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	req := ws.Request("127.0.0.1:1", "/x", "a.b")
	if out, n, err := ws.Upgrade(nil, req[:len(req)-1], "a.b"); out != nil || n != 0 || err != nil {
		t.Fatalf("Upgrade of a part = %q, %d, %v", out, n, err)
	}
	res, n, err := ws.Upgrade(nil, append(req, "rest"...), "a.b")
	if err != nil || n != len(req) {
		t.Fatalf("Upgrade = %d, %v; want %d", n, err, len(req))
	}
	if !strings.Contains(string(res), "Sec-WebSocket-Protocol: a.b\r\n") {
		t.Errorf("no sub-protocol in %q", res)
	}
	if n, err := ws.Response(res[:len(res)-2]); n != 0 || err != nil {
		t.Errorf("Response of a part = %d, %v", n, err)
	}
	if n, err := ws.Response(append(res, 0x82, 0)); n != len(res) || err != nil {
		t.Errorf("Response = %d, %v; want %d", n, err, len(res))
	}
}

func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", ws.MaxHead+1)
	for name, tc := range map[string]struct {
		res  string
		want error
	}{
		"not 101":      {"HTTP/1.1 400 Bad Request\r\n\r\n", ws.ErrRefused},
		"wrong accept": {"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n", ws.ErrRefused},
		"no accept":    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", ws.ErrRefused},
		"endless":      {long, ws.ErrHead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n, err := ws.Response([]byte(tc.res)); n != 0 || !errors.Is(err, tc.want) {
				t.Errorf("Response = %d, %v; want %v", n, err, tc.want)
			}
		})
	}
	if _, _, err := ws.Upgrade(nil, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ""); !errors.Is(err, ws.ErrNoKey) {
		t.Errorf("Upgrade without a key = %v", err)
	}
	if _, _, err := ws.Upgrade(nil, []byte(long), ""); !errors.Is(err, ws.ErrHead) {
		t.Errorf("Upgrade of an endless head = %v", err)
	}
}

// TestRequestIsHTTP lets the standard library read what we write by hand.
func TestRequestIsHTTP(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x" || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Protocol") != "p" {
			t.Errorf("request arrived as %+v", r)
		}
	}))
	defer server.Close()
	raw := ws.Request("host", "/x", "p")
	if strings.Count(string(raw), "\r\n") != 8 || !strings.HasSuffix(string(raw), "\r\n\r\n") {
		t.Errorf("request is %q", raw)
	}
	roundTrip(t, server.Listener.Addr().String(), raw)
}

func roundTrip(t *testing.T, addr string, raw []byte) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %s", res.Status)
	}
}
