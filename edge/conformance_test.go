package edge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/ropewalk/ropewalk/edge"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	for _, v := range variants(t) {
		for _, mode := range []websocket.CompressionMode{
			websocket.CompressionDisabled, websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover,
		} {
			t.Run(fmt.Sprint(v.name, " mode ", mode), func(t *testing.T) {
				t.Parallel()
				rec := newRecorder()
				rec.welcome = "welcome"
				n := start(t, edge.Config{Listeners: []edge.ListenerConfig{v.listener}}, rec)
				echoSizes(t, n, mode)
			})
		}
	}
}

func echoSizes(t *testing.T, n *node, mode websocket.CompressionMode) {
	t.Helper()
	c := n.dial(t, &websocket.DialOptions{CompressionMode: mode})
	if _, got := read(t, c); string(got) != "welcome" {
		t.Fatalf("first frame is %q", got)
	}
	for _, size := range []int{0, 1, 125, 126, 600, 65535, 65536, 100_000, 1 << 20} {
		want := bytes.Repeat([]byte("xyz "), size/4+1)[:size]
		write(t, c, websocket.MessageText, want)
		kind, got := read(t, c)
		if kind != websocket.MessageBinary || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back as %v of %d bytes", size, kind, len(got))
		}
	}
	if n.Count() != 1 {
		t.Errorf("Count is %d", n.Count())
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	if ce := n.rec.waitClosed(t, edge.CloseNormal); !ce.Remote || ce.Reason != "bye" {
		t.Errorf("closed with %+v", ce)
	}
}

func TestFramingIsNegotiated(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		for _, test := range []struct {
			offer []string
			want  edge.Framing
			kind  websocket.MessageType
		}{
			{[]string{edge.ProtocolSplit}, edge.FramingSplit, websocket.MessageBinary},
			{[]string{edge.ProtocolJSON}, edge.FramingJSON, websocket.MessageText},
			{[]string{"chat", edge.ProtocolJSON, edge.ProtocolSplit}, edge.FramingJSON, websocket.MessageText},
		} {
			c := n.dial(t, &websocket.DialOptions{Subprotocols: test.offer})
			conn := n.rec.waitOpen(t)
			if conn.Framing() != test.want || c.Subprotocol() != "ropewalk.v1."+test.want.String() {
				t.Errorf("%v became %v, %q", test.offer, conn.Framing(), c.Subprotocol())
			}
			write(t, c, websocket.MessageBinary, []byte("x"))
			if kind, _ := read(t, c); kind != test.kind {
				t.Errorf("%v frames on %v", kind, test.want)
			}
			if conn.Transport() != "websocket" || conn.Listener() != "main" || len(conn.ID()) != 21 ||
				!strings.HasPrefix(conn.RemoteAddr(), "127.0.0.1:") {
				t.Errorf("%s %s %s %s", conn.Transport(), conn.Listener(), conn.ID(), conn.RemoteAddr())
			}
		}
	})
}

func TestFragmentsAndControlFramesInBetween(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		c.write(t, mask(text, []byte("one ")))
		c.write(t, mask(fin|ping, []byte("?")))
		c.expect(t, fin|pong, "?")
		c.write(t, mask(0, nil))
		c.write(t, mask(0, []byte("two ")))
		c.write(t, mask(fin|pong, []byte("unasked")))
		c.write(t, mask(fin, []byte("three")))
		c.expect(t, fin|bin, "one two three")
		// A character of UTF-8 may be cut anywhere.
		c.write(t, mask(text, []byte("\xc3")))
		c.write(t, mask(fin, []byte("\xa4")))
		c.expect(t, fin|bin, "ä")
		c.write(t, mask(fin|closed, nil))
		c.expect(t, fin|closed, "")
		c.expectEnd(t)
		n.rec.waitClosed(t, edge.CloseNoStatus)
	})
}

func TestEveryPingIsAnswered(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.ws(t)
		var all []byte
		for i := range 100 {
			all = append(all, mask(fin|ping, []byte(fmt.Sprint(i)))...)
		}
		c.write(t, all)
		for i := range 100 {
			c.expect(t, fin|pong, fmt.Sprint(i))
		}
	})
}

func TestByteByByte(t *testing.T) {
	forEach(t, edge.Limits{}, func(t *testing.T, n *node) {
		t.Helper()
		c := n.tcp(t)
		all := []byte(hello())
		all = append(all, mask(fin|bin, []byte("first"))...)
		all = append(all, mask(fin|bin, bytes.Repeat([]byte("y"), 200))...)
		all = append(all, mask(fin|ping, []byte("ping"))...)
		for i := range all {
			c.write(t, all[i:i+1])
		}
		c.upgraded(t)
		c.expect(t, fin|bin, "first")
		c.expect(t, fin|bin, strings.Repeat("y", 200))
		c.expect(t, fin|pong, "ping")
	})
}

