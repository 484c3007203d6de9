package edge

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/internal/wheel"
)

// fakeLink is the link of a connection without a socket: what is flushed is
// kept, and the fuzzer is the owner.
type fakeLink struct {
	out      []byte
	released bool
}

func (l *fakeLink) flush(c *Conn, w *scratch) {
	if c.take(w) {
		w.encode(c)
		l.out = append(append(l.out, w.buf...), w.big...)
		c.done(w, len(w.buf)+len(w.big), false, nil)
	}
}
func (l *fakeLink) nudge(*Conn)     {}
func (l *fakeLink) wait(*Conn)      {}
func (l *fakeLink) halfClose(*Conn) {}
func (l *fakeLink) leave(*Conn)     {}
func (l *fakeLink) release(*Conn)   { l.released = true }

// log is what a Handler was told, in order.
type log struct {
	frames [][]byte
	end    *CloseError
}

func (l *log) Open(c *Conn) {
	f := NewFrame()
	f.Payload = append(f.Payload, "welcome"...)
	_ = c.Send(f)
	f.Release()
}
func (l *log) Frame(_ *Conn, frame []byte) { l.frames = append(l.frames, bytes.Clone(frame)) }
func (l *log) Closed(_ *Conn, err error)   { l.end, _ = err.(*CloseError) } //nolint:errorlint // as promised

