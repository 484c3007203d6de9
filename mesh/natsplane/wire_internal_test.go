package natsplane

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/mesh"
)

func TestWireReader(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789", mesh.MaxMessage/10)
	in := "INFO {\"server_id\":\"x\"}\r\nMSG a.b 1 5\r\nhello\r\nPING\r\nMSG a.b 1 reply.to 0\r\n\r\n" +
		"MSG a 2 " + strconv.Itoa(len(large)) + "\r\n" + large + "\r\n+OK\r\nPONG\r\nMSG x 1 2\r\n\r\n\r\n-ERR 'Slow Consumer'\r\n"
	want := []struct {
		op   op
		data string
	}{
		{opInfo, ""},
		{opMsg, "hello"},
		{opPing, ""},
		{opMsg, ""},
		{opMsg, large},
		{opOK, ""},
		{opPong, ""},
		{opMsg, "\r\n"},
		{opErr, "Slow Consumer"},
	}
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in)),
	} {
		w := newWireReader(r)
		for i, x := range want {
			what, data, err := w.next()
			if err != nil || what != x.op || string(data) != x.data {
				t.Fatalf("%s: step %d is %d %.40q, %v; want %d %.40q", name, i, what, data, err, x.op, x.data)
			}
		}
		if _, _, err := w.next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v", name, err)
		}
	}
}

func TestWireReaderRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"HELLO\r\n", "\r\n", "MSG\r\n", "MSG a 1 \r\n", "MSG a 1 -1\r\n", "MSG a 1 1x\r\n", "MSG a 1 1048577\r\n",
		"MSG a 1 99999999999999999999999999\r\n", "MSG a 1 3\r\nabcd\r\n", "MSG a 1 3\r\nab\r\n\r\n", "HMSG a 1 3 3\r\nabc\r\n",
		"INFO " + strings.Repeat("x", lineMax) + "\r\n",
	} {
		if what, data, err := newWireReader(strings.NewReader(in)).next(); err == nil {
			t.Errorf("%.40q is %d %.40q", in, what, data)
		}
	}
	for _, in := range []string{"", "PIN", "MSG a 1 3\r\nab", "MSG a 1 100000\r\nab"} {
		_, _, err := newWireReader(strings.NewReader(in)).next()
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzWire checks that nothing a server says can hurt, and that a message that
// was written is read as it was.
func FuzzWire(f *testing.F) {
	f.Add([]byte("MSG a.b 1 5\r\nhello\r\nPING\r\n"))
	f.Add([]byte("MSG a 1 b 3\r\nabc\r\n-ERR 'x'\r\n"))
	f.Add([]byte("INFO {}\r\n+OK\r\nPONG\r\n"))
	f.Add([]byte("MSG a 1 1048576\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		w := newWireReader(bytes.NewReader(in))
		total := 0
		for {
			_, data, err := w.next()
			if err != nil {
				break
			}
			if total += len(data); total > len(in) {
				t.Fatalf("read %d bytes out of %d", total, len(in))
			}
		}
		line := strings.TrimPrefix(string(appendPub(nil, "some.subject", len(in))), "PUB some.subject")
		whole := append([]byte("MSG some.subject 1"+line), in...)
		w = newWireReader(bytes.NewReader(append(whole, "\r\nPING\r\n"...)))
		if what, data, err := w.next(); err != nil || what != opMsg || !bytes.Equal(data, in) {
			t.Fatalf("%q was read as %d %q, %v", in, what, data, err)
		}
		if what, _, err := w.next(); err != nil || what != opPing {
			t.Fatalf("after the message: %d, %v", what, err)
		}
	})
}

// sink is a connection that takes all.
type sink struct{ net.Conn }

func (sink) Write(b []byte) (int, error) { return len(b), nil }

func TestPathAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	p := &Plane{prefix: "ropewalk.ropewalk.0123456789abcdef", open: true, node: "a", known: map[string]string{}}
	in := &pipe{conn: sink{}}
	p.to = in
	data := make([]byte, 1000)
	if n := testing.AllocsPerRun(1000, func() { _ = p.Send("0123456789abcdef0123456789abcdef", data) }); n > 0 {
		t.Errorf("%v allocations a Send", n)
	}
	line := slices.Concat([]byte("MSG some.subject 1 1000\r\n"), data, []byte("\r\n"))
	src := bytes.NewReader(line)
	w := newWireReader(src)
	n := testing.AllocsPerRun(1000, func() {
		src.Reset(line)
		w.r.Reset(src)
		w.skip = 0
		if _, _, err := w.next(); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations a message", n)
	}
}
