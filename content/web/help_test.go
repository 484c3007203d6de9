package web_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/message"
)

// start makes a Web that ends with the test.
func start(t testing.TB, s web.Settings) *web.Web {
	t.Helper()
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	w, err := web.New(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// serve starts a server on this machine that ends with the test.
func serve(t testing.TB, f http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s
}

// near allows all that a server has.
func near(s *httptest.Server) web.Entry { return web.Entry{URL: s.URL, Private: true} }

// request makes a request for a URL as a node does for an address.
func request(rawURL, params string) (scheme string, r *content.Request) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	rest, query, _ := strings.Cut(rest, "?")
	r = contenttest.Request("/" + strings.TrimSuffix(rest, "/"))
	r.Dir, r.Query = strings.HasSuffix(rest, "/"), query
	if params != "" {
		r.Params = []byte(params)
	}
	return scheme, r
}

func open(t testing.TB, w *web.Web, rawURL, params string) (content.Resource, error) {
	t.Helper()
	scheme, r := request(rawURL, params)
	return w.Scheme(scheme).Open(t.Context(), r)
}

func get(t testing.TB, w *web.Web, rawURL, params string) (content.Content, error) {
	t.Helper()
	res, err := open(t, w, rawURL, params)
	if err != nil {
		return content.Content{}, err
	}
	return res.Get(t.Context())
}

// fails checks that an error has a code, a text, a hint, and nothing secret.
func fails(t testing.TB, err error, code message.Code) *message.Error {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want the code %s", err, code)
	}
	if e.Message == "" || e.Hint == "" || strings.Contains(string(message.AppendError(nil, e)), "hunter2") {
		t.Fatalf("the error is %s", message.AppendError(nil, e))
	}
	return e
}

// do has a Web carry out a request and reads the answer.
func do(t testing.TB, w *web.Web, method, rawURL string, header http.Header, body io.Reader) (int, string, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{Method: method, URL: u, Header: header}
	if body != nil {
		req.Body = io.NopCloser(body)
	}
	res, err := w.Do(t.Context(), req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// nameServer answers for every name what f says, over UDP.
func nameServer(t testing.TB, f func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(dnsAnswer(buf[:n], f), from)
		}
	}()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", pc.LocalAddr().String())
	}}
}

// dnsAnswer answers a query for an address of one name.
func dnsAnswer(q []byte, f func(name string) netip.Addr) []byte {
	end, labels := 12, []string{}
	for q[end] != 0 {
		n := int(q[end])
		labels = append(labels, string(q[end+1:end+1+n]))
		end += n + 1
	}
	question := q[12 : end+5]
	kind := binary.BigEndian.Uint16(q[end+1:])
	ip := f(strings.Join(labels, "."))
	is := uint16(1)
	if ip.Is6() {
		is = 28
	}
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if ip.IsValid() && kind == is {
		out[7] = 1
		out = append(out, 0xc0, 12, 0, byte(is), 0, 1, 0, 0, 0, 0, 0, byte(len(ip.AsSlice())))
		out = append(out, ip.AsSlice()...)
	}
	return out
}
