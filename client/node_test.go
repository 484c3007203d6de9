package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// startNode runs a real node and returns it with its address.
func startNode(t *testing.T, address string, change ...func(*ropewalk.Config)) (*ropewalk.Node, string) {
	t.Helper()
	cfg := ropewalk.Config{
		Name:      "test",
		Listeners: map[string]ropewalk.Listener{"main": {Address: address}},
		Allow:     ropewalk.AllowAll,
		Logger:    quiet,
		Services:  map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}},
		Topics: map[string]route.Topic{
			"state:/**": {}, "log:/**": {Events: true, Publisher: true, History: route.History{Count: 100_000, Bytes: 64 << 20}},
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	n, err := ropewalk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNode(t, n) })
	return n, n.Addrs()["main"].String()
}

func stopNode(t *testing.T, n *ropewalk.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("shut down: %v", err)
	}
}

// join connects to a real node.
func join(t *testing.T, address string, opts ...client.Option) *client.Client {
	t.Helper()
	opts = append([]client.Option{client.WithLogger(quiet), client.WithBackoff(time.Millisecond, 50*time.Millisecond)}, opts...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.Dial(ctx, "ws://"+address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// kinds are the ways to connect that all have to do the same.
var kinds = map[string][]client.Option{
	"websocket":      nil,
	"websocket json": {client.WithJSON()},
	"stream":         {client.WithTransports("stream")},
	"stream json":    {client.WithTransports("stream"), client.WithJSON()},
	"poll":           {client.WithTransports("poll")},
}

// reportService sends parts until it is done or canceled.
func reportService(canceled chan<- error) *service.Service {
	svc := service.New("report")
	svc.HandleFunc("/long", func(ctx context.Context, req *route.Request, res route.Responder) {
		var steps int
		_ = call.Decode(req.Message.Body, "", &steps)
		for i := range steps {
			if res.Part(route.JSON(fmt.Append(nil, i+1))) != nil {
				return
			}
		}
		if steps == 0 {
			_ = res.Part(route.JSON([]byte(`"started"`)))
			<-ctx.Done()
			canceled <- context.Cause(ctx)
			_ = res.Fail(ctx.Err())
			return
		}
		_ = res.Reply(route.JSON([]byte(`"done"`)))
	})
	return svc
}

func TestNodeAllTransports(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := startNode(t, "127.0.0.1:0")
			asker, server := join(t, addr, opts...), join(t, addr, opts...)
			if want, _, _ := strings.Cut(name, " "); asker.Transport() != want {
				t.Fatalf("connected by %s", asker.Transport())
			}
			canceled := make(chan error, 1)
			for _, svc := range []*service.Service{mathService(), reportService(canceled)} {
				if err := server.Serve(t.Context(), svc); err != nil {
					t.Fatal(err)
				}
			}
			nodeCalls(t, asker, server)
			nodeStreams(t, asker, canceled)
			nodeSends(t, asker, server)
		})
	}
}

