package edge_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/message"
)

// request makes a request to the HTTP transports; header is name, value, ….
func (n *node) request(t *testing.T, method, path, body string, header ...string) *http.Response {
	t.Helper()
	url := "http" + strings.TrimPrefix(n.url, "ws") + strings.TrimPrefix(path, "/")
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := n.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// expect checks a status and returns the body.
func expect(t *testing.T, res *http.Response, status int) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, status, body)
	}
	if status >= 400 {
		var e struct{ Code, Message, Hint string }
		if err := json.Unmarshal(body, &e); err != nil || e.Code == "" || e.Message == "" || e.Hint == "" {
			t.Fatalf("status %d with %q, which is no error with code, message and hint", status, body)
		}
	}
	return string(body)
}

func (n *node) open(t *testing.T, framing string) (token string) {
	t.Helper()
	var opened struct {
		Connection  string
		PollSeconds int
	}
	body := expect(t, n.request(t, "POST", "/ropewalk/v1/open?framing="+framing, ""), http.StatusOK)
	if err := json.Unmarshal([]byte(body), &opened); err != nil || opened.Connection == "" || opened.PollSeconds == 0 {
		t.Fatalf("open answered %q", body)
	}
	return opened.Connection
}

func batch(frames ...string) string {
	var b strings.Builder
	for _, f := range frames {
		fmt.Fprintf(&b, "%d\n%s", len(f), f)
	}
	return b.String()
}

func TestStream(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			rec.welcome = "welcome"
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
			token := n.open(t, "json")
			c := rec.waitOpen(t)
			res := n.request(t, "GET", "/ropewalk/v1/stream", "", "Ropewalk-Connection", token)
			if got := res.Header.Get("Content-Type"); got != edge.ContentTypeBatch {
				t.Errorf("content type %q", got)
			}
			in := bufio.NewReader(res.Body)
			readFrame(t, in, "welcome")
			big := strings.Repeat("x", 300_000)
			expect(t, n.request(t, "POST", "/ropewalk/v1/send", batch("one", "", "two", big),
				"Ropewalk-Connection", token, "Ropewalk-Seq", "1"), http.StatusNoContent)
			readFrame(t, in, "one")
			readFrame(t, in, "two")
			readFrame(t, in, big)
			if c.Transport() != "stream" || c.Framing() != edge.FramingJSON || c.Listener() != "main" {
				t.Errorf("it is %s %v %s", c.Transport(), c.Framing(), c.Listener())
			}
			expect(t, n.request(t, "GET", "/ropewalk/v1/stream", "", "Ropewalk-Connection", token), http.StatusConflict)
			_ = res.Body.Close()
			rec.waitClosed(t, edge.CloseAbnormal)
			expect(t, n.request(t, "POST", "/ropewalk/v1/send", batch("late"),
				"Ropewalk-Connection", token, "Ropewalk-Seq", "2"), http.StatusGone)
		})
	}
}

func readFrame(t *testing.T, in *bufio.Reader, want string) {
	t.Helper()
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, size)
	if _, err := io.ReadFull(in, got); err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("frame of %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	rec.welcome = "welcome"
	n := start(t, edge.Config{Limits: edge.Limits{Poll: 30 * time.Millisecond}}, rec)
	token := n.open(t, "split")
	poll := func(ack string, status int) (number, body string) {
		t.Helper()
		res := n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", ack)
		body = expect(t, res, status)
		return res.Header.Get("Ropewalk-Batch"), body
	}
	number, body := poll("0", http.StatusOK)
	if number != "1" || body != batch("welcome") {
		t.Fatalf("first batch is %s %q", number, body)
	}
	if number, body = poll("0", http.StatusOK); number != "1" || body != batch("welcome") {
		t.Fatalf("a batch that was not acknowledged comes back as %s %q", number, body)
	}
	if number, body = poll("1", http.StatusOK); number != "1" || body != "" {
		t.Fatalf("with nothing to send: %s %q", number, body)
	}
	sendBatch := func(seq, body string, status int) {
		t.Helper()
		expect(t, n.request(t, "POST", "/ropewalk/v1/send", body, "Ropewalk-Connection", token, "Ropewalk-Seq", seq), status)
	}
	sendBatch("1", batch("a", "b\n"), http.StatusNoContent)
	sendBatch("1", batch("a", "b\n"), http.StatusNoContent) // again, ignored
	sendBatch("3", batch("d"), http.StatusConflict)
	sendBatch("2", "1x\nc", http.StatusBadRequest)
	sendBatch("2", batch(strings.Repeat("x", edge.DefaultFrame+1)), http.StatusRequestEntityTooLarge)
	sendBatch("x", "", http.StatusBadRequest)
	sendBatch("2", batch("c"), http.StatusNoContent) // a refused batch does not use its number up
	if number, body = poll("1", http.StatusOK); number != "2" || body != batch("a", "b\n", "c") {
		t.Fatalf("second batch is %s %q", number, body)
	}
	poll("7", http.StatusConflict)
	expect(t, n.request(t, "POST", "/ropewalk/v1/close", "", "Ropewalk-Connection", token), http.StatusNoContent)
	rec.waitClosed(t, edge.CloseNormal)
	poll("2", http.StatusGone)
}

