package web_test

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		hello(w, r)
	})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The name server gives out a private address for a name of the world; what
	// counts is where the connection goes.
	names := nameServer(t, func(name string) netip.Addr {
		switch name {
		case "six.example.test":
			return netip.MustParseAddr("::ffff:127.0.0.1")
		case "nat.example.test":
			return netip.MustParseAddr("64:ff9b::7f00:1")
		case "zero.example.test":
			return netip.MustParseAddr("0.0.0.0")
		case "cloud.example.test":
			return netip.MustParseAddr("169.254.169.254")
		default:
			return netip.MustParseAddr("127.0.0.1")
		}
	})
	for _, name := range []string{"127.0.0.1", "localhost", "a.example.test", "six.example.test", "nat.example.test", "zero.example.test", "cloud.example.test"} {
		place := "http://" + name + ":" + u.Port()
		w := start(t, web.Settings{Resolver: names, Allow: []web.Entry{{URL: place}}})
		_, err := get(t, w, place+"/x", "")
		e := fails(t, err, message.CodeForbidden)
		if !strings.Contains(e.Hint, `"private"`) {
			t.Errorf("%s: the hint is %q", name, e.Hint)
		}
		_, _, err = do(t, w, "GET", place+"/x", nil, nil)
		fails(t, err, message.CodeForbidden)
	}
	if asked.Load() != 0 {
		t.Fatalf("the server was asked %d times", asked.Load())
	}
	place := "http://a.example.test:" + u.Port()
	w := start(t, web.Settings{Resolver: names, Allow: []web.Entry{{URL: place, Private: true}, {URL: "http://zero.example.test:" + u.Port(), Private: true}}})
	if got, err := get(t, w, place+"/x", ""); err != nil || string(got.Body) != "hello" {
		t.Errorf("got %s, %v", got.Body, err)
	}
	_, err = get(t, w, "http://zero.example.test:"+u.Port()+"/x", "")
	fails(t, err, message.CodeForbidden)
}

func TestSharedConnections(t *testing.T) {
	t.Parallel()
	s := serve(t, hello)
	// Two entries for one host: the connections of the one are not for the other.
	w := start(t, web.Settings{Allow: []web.Entry{{URL: s.URL + "/open", Private: true}, {URL: s.URL + "/shut"}}})
	for range 3 {
		if _, err := get(t, w, s.URL+"/open", ""); err != nil {
			t.Fatal(err)
		}
		_, err := get(t, w, s.URL+"/shut", "")
		fails(t, err, message.CodeForbidden)
	}
}

func TestRebinding(t *testing.T) {
	t.Parallel()
	s := serve(t, hello)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The first answer is a public address at which there is nobody, those after
	// it are private.
	var n atomic.Int32
	names := nameServer(t, func(string) netip.Addr {
		if n.Add(1) <= 2 {
			return netip.MustParseAddr("192.0.2.1")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	place := "http://a.example.test:" + u.Port()
	w := start(t, web.Settings{Resolver: names, Allow: []web.Entry{{URL: place}}, Timeout: duration.Duration(5 * time.Second)})
	for range 5 {
		_, err := get(t, w, place+"/x", "")
		fails(t, err, message.CodeForbidden)
	}
}

// redirects is a server that redirects to where the query says, with the status
// that the path says.
func redirects(t *testing.T) *httptest.Server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		to := r.URL.Query().Get("to")
		if to == "" {
			b, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, b, r.Header.Get("X-Key"), r.Header.Get("Authorization"))
			return
		}
		status := 0
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("Location", to)
		w.WriteHeader(status)
	})
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	first, second := redirects(t), redirects(t)
	a, b := near(first), near(second)
	a.Methods, b.Methods = []string{"GET", "POST"}, []string{"GET", "POST"}
	a.Headers = map[string]string{"X-Key": "hunter2"}
	w := start(t, web.Settings{Allow: []web.Entry{a, b}})
	mine := http.Header{"Authorization": {"mine"}, "Content-Type": {"text/plain"}}
	for _, c := range []struct {
		method string
		status int
		to     string
		want   string
	}{
		{"GET", 302, "/x", "GET  hunter2 mine"},
		{"GET", 301, second.URL + "/x", "GET  "},
		{"POST", 303, "/x", "GET  hunter2 mine"},
		{"POST", 302, "/x", "GET  hunter2 mine"},
		{"POST", 307, "/x", "POST body hunter2 mine"},
		{"POST", 308, second.URL, "POST body "},
	} {
		var body io.Reader
		if c.method == "POST" {
			body = strings.NewReader("body")
		}
		_, got, err := do(t, w, c.method, fmt.Sprintf("%s/%d?to=%s", first.URL, c.status, url.QueryEscape(c.to)), mine, body)
		if err != nil || strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%s %d to %s: got %q, %v; want %q", c.method, c.status, c.to, got, err, c.want)
		}
	}
}