// More than any buffer holds, in one go, with the handshake in front.
func TestAllAtOnce(t *testing.T) {
	forEach(t, edge.Limits{PendingFrames: 1 << 20, PendingBytes: -1}, func(t *testing.T, n *node) {
		t.Helper()
		const frames = 5000
		c := n.tcp(t)
		go func() {
			all := []byte(hello())
			for i := range frames {
				all = append(all, mask(fin|bin, fmt.Appendf(nil, "%d %s", i, strings.Repeat("z", i%300)))...)
			}
			_, _ = c.Write(all)
		}()
		c.upgraded(t)
		for i := range frames {
			c.expect(t, fin|bin, fmt.Sprintf("%d %s", i, strings.Repeat("z", i%300)))
		}
	})
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	const limit = 1000
	over := binary.BigEndian.AppendUint64([]byte{fin | bin, 0x80 | 127}, 1<<40)
	huge := binary.BigEndian.AppendUint64([]byte{fin | bin, 0x80 | 127}, 1<<63)
	tests := []struct {
		name string
		in   []byte
		code edge.CloseCode
	}{
		{"unmasked", []byte{fin | bin, 1, 'x'}, edge.CloseProtocol},
		{"rsv2", mask(fin|bin|0x20, nil), edge.CloseProtocol},
		{"rsv3", mask(fin|bin|0x10, nil), edge.CloseProtocol},
		{"rsv1 on a ping", mask(fin|ping|0x40, nil), edge.CloseProtocol},
		{"rsv1 on a continuation", append(mask(bin, nil), mask(fin|0x40, nil)...), edge.CloseProtocol},
		{"opcode 3", mask(fin|3, nil), edge.CloseProtocol},
		{"opcode 11", mask(fin|11, nil), edge.CloseProtocol},
		{"fragmented ping", mask(ping, nil), edge.CloseProtocol},
		{"long ping", mask(fin|ping, make([]byte, 126)), edge.CloseProtocol},
		{"16-bit length below 126", []byte{fin | bin, 0x80 | 126, 0, 125}, edge.CloseProtocol},
		{"64-bit length below 65536", append([]byte{fin | bin, 0x80 | 127}, 0, 0, 0, 0, 0, 0, 0xff, 0xff), edge.CloseProtocol},
		{"continuation of nothing", mask(fin, []byte("x")), edge.CloseProtocol},
		{"message inside a message", append(mask(bin, nil), mask(fin|bin, nil)...), edge.CloseProtocol},
		{"too large", mask(fin|bin, make([]byte, limit+1)), edge.CloseTooLarge},
		{"too large, said and not sent", over, edge.CloseTooLarge},
		{"length with the highest bit", huge, edge.CloseTooLarge},
		{"too large in fragments", append(mask(bin, make([]byte, limit)), mask(fin, []byte("x"))...), edge.CloseTooLarge},
		{"bad UTF-8", mask(fin|text, []byte("\xff")), edge.CloseBadText},
		{"cut UTF-8", mask(fin|text, []byte("\xc3")), edge.CloseBadText},
		{"surrogate", mask(fin|text, []byte("\xed\xa0\x80")), edge.CloseBadText},
		{"bad UTF-8 in fragments", append(mask(text, []byte("a")), mask(fin, []byte("\xfe"))...), edge.CloseBadText},
		{"close of one byte", mask(fin|closed, []byte{3}), edge.CloseProtocol},
		{"close with 999", mask(fin|closed, []byte{3, 0xe7}), edge.CloseProtocol},
		{"close with 1005", mask(fin|closed, []byte{3, 0xed}), edge.CloseProtocol},
		{"close with 5000", mask(fin|closed, []byte{0x13, 0x88}), edge.CloseProtocol},
		{"close with bad UTF-8", mask(fin|closed, []byte{3, 0xe8, 0xff}), edge.CloseBadText},
	}
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, edge.Config{
				Listeners: []edge.ListenerConfig{v.listener},
				Limits:    edge.Limits{Frame: limit},
			}, newRecorder())
			good := n.ws(t)
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					c := n.ws(t)
					c.write(t, slices.Concat(test.in, []byte("and more that means nothing")))
					c.expectClose(t, test.code)
					c.expectEnd(t)
					if ce := n.rec.waitClosed(t, test.code); ce.Remote || ce.Reason == "" {
						t.Errorf("closed with %+v", ce)
					}
				})
			}
			good.write(t, mask(fin|bin, []byte("still here")))
			good.expect(t, fin|bin, "still here")
		})
	}
}