func TestNewerPollReplacesOlder(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	n := start(t, edge.Config{}, rec)
	token := n.open(t, "split")
	c := rec.waitOpen(t)
	first := make(chan string, 1)
	go func() {
		res := n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", "0")
		first <- expect(t, res, http.StatusOK)
	}()
	second := make(chan string, 1)
	go func() {
		res := n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", "0")
		second <- expect(t, res, http.StatusOK)
	}()
	var other chan string
	select { // one of them gives way
	case got := <-first:
		other = second
		if got != "" {
			t.Errorf("the older poll got %q", got)
		}
	case got := <-second:
		other = first
		if got != "" {
			t.Errorf("the older poll got %q", got)
		}
	case <-time.After(patience):
		t.Fatal("no poll gave way")
	}
	if err := send(c, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, other, "the newer poll"); got != batch("x") {
		t.Errorf("the newer poll got %q", got)
	}
}

func TestUnreadConnectionIsClosed(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	n := start(t, edge.Config{Limits: edge.Limits{Unread: 50 * time.Millisecond}}, rec)
	token := n.open(t, "split")
	rec.waitClosed(t, edge.CloseAbnormal)
	expect(t, n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", "0"), http.StatusGone)
}

// A stream without messages shows that it lives, and stays.
func TestStreamBeats(t *testing.T) {
	t.Parallel()
	n := start(t, edge.Config{Limits: edge.Limits{Unread: 400 * time.Millisecond}}, newRecorder())
	token := n.open(t, "split")
	res := n.request(t, "GET", "/ropewalk/v1/stream", "", "Ropewalk-Connection", token)
	in := bufio.NewReader(res.Body)
	for range 3 {
		readFrame(t, in, "")
	}
	if n.Count() != 1 {
		t.Error("it was closed")
	}
}

// A stream that nobody reads is closed as any slow consumer, and so is a
// connection that is not polled.
func TestSlowStreamAndPoll(t *testing.T) {
	t.Parallel()
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprint("streamed ", streamed), func(t *testing.T) {
			t.Parallel()
			rec := newRecorder()
			n := start(t, edge.Config{Limits: edge.Limits{PendingFrames: 100, Close: 50 * time.Millisecond}}, rec)
			token := n.open(t, "split")
			conn := rec.waitOpen(t)
			if streamed {
				n.request(t, "GET", "/ropewalk/v1/stream", "", "Ropewalk-Connection", token)
			}
			if _, err := fill(t, conn, bytes.Repeat([]byte("x"), 100_000), 10_000); message.CodeOf(err) != message.CodeSlowConsumer {
				t.Fatalf("Send: %v", err)
			}
			rec.waitClosed(t, edge.CloseSlowConsumer)
			eventually(t, "everything pending to be released", func() bool {
				frames, waiting := conn.Pending()
				return frames == 0 && waiting == 0
			})
			expect(t, n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", "0"),
				http.StatusGone)
		})
	}
}

