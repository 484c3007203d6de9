//go:build linux

package load

import (
	"net/netip"
	"testing"
	"time"
)

// TestBody is about the two ends of a body that only this package sees.
func TestBody(t *testing.T) {
	t.Parallel()
	for _, size := range []int{MinPayload, 128, 2048} {
		b := appendBody(nil, size, 77, 12345*time.Microsecond)
		if len(b) != size {
			t.Errorf("%d bytes, want %d: %s", len(b), size, b)
		}
		if i, stamp, ok := readBody(b); !ok || i != 77 || stamp != 12345*time.Microsecond {
			t.Errorf("read %d, %v, %v", i, stamp, ok)
		}
		b[atPlace] = 'g'
		if _, _, ok := readBody(b); ok {
			t.Error("a broken stamp was read")
		}
		if _, _, ok := readBody(b[:MinPayload-1]); ok {
			t.Error("half a body was read")
		}
	}
}

func TestInboxesHaveOneLength(t *testing.T) {
	t.Parallel()
	p := newNATS(Config{})
	for _, i := range []int{0, 1, 9, 10, 99, 100, 9999, 123456} {
		if got := p.inbox(nil, i); len(got) != len(p.box)+10 {
			t.Errorf("%d: %s", i, got)
		}
	}
}

// TestCallCostsNoMemory: a generator that collects garbage measures itself.
func TestCallCostsNoMemory(t *testing.T) { //nolint:paralleltest // counts allocations
	cfg := Config{To: "x", Payload: 128, Addr: netip.MustParseAddrPort("127.0.0.1:1"), Proto: ProtoNATSWS}
	for name, p := range map[string]proto{"ropewalk": newRope(cfg), "nats": newNATS(cfg)} {
		out, c := make([]byte, 0, 4096), new(conn)
		if n := testing.AllocsPerRun(100, func() { out = p.call(out[:0], c, 3, 4) }); n != 0 {
			t.Errorf("%s: %v allocations a call", name, n)
		}
	}
}