// bare returns a connection without a socket.
func bare(tb testing.TB, h Handler, deflate bool, limits Limits) (*Conn, *fakeLink) {
	tb.Helper()
	s, err := New(Config{
		Listeners: []ListenerConfig{{Deflate: deflate, Driver: DriverGoroutine}},
		Limits:    limits,
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, h)
	if err != nil {
		tb.Fatal(err)
	}
	l := &fakeLink{}
	c := &Conn{srv: s, lis: s.listeners[0], link: l, fd: -1}
	c.timer.Owner = wheel.Func(func() {})
	s.slots++
	s.register(c)
	s.busy.Add(1) // no flusher is to be woken: there is none
	return c, l
}

// feed gives data to a connection in pieces, as a driver would, and ends it.
func feed(tb testing.TB, data []byte, pieces []int, deflate bool) (*log, []byte) {
	tb.Helper()
	told := &log{}
	c, l := bare(tb, told, deflate, Limits{Frame: 4096, HandshakeBytes: 2048, PendingFrames: 64})
	w := newScratch()
	shared := make([]byte, 1024) // small, so that both ways of joining are taken
	for i := 0; len(data) > 0 && state(c.state.Load()) != stateDead; i++ {
		n := len(data)
		if len(pieces) > 0 {
			n = min(n, pieces[i%len(pieces)])
		}
		into := c.begin(shared)
		if len(into) == 0 {
			tb.Fatal("no room for more of an incomplete frame")
		}
		n = copy(into, data[:n])
		c.input(shared, n)
		data = data[n:]
		c.srv.flush(w)
		c.settle()
		if held := c.in; held != nil && cap(held.b) > 2*4096+2*2048 {
			tb.Fatalf("%d bytes are held for an incomplete frame", cap(held.b))
		}
	}
	c.lost(nil)
	if c.opened && told.end == nil {
		tb.Fatal("opened and never closed")
	}
	if !l.released || c.srv.total != 0 || len(c.pending) != 0 || c.bytes != 0 {
		tb.Fatalf("left over: %d connections, %d frames of %d bytes", c.srv.total, len(c.pending), c.bytes)
	}
	return told, l.out
}

const fuzzHello = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Protocol: ropewalk.v1.split\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

// However the bytes are cut, the same frames are told, the same bytes are sent,
// and the end is the same.
func FuzzInput(f *testing.F) {
	frame := func(first byte, payload string) string {
		return string(append([]byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
	}
	for _, seed := range []string{
		fuzzHello,
		fuzzHello + frame(0x81, "hello") + frame(0x82, "") + frame(0x89, "ping") + frame(0x88, "\x03\xe8bye"),
		fuzzHello + frame(0x01, "a") + frame(0x89, "") + frame(0x00, "b") + frame(0x80, "c"),
		fuzzHello + frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00") + frame(0x41, "\xf2\x48") + frame(0x80, "\xcd\xc9\xc9\x07\x00"),
		fuzzHello + "\x82\xfe\x01\x00\x01\x02\x03\x04" + string(make([]byte, 256)),
		fuzzHello + "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00",
		fuzzHello + frame(0x81, "\xff"),
		"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
		"\x16\x03\x01",
	} {
		f.Add([]byte(seed), []byte{1}, true)
		f.Add([]byte(seed), []byte{3, 200, 1}, false)
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, deflate bool) {
		if len(data) > 1<<14 {
			return // byte by byte that would take too long
		}
		head, _, complete, _ := parseHead(data)
		if complete {
			upgrade := false
			head.each(func(name, _ []byte) bool { upgrade = upgrade || equalFold(name, "upgrade"); return true })
			if !upgrade {
				return // it would go to net/http, which needs a socket
			}
		}
		pieces := make([]int, len(cuts))
		for i, n := range cuts {
			pieces[i] = int(n) + 1
		}
		if !bytes.HasPrefix(data, []byte(fuzzHello)) {
			data = append([]byte(fuzzHello), data...)
		}
		whole, wholeOut := feed(t, data, nil, deflate)
		cut, cutOut := feed(t, data, pieces, deflate)
		if !slices.EqualFunc(whole.frames, cut.frames, bytes.Equal) {
			t.Fatalf("whole: %q\ncut:   %q", whole.frames, cut.frames)
		}
		if !bytes.Equal(wholeOut, cutOut) {
			t.Fatalf("whole sends %q\ncut sends   %q", wholeOut, cutOut)
		}
		if (whole.end == nil) != (cut.end == nil) || whole.end != nil && whole.end.Code != cut.end.Code {
			t.Fatalf("whole ends with %v, cut with %v", whole.end, cut.end)
		}
	})
}

// Any head is read without a panic, and its fields lie inside of it.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte(fuzzHello))
	f.Add([]byte("GET  HTTP/1.1\r\n\r\n"))
	f.Add([]byte("G\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\n:\r\na: b\r\n\r\nrest"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, size, complete, bad := parseHead(data)
		if size > len(data) || complete && size < 4 {
			t.Fatalf("size %d of %d", size, len(data))
		}
		if !complete || bad {
			return
		}
		var u upgrade
		h.each(func(name, value []byte) bool {
			if len(name) == 0 || bytes.ContainsAny(value, "\r\n") && bytes.Contains(value, []byte(crlf)) {
				t.Fatalf("field %q: %q", name, value)
			}
			u.field(name, value)
			return true
		})
	})
}

// What encodeBatch writes, checkBatch and nextFrame read; anything else is
// refused without a panic.
func FuzzBatch(f *testing.F) {
	f.Add([]byte("5\nhello0\n2\n{}"), 100)
	f.Add([]byte("99999999999\n"), 100)
	f.Add([]byte("05\nhello"), 3)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = max(0, limit%(1<<20))
		if checkBatch(data, limit, false) != nil {
			return
		}
		w := newScratch()
		for rest := data; len(rest) > 0; {
			frame, r, err := nextFrame(rest, limit)
			if err != nil || len(frame) > limit {
				t.Fatalf("after the check: %v, frame of %d bytes", err, len(frame))
			}
			rest = r
			w.frames = append(w.frames, &Frame{Payload: frame})
		}
		if w.encodeBatch(); !bytes.Equal(append(w.buf, w.big...), data) {
			t.Fatalf("%q comes back as %q", data, w.buf)
		}
	})
}

func FuzzReadClose(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x03\xe8bye"))
	f.Fuzz(func(t *testing.T, data []byte) {
		code, reason, bad := readClose(data)
		if bad.code != 0 || code == CloseNoStatus {
			return
		}
		fr := newClose(code, reason)
		if len(data) <= maxControl && !bytes.Equal(fr.Payload, data) {
			t.Fatalf("%q comes back as %q", data, fr.Payload)
		}
	})
}