func nodeCalls(t *testing.T, asker, server *client.Client) {
	t.Helper()
	n, err := call.Do[float64](t.Context(), asker, "math:/mul", pair{2, 5})
	if err != nil || n != 10 {
		t.Fatal(n, err)
	}
	a, err := asker.Call(t.Context(), "math:/mul", pair{2, 5})
	if err != nil {
		t.Fatal(err)
	}
	if a.From != server.ID()+"@math:/" {
		t.Fatalf("the answer came from %s", a.From)
	}
	_, err = asker.Call(t.Context(), "math:/mul", map[string]string{"a": "x"})
	wantCode(t, err, message.CodeInvalidInput)
	_, err = asker.Call(t.Context(), "maths:/mul", nil)
	wantCode(t, err, message.CodeNoService)
	blob := make([]byte, 300_000)
	for i := range blob {
		blob[i] = byte(i)
	}
	a, err = asker.Call(t.Context(), "echo:/", blob)
	if err != nil {
		t.Fatal("echo of bytes:", err)
	}
	if a.ContentType != call.Octets || string(a.Body) != string(blob) {
		t.Fatalf("echo of bytes: %d bytes of %s", len(a.Body), a.ContentType)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if got, err := call.Do[int](t.Context(), asker, "echo:/", i); err != nil || got != i {
				t.Errorf("echo of %d is %d, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	g, err := asker.Gather(t.Context(), "math:/*", pair{3, 5})
	if err != nil || len(g.Answers) != 1 || string(g.Answers[0].Body) != "15" || g.Answers[0].ID != server.ID() {
		t.Fatalf("%+v, %v", g, err)
	}
}

func nodeStreams(t *testing.T, asker *client.Client, canceled <-chan error) {
	t.Helper()
	st := call.Streamed[int, string](t.Context(), asker, "report:/long", 20)
	want := 1
	for p, err := range st.Parts() {
		if err != nil || p != want {
			t.Fatal(p, err)
		}
		want++
	}
	if out, err := st.Answer(); err != nil || out != "done" || want != 21 {
		t.Fatal(out, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	raw := asker.Stream(ctx, "report:/long", 0)
	for range raw.Parts() {
		cancel()
	}
	_, err := raw.Answer()
	wantCode(t, err, message.CodeCanceled)
	wantCode(t, recv(t, canceled, "the cancellation at the server"), message.CodeCanceled)
	cancel()
	_, err = asker.Call(t.Context(), "report:/long", 0, call.WithTimeout(50*time.Millisecond))
	wantCode(t, err, message.CodeDeadlineExceeded)
	recv(t, canceled, "the deadline at the server")
}

func nodeSends(t *testing.T, asker, server *client.Client) {
	t.Helper()
	got := make(chan string, 100)
	server.OnSend(func(ctx context.Context, req *route.Request) {
		got <- string(req.Message.Body)
		if req.Message.Ack { // never passed on, so this would be a surprise
			got <- "ack"
		}
		_ = server.Send(ctx, string(req.Message.From), "back")
	})
	back := make(chan string, 100)
	asker.OnSend(func(_ context.Context, req *route.Request) { back <- string(req.Message.Body) })
	for i := range 20 {
		if err := asker.Send(t.Context(), server.ID()+"@client:/", i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		if s := recv(t, got, "a message"); s != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, s)
		}
		recv(t, back, "an answer")
	}
	if err := asker.Send(t.Context(), server.ID()+"@client:/", "acked", call.WithAck()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, asker.Send(t.Context(), "nobody@client:/", "x", call.WithAck()), message.CodeNoClient)
	before := asker.Stats().Refused
	if err := asker.Send(t.Context(), "nobody@client:/", "x"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal", func() bool { return asker.Stats().Refused > before })
}

func TestNodeTakesOverFromALostServer(t *testing.T) {
	t.Parallel()
	_, addr := startNode(t, "127.0.0.1:0")
	asker, second := join(t, addr), join(t, addr)
	first, err := client.Dial(t.Context(), "ws://"+addr, client.WithLogger(quiet), client.WithCloseTimeout(200*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{}, 1)
	slow := func(wait bool) *service.Service {
		svc := service.New("slow")
		svc.HandleFunc("/x", func(ctx context.Context, _ *route.Request, res route.Responder) {
			if wait {
				started <- struct{}{}
				<-ctx.Done()
				_ = res.Fail(ctx.Err())
				return
			}
			_ = res.Reply(route.JSON([]byte(`"second"`)))
		})
		return svc
	}
	if err := errors.Join(first.Serve(t.Context(), slow(true)), second.Serve(t.Context(), slow(false))); err != nil {
		t.Fatal(err)
	}
	got := ask(t.Context(), asker, first.ID()+"@slow:/x", nil)
	recv(t, started, "the call at the first server")
	// The first drains in vain and says so; its call ends with it.
	wantCode(t, first.Close(), message.CodeDeadlineExceeded)
	o := recv(t, got, "the outcome")
	if code := message.CodeOf(o.err); code != message.CodeServiceLost && code != message.CodeShuttingDown {
		t.Fatal(o.err)
	}
	for range 10 {
		if s, err := call.Do[string](t.Context(), asker, "slow:/x", nil); err != nil || s != "second" {
			t.Fatal(s, err)
		}
	}
}

func TestNodeRestart(t *testing.T) {
	t.Parallel()
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, addr := startNode(t, "127.0.0.1:0")
			asker, server := join(t, addr, opts...), join(t, addr, opts...)
			if err := server.Serve(t.Context(), mathService()); err != nil {
				t.Fatal(err)
			}
			stopNode(t, n)
			eventually(t, "both offline", func() bool {
				return asker.State() != client.Online && server.State() != client.Online
			})
			got := ask(t.Context(), asker, "echo:/", 1)
			startNode(t, addr)
			if o := recv(t, got, "the queued call"); o.err != nil || string(o.answer.Body) != "1" {
				t.Fatal(o.err)
			}
			eventually(t, "the service announced again", func() bool {
				f, err := call.Do[float64](t.Context(), asker, "math:/mul", pair{2, 3})
				return err == nil && f == 6
			})
		})
	}
}

// middlebox is a proxy that blocks WebSocket, and streams too if it is told.
type middlebox struct {
	srv        *httptest.Server
	webSockets atomic.Int32
	noStreams  atomic.Bool
	open       atomic.Bool // let WebSocket pass
}

func newMiddlebox(t *testing.T, addr string) *middlebox {
	t.Helper()
	m := new(middlebox)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.FlushInterval = -1
	proxy.ErrorLog = nil
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	proxy.Transport = transport
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	m.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "" && !m.open.Load():
			m.webSockets.Add(1)
			http.Error(w, "<html>not here</html>", http.StatusForbidden)
		case m.noStreams.Load() && strings.HasSuffix(r.URL.Path, "/stream"):
			<-r.Context().Done() // collects the response for ever
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		m.srv.CloseClientConnections()
		m.srv.Close()
		transport.CloseIdleConnections()
	})
	return m
}

func (m *middlebox) addr() string { return strings.TrimPrefix(m.srv.URL, "http://") }

func TestFallback(t *testing.T) {
	t.Parallel()
	_, addr := startNode(t, "127.0.0.1:0")
	box := newMiddlebox(t, addr)
	c := join(t, box.addr(), client.WithHandshakeTimeout(300*time.Millisecond))
	if c.Transport() != "stream" {
		t.Fatalf("connected by %s", c.Transport())
	}
	if n, err := call.Do[int](t.Context(), c, "echo:/", 7); err != nil || n != 7 {
		t.Fatal(n, err)
	}
	// What worked is remembered: WebSocket is not tried again.
	box.srv.CloseClientConnections()
	eventually(t, "the second connection", func() bool { return c.Stats().Connects == 2 })
	if c.Transport() != "stream" || box.webSockets.Load() != 1 {
		t.Fatalf("connected by %s after %d tries of WebSocket", c.Transport(), box.webSockets.Load())
	}
	// Streams are blocked, too.
	box.noStreams.Store(true)
	box.srv.CloseClientConnections()
	eventually(t, "the third connection", func() bool { return c.Stats().Connects == 3 })
	if n, err := call.Do[int](t.Context(), c, "echo:/", 8); err != nil || n != 8 || c.Transport() != "poll" {
		t.Fatal(n, err, c.Transport())
	}
}
