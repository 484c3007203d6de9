//go:build linux

package load

import (
	"bytes"
	"net/netip"
	"strings"
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

// TestGathered and TestArrived are about answers that only a mesh gives.
func TestGathered(t *testing.T) {
	t.Parallel()
	cfg := Config{Mode: ModeGather, Proto: ProtoRope, Conns: 2, Servers: 2, Payload: 128, To: "x:/", Addr: netip.MustParseAddrPort("127.0.0.1:1")}
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	one, alien := string(appendBody(nil, 128, 0, 5)), string(appendBody(nil, 128, 1, 5))
	reply := func(bodies ...string) []byte {
		return []byte(`{"answers":[{"body":` + strings.Join(bodies, `},{"body":`) + `}],"servers":2}`)
	}
	for name, body := range map[string][]byte{
		"too few": reply(one), "too many": reply(one, one, one), "of somebody else": reply(alien, alien), "an alien one": reply(one, alien),
		"none": []byte(`{}`), "cut": reply(one)[:60],
	} {
		if err := e.gathered(&e.conns[0], body); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := e.gathered(&e.conns[0], reply(one, one)); err != nil || e.hist.Count() != 1 {
		t.Errorf("gathered: %v, %d counted", err, e.hist.Count())
	}
	if !bytes.Contains(e.proto.(*rope).msg, []byte(`"str":"all"`)) {
		t.Errorf("the next one is %s", e.proto.(*rope).msg)
	}
}

func TestArrived(t *testing.T) {
	t.Parallel()
	cfg := Config{Mode: ModeSend, Proto: ProtoRope, Conns: 2, Payload: 128, Addr: netip.MustParseAddrPort("127.0.0.1:1")}
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	e.byFD[3], e.conns[3].fd, e.conns[1].fd, e.byFD[1] = 3, 3, 1, 1
	if err := e.meet(&e.conns[3], []byte(`{"id":"abc"}`)); err != nil || string(e.conns[1].to) != "abc@client:/" {
		t.Fatalf("met: %v, sends to %s", err, e.conns[1].to)
	}
	if err := e.meet(&e.conns[3], []byte(`{`)); err == nil {
		t.Error("a broken welcome was read")
	}
	for name, body := range map[string][]byte{"for another": appendBody(nil, 128, 0, 5), "short": appendBody(nil, MinPayload, 1, 5)} {
		if err := e.arrived(&e.conns[3], body); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := e.arrived(&e.conns[1], appendBody(nil, 128, 1, 5)); err == nil {
		t.Error("a sender was sent something")
	}
}

// TestChanged is about contents of queries, which only a node gives.
func TestChanged(t *testing.T) {
	t.Parallel()
	cfg := Config{Mode: ModeQuery, Proto: ProtoRope, Conns: 4, Topics: 2, Payload: 128, To: "query:/x", Addr: netip.MustParseAddrPort("127.0.0.1:1")}
	e, err := newEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if err := e.begin(new(Result)); err != nil {
		t.Fatal(err)
	}
	e.feed.groups = make([]group, 2)
	for i := range e.conns {
		e.conns[i].fd, e.byFD[i] = i, int32(i)
	}
	content := func(v string) []byte { return []byte(`[{"id":1,"v":` + v + `,"name":"x"},{"id":3,"v":0,"name":"y"}]`) }
	e.feed.next, e.feed.under, e.feed.groups[1] = 7, 1, group{v: 7, left: 2}
	for _, step := range []struct {
		conn int
		v    string
		ok   bool
		left int
	}{
		{0, "0", true, 2},  // of the other group
		{1, "5", true, 2},  // one that was overtaken
		{1, "7", true, 1},  // the newest
		{1, "7", true, 1},  // again
		{1, "5", false, 1}, // it goes back
		{3, "8", false, 1}, // nobody wrote that
		{3, "x", false, 1},
		{3, "7", true, 0},
	} {
		if err := e.changed(&e.conns[step.conn], content(step.v)); (err == nil) != step.ok || e.feed.groups[1].left != step.left {
			t.Errorf("%+v: %v, %d left", step, err, e.feed.groups[1].left)
		}
	}
	if !e.right() || e.hist.Count() != 1 {
		t.Errorf("%d under way, %d counted", e.feed.under, e.hist.Count())
	}
	if m := string(e.feed.to.(*queries).publish(nil, 1, 3, 0)); !strings.Contains(string(e.proto.(*rope).msg), `"query:/x/set.sql"`) || m == "" {
		t.Errorf("writes %s", e.proto.(*rope).msg)
	}
	for i := range e.conns {
		e.conns[i].phase = closed
	}
}