func TestRedirectTricks(t *testing.T) {
	t.Parallel()
	s := redirects(t)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	for to, code := range map[string]message.Code{
		"http://other.test/hunter2":            message.CodeForbidden,
		"http://localhost" + port + "/x":       message.CodeForbidden,
		"//localhost" + port + "/hunter2":      message.CodeForbidden,
		"http://127.1" + port + "/":            message.CodeSourceDown,
		"http://2130706433" + port + "/":       message.CodeSourceDown,
		"http://0x7f.0.0.1" + port + "/":       message.CodeSourceDown,
		"http://[::ffff:127.0.0.1]" + port:     message.CodeSourceDown,
		"http://u:hunter2@127.0.0.1" + port:    message.CodeSourceDown,
		"file:///etc/passwd":                   message.CodeSourceDown,
		"javascript:alert(1)":                  message.CodeSourceDown,
		"http://127.0.0.1" + port + "/%2e%2e/": message.CodeSourceDown,
		"http://[":                             message.CodeSourceDown,
	} {
		_, err := get(t, w, s.URL+"/302?to="+url.QueryEscape(to), "")
		e := fails(t, err, code)
		if strings.Contains(e.Message+e.Hint, "other.test") {
			t.Errorf("the error tells where the redirect leads: %v", e)
		}
	}
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	var hops atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n := hops.Add(1); r.URL.Path == "/end" || r.URL.Path == "/five" && n > 5 {
			hello(w, r)
			return
		}
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	})
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	if got, err := get(t, w, s.URL+"/five", ""); err != nil || string(got.Body) != "hello" {
		t.Errorf("five redirects: got %s, %v", got.Body, err)
	}
	hops.Store(0)
	_, err := get(t, w, s.URL+"/loop", "")
	if fails(t, err, message.CodeSourceDown); hops.Load() != 6 {
		t.Errorf("%d requests", hops.Load())
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	plain := serve(t, hello)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, plain.URL, http.StatusFound)
			return
		}
		hello(w, r)
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	w := start(t, web.Settings{Allow: []web.Entry{near(s), near(plain)}, RootCAs: roots})
	if got, err := get(t, w, s.URL+"/x", ""); err != nil || string(got.Body) != "hello" {
		t.Errorf("got %s, %v", got.Body, err)
	}
	_, err := get(t, w, s.URL+"/down", "")
	if e := fails(t, err, message.CodeSourceDown); !strings.Contains(e.Message, "https to http") {
		t.Errorf("got %v", e)
	}
	strict := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	_, err = get(t, strict, s.URL+"/x", "")
	if e := fails(t, err, message.CodeSourceDown); !strings.Contains(e.Message, "certificate") {
		t.Errorf("got %v", e)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	plain := serve(t, hello)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		hello(w, r)
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	entry := near(s)
	entry.Headers = map[string]string{"X-Key": "hunter2"}
	w := start(t, web.Settings{Allow: []web.Entry{entry, near(plain)}, RootCAs: roots})
	var seen int
	client := &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error {
		seen++
		return nil
	}}
	ask := func(to string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/?to="+url.QueryEscape(to), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return client.Do(req)
	}
	res, err := ask("/x")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(b) != "hello" || seen != 1 || res.Request.URL.Path != "/x" || res.Request.Header.Get("X-Key") != "" {
		t.Errorf("got %s, %v; %d redirects; %+v", b, err, seen, res.Request)
	}
	for to, code := range map[string]message.Code{plain.URL: message.CodeSourceDown, "https://other.test/": message.CodeForbidden} {
		res, err := ask(to)
		if err == nil {
			_ = res.Body.Close()
		}
		fails(t, err, code)
	}
}