// A poll takes frames on its own, while senders mark the connection dirty:
// nobody loses a frame by that, and order stays.
func TestBroadcastToPolls(t *testing.T) {
	t.Parallel()
	const senders, frames = 4, 300
	rec := newRecorder()
	n := start(t, edge.Config{Limits: edge.Limits{PendingFrames: 1 << 16}}, rec)
	other := n.ws(t)
	tokens := []string{n.open(t, "split"), n.open(t, "split")}
	var wg sync.WaitGroup
	wg.Go(func() { checkBroadcast(t, other, senders, frames) })
	for _, token := range tokens {
		wg.Go(func() {
			ack, got := "0", 0
			for got < senders*frames {
				res := n.request(t, "POST", "/ropewalk/v1/poll", "", "Ropewalk-Connection", token, "Ropewalk-Ack", ack)
				ack = res.Header.Get("Ropewalk-Batch")
				body, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("poll: %d %v", res.StatusCode, err)
					return
				}
				got += strings.Count(string(body), "\n")
			}
		})
	}
	for s := range senders {
		wg.Go(func() {
			for i := range frames {
				for c := range n.Conns() {
					if err := send(c, fmt.Appendf(nil, "%d %d %s", s, i, strings.Repeat("b", i*s))); err != nil {
						t.Errorf("Send: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// What is pending when the node closes is still fetched by the next poll.
func TestLastPoll(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	n := start(t, edge.Config{}, rec)
	token := n.open(t, "split")
	conn := rec.waitOpen(t)
	if err := send(conn, []byte("last words")); err != nil {
		t.Fatal(err)
	}
	conn.Close(edge.CloseReplaced, "replaced")
	rec.waitClosed(t, edge.CloseReplaced)
	header := []string{"Ropewalk-Connection", token, "Ropewalk-Ack", "0"}
	if got := expect(t, n.request(t, "POST", "/ropewalk/v1/poll", "", header...), http.StatusOK); got != batch("last words") {
		t.Errorf("the last poll got %q", got)
	}
	expect(t, n.request(t, "POST", "/ropewalk/v1/poll", "", header...), http.StatusGone)
}

func TestHTTPRefusals(t *testing.T) {
	t.Parallel()
	rec := newRecorder()
	n := start(t, edge.Config{
		Listeners:     []edge.ListenerConfig{{Origins: []string{"https://good.example"}, Admit: admitBad}},
		Limits:        edge.Limits{Unread: time.Hour}, // others may have the machine first
		OriginAllowed: func(origin string) bool { return origin == "https://other-node.example" },
	}, rec)
	token := n.open(t, "split")
	forged := token[:len(token)-1] + string(token[len(token)-1]^1)
	for _, test := range []struct {
		name, method, path string
		header             []string
		status             int
	}{
		{"ok", "POST", "open?framing=json", nil, 200},
		{"allowed origin", "POST", "open?framing=json", []string{"Origin", "https://good.example"}, 200},
		{"origin of another node", "POST", "open?framing=json", []string{"Origin", "https://other-node.example"}, 200},
		{"same host", "POST", "open?framing=json", []string{"Origin", "http://" + n.addr}, 200},
		{"other origin", "POST", "open?framing=json", []string{"Origin", "https://evil.example"}, 403},
		{"null origin", "POST", "open?framing=json", []string{"Origin", "null"}, 403},
		{"not admitted", "POST", "open?framing=json", []string{"X-Bad", "1"}, 401},
		{"preflight", "OPTIONS", "send", []string{"Origin", "https://good.example"}, 204},
		{"preflight of other origin", "OPTIONS", "send", []string{"Origin", "https://evil.example"}, 403},
		{"no framing", "POST", "open", nil, 400},
		{"unknown framing", "POST", "open?framing=xml", nil, 400},
		{"wrong method", "GET", "open?framing=json", nil, 405},
		{"unknown request", "POST", "nonsense", nil, 404},
		{"no token", "POST", "send", nil, 401},
		{"bad token", "POST", "send", []string{"Ropewalk-Connection", "x"}, 401},
		{"forged token", "POST", "send", []string{"Ropewalk-Connection", forged}, 410},
		{"unknown connection", "POST", "poll", []string{"Ropewalk-Connection", "a.b.c"}, 410},
		{"ack that is no number", "POST", "poll", []string{"Ropewalk-Connection", token, "Ropewalk-Ack", "-1"}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			res := n.request(t, test.method, "/ropewalk/v1/"+test.path, "", test.header...)
			expect(t, res, test.status)
			if len(test.header) == 2 && test.header[0] == "Origin" && test.status < 300 &&
				res.Header.Get("Access-Control-Allow-Origin") != test.header[1] {
				t.Errorf("no CORS header: %v", res.Header)
			}
		})
	}
}

// admitBad is an Admit hook that refuses requests with the header X-Bad.
func admitBad(h *edge.Handshake) error {
	if h.Header("X-Bad") != "" {
		return message.NewError(message.CodeUnauthenticated, "bad", "Be good.")
	}
	return nil
}

func TestOtherRequestsGoToTheHTTPHandler(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("/echo", func(rw http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				_, _ = rw.Write(body)
			})
			n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}, HTTP: mux}, newRecorder())
			want := string(bytes.Repeat([]byte("y"), 200_000))
			for range 3 {
				if got := expect(t, n.request(t, "POST", "/echo", want), http.StatusOK); got != want {
					t.Fatalf("%d bytes came back", len(got))
				}
			}
		})
	}
}
