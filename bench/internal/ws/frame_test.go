package ws_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ropewalk/ropewalk/bench/internal/ws"
)

const key = 0x3d21fa37 // RFC 6455 section 5.7, little-endian

func TestNext(t *testing.T) {
	t.Parallel()
	hello := []byte("Hello")
	for name, tc := range map[string]struct {
		in   []byte
		want ws.Frame
		n    int
		err  error
	}{
		"unmasked text":   {[]byte{0x81, 5, 'H', 'e', 'l', 'l', 'o', 0x81}, ws.Frame{ws.Text, true, hello}, 7, nil},
		"masked text":     {[]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, ws.Frame{ws.Text, true, hello}, 11, nil},
		"first fragment":  {[]byte{0x01, 3, 'H', 'e', 'l'}, ws.Frame{ws.Text, false, []byte("Hel")}, 5, nil},
		"empty pong":      {[]byte{0x8a, 0}, ws.Frame{ws.Pong, true, nil}, 2, nil},
		"nothing":         {nil, ws.Frame{}, 0, nil},
		"one byte":        {[]byte{0x81}, ws.Frame{}, 0, nil},
		"length is cut":   {[]byte{0x82, 126, 1}, ws.Frame{}, 0, nil},
		"long is cut":     {[]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0}, ws.Frame{}, 0, nil},
		"key is cut":      {[]byte{0x81, 0x85, 1, 2, 3}, ws.Frame{}, 0, nil},
		"payload is cut":  {[]byte{0x81, 5, 'H', 'e'}, ws.Frame{}, 0, nil},
		"too large":       {[]byte{0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1}, ws.Frame{}, 0, ws.ErrTooLarge},
		"much too large":  {[]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ws.Frame{}, 0, ws.ErrTooLarge},
		"masked too long": {[]byte{0x82, 0xff, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0}, ws.Frame{}, 0, ws.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, n, err := ws.Next(bytes.Clone(tc.in))
			if n != tc.n || !errors.Is(err, tc.err) {
				t.Fatalf("Next = %d, %v; want %d, %v", n, err, tc.n, tc.err)
			}
			if f.Op != tc.want.Op || f.Fin != tc.want.Fin || !bytes.Equal(f.Payload, tc.want.Payload) {
				t.Errorf("frame = %+v, want %+v", f, tc.want)
			}
		})
	}
}

func TestAppendAndNext(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 7, 8, 125, 126, 127, 65535, 65536, ws.MaxPayload} {
		payload := bytes.Repeat([]byte("rope"), size/4+1)[:size]
		inPlace := append([]byte("before....")[:6+ws.Room], payload...)
		inPlace = ws.Fill(inPlace, 6, ws.Binary)[6:]
		for name, b := range map[string][]byte{
			"in place": inPlace,
			"masked":   ws.AppendMasked([]byte{}, ws.Binary, key, payload),
			"unmasked": ws.AppendFrame([]byte{}, ws.Binary, payload),
		} {
			f, n, err := ws.Next(b)
			if err != nil || n != len(b) {
				t.Fatalf("%s %d: Next = %d, %v; want %d", name, size, n, err, len(b))
			}
			if f.Op != ws.Binary || !f.Fin || !bytes.Equal(f.Payload, payload) {
				t.Errorf("%s %d: frame does not come back", name, size)
			}
			if f, n, err := ws.Next(b[:len(b)-1]); n != 0 || err != nil {
				t.Errorf("%s %d, last byte missing: Next = %+v, %d, %v", name, size, f, n, err)
			}
		}
	}
}

func TestMaskMatchesTheRFC(t *testing.T) {
	t.Parallel()
	bytewise := []byte{0x37, 0xfa, 0x21, 0x3d}
	for size := range 40 {
		b := bytes.Repeat([]byte{0x55}, size)
		ws.Mask(b, key)
		for i, got := range b {
			if want := 0x55 ^ bytewise[i%4]; got != want {
				t.Fatalf("size %d: byte %d is %#x, want %#x", size, i, got, want)
			}
		}
	}
}

func TestFramesCostNoMemory(t *testing.T) { //nolint:paralleltest // counts allocations
	payload := make([]byte, 250)
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = ws.AppendMasked(buf[:0], ws.Binary, key, payload)
		if _, n, err := ws.Next(buf); n != len(buf) || err != nil {
			t.Fatalf("Next = %d, %v", n, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a frame, want none", n)
	}
}

// FuzzNext checks that nothing read makes it go out of bounds, and that a
// frame it accepts is one that our own writer would have made alike.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0x81, 5, 'H', 'e', 'l', 'l', 'o'})
	f.Add(ws.AppendMasked(nil, ws.Binary, key, make([]byte, 126)))
	f.Add([]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, n, err := ws.Next(b)
		if err != nil || n == 0 {
			return
		}
		if n > len(b) || len(fr.Payload) > n {
			t.Fatalf("took %d of %d bytes, %d of payload", n, len(b), len(fr.Payload))
		}
		again, m, err := ws.Next(ws.AppendFrame(nil, fr.Op, fr.Payload))
		if err != nil || m == 0 || !bytes.Equal(again.Payload, fr.Payload) {
			t.Fatalf("does not come back: %v", err)
		}
	})
}