func TestDeflateOnTheWire(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	n := start(t, edge.Config{
		Listeners: []edge.ListenerConfig{{Deflate: true}},
		Limits:    edge.Limits{Frame: limit},
	}, newRecorder())
	offer := "Sec-WebSocket-Extensions: foo, permessage-deflate; server_max_window_bits=10, permessage-deflate\r\n"
	t.Run("ok", func(t *testing.T) {
		c := n.tcp(t)
		c.write(t, []byte(hello(offer)))
		want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		if got := c.upgraded(t).Header.Get("Sec-Websocket-Extensions"); got != want {
			t.Fatalf("extensions %q", got)
		}
		c.write(t, mask(fin|text|0x40, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00})) // the example of RFC 7692
		c.expect(t, fin|bin, "Hello")
		c.write(t, mask(text|0x40, []byte{0xf2, 0x48, 0xcd})) // in fragments
		c.write(t, mask(fin, []byte{0xc9, 0xc9, 0x07, 0x00}))
		c.expect(t, fin|bin, "Hello")
		c.write(t, mask(fin|text, bytes.Repeat([]byte("again "), 100)))
		if first, payload := c.frame(t); first != fin|bin|0x40 || len(payload) > 100 {
			t.Errorf("a long frame comes as %#x with %d bytes, want it compressed", first, len(payload))
		}
		_ = c.Close()
		n.rec.waitClosed(t, edge.CloseAbnormal)
	})
	for _, test := range []struct {
		name   string
		packed []byte
		code   edge.CloseCode
	}{
		{"bomb", bomb(t, 10*limit), edge.CloseTooLarge},
		{"garbage", []byte{0xff, 0xff, 0xff}, edge.CloseProtocol},
		{"cut", []byte{0xf2, 0x48}, edge.CloseProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := n.ws(t, offer)
			c.write(t, mask(fin|bin|0x40, test.packed))
			c.expectClose(t, test.code)
			n.rec.waitClosed(t, test.code)
		})
	}
	t.Run("not offered", func(t *testing.T) {
		c := n.tcp(t)
		c.write(t, []byte(hello("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n")))
		if got := c.upgraded(t).Header.Get("Sec-Websocket-Extensions"); got != "" {
			t.Fatalf("extensions %q", got)
		}
		c.write(t, mask(fin|text|0x40, nil))
		c.expectClose(t, edge.CloseProtocol)
		n.rec.waitClosed(t, edge.CloseProtocol)
	})
}

func TestHandshakeRefusals(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) string { return strings.Replace(hello(), old, with, 1) }
	tests := []struct {
		name   string
		in     string
		status int
		hint   string
	}{
		{"no protocol", replace("Sec-WebSocket-Protocol: chat, ropewalk.v1.split\r\n", ""), 400, "ropewalk.v1.split"},
		{"unknown protocol", replace("ropewalk.v1.split", "ropewalk.v9"), 400, "ropewalk.v1.split"},
		{"old version", replace("Version: 13", "Version: 8"), 426, "WebSocket"},
		{"no key", replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400, "WebSocket"},
		{"short key", replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400, "WebSocket"},
		{"key that is no base64", replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j***="), 400, "WebSocket"},
		{"no Connection", replace("Connection: keep-alive, Upgrade\r\n", ""), 400, "WebSocket"},
		{"no Host", replace("Host: x\r\n", ""), 400, "WebSocket"},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), 400, "WebSocket"},
		{"a line that is no field", replace("Version: 13", "Version: 13\r\nnonsense"), 400, "WebSocket"},
		{"other origin", hello("Origin: https://evil.example\r\n"), 403, "origin"},
		{"not admitted", hello("X-Bad: 1\r\n"), 401, "Be good"},
		{"head too large", hello("X: " + strings.Repeat("x", 5000) + "\r\n"), 431, "shorter"},
		{"endless head", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 5000), 431, "shorter"},
		{"not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh", 400, "HTTP"},
		{"not HTTP either", "hello world\r\n\r\n", 400, "HTTP"},
	}
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.listener.Admit = admitBad
			n := start(t, edge.Config{
				Listeners: []edge.ListenerConfig{v.listener},
				Limits:    edge.Limits{HandshakeBytes: 2000},
			}, newRecorder())
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					c := n.tcp(t)
					c.write(t, []byte(test.in))
					res, err := http.ReadResponse(c.in, nil)
					if err != nil {
						t.Fatal(err)
					}
					if body := expect(t, res, test.status); !strings.Contains(body, test.hint) {
						t.Errorf("%q does not say %q", body, test.hint)
					}
					c.expectEnd(t)
				})
			}
			if n.Count() != 0 || len(n.rec.opened) != 0 {
				t.Error("a refused connection was opened")
			}
			n.ws(t, "Origin: http://x\r\n") // the host that was connected to
		})
	}
}