// packed returns n zeros in gzip.
func packed(t *testing.T, n int) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLimits(t *testing.T) {
	t.Parallel()
	const limit = 1000
	bomb, small, nothing := packed(t, 10<<20), packed(t, limit), packed(t, 0)
	stop := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, limit))
		case "/large":
			_, _ = w.Write(make([]byte, limit+1))
		case "/bomb", "/small":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(map[string][]byte{"/bomb": bomb, "/small": small}[r.URL.Path])
		case "/nothing": // unpacks to nothing, for ever
			w.Header().Set("Content-Encoding", "gzip")
			for range limit {
				_, _ = w.Write(nothing)
			}
		case "/odd":
			w.Header().Set("Content-Encoding", "br")
			hello(w, r)
		case "/broken":
			w.Header().Set("Content-Encoding", "gzip")
			hello(w, r)
		case "/headers":
			w.Header().Set("X-Large", strings.Repeat("x", 100<<10))
		case "/slow":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-stop
		}
	})
	defer close(stop)
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}, MaxBytes: limit})
	for path, code := range map[string]message.Code{
		"/exact": "", "/small": "", "/large": message.CodeLimitExceeded, "/bomb": message.CodeLimitExceeded, "/nothing": message.CodeLimitExceeded,
		"/odd": message.CodeSourceDown, "/broken": message.CodeSourceDown, "/headers": message.CodeSourceDown,
	} {
		got, err := get(t, w, s.URL+path, "")
		if code != "" {
			fails(t, err, code)
		} else if err != nil || len(got.Body) != limit {
			t.Errorf("%s: got %d bytes, %v", path, len(got.Body), err)
		}
	}
	slow := start(t, web.Settings{Allow: []web.Entry{near(s)}, Timeout: duration.Duration(20 * time.Millisecond)})
	_, err := get(t, slow, s.URL+"/slow", "")
	if e := fails(t, err, message.CodeSourceDown); !strings.Contains(e.Message, "20ms") {
		t.Errorf("got %v", e)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(hello))
	place := s.URL
	s.Close()
	names := nameServer(t, func(string) netip.Addr { return netip.Addr{} })
	w := start(t, web.Settings{Allow: []web.Entry{{URL: place, Private: true}, {URL: "http://no.example.test"}}, Resolver: names})
	_, err := get(t, w, place+"/x", "")
	if e := fails(t, err, message.CodeSourceDown); !e.Retryable {
		t.Errorf("got %+v", e)
	}
	_, err = get(t, w, "http://no.example.test/", "")
	if e := fails(t, err, message.CodeSourceDown); !strings.Contains(e.Message, "not found") {
		t.Errorf("got %v", e)
	}
}

func TestDoRefuses(t *testing.T) {
	t.Parallel()
	s := serve(t, hello)
	w := start(t, web.Settings{Allow: []web.Entry{near(s)}})
	_, err := w.Do(t.Context(), &http.Request{})
	fails(t, err, message.CodeInvalidInput)
	_, _, err = do(t, w, "POST", s.URL, nil, strings.NewReader("x"))
	fails(t, err, message.CodeForbidden)
	_, _, err = do(t, w, "CONNECT", s.URL, nil, nil)
	fails(t, err, message.CodeForbidden)
	_, _, err = do(t, w, "GET", s.URL, nil, io.LimitReader(zeros{}, 5<<20))
	fails(t, err, message.CodeLimitExceeded)
	_, _, err = do(t, w, "GET", s.URL, http.Header{"X": {"a\r\nB: c"}}, nil)
	fails(t, err, message.CodeSourceDown)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
