package ropewalk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/internal/race"
)

// seeds are messages from which the attackers make theirs.
var seeds = []string{
	`{"to":"echo:/","mid":"1","bdy":{"a":[1,2,{"b":null}]}}`,
	`{"vrb":"call","to":"echo:/parts?n=2","mid":"2","tmo":0.5,"hdr":{"traceparent":"00-1-1-01"},"str":{"by":"all","quorum":2}}`,
	"{\"to\":\"echo:/\",\"mid\":\"3\",\"cty\":\"application/octet-stream\"}\n\x00\xff\xfe",
	`{"vrb":"cancel","rmid":"1"}`,
	`{"vrb":"send","to":"*@client:/","mid":"4","ack":true,"bdy":"x"}`,
	`{"vrb":"send","to":"aaaaaaaaaaaaa@client:/","mid":"5","bdy":"x"}`,
	`{"vrb":"serve","to":"echo:/","mid":"6","bdy":{"version":"1","in":{"type":"object"}}}`,
	`{"vrb":"unserve","to":"echo:/**","mid":"7"}`,
	`{"vrb":"reply","rmid":"1","bdy":"stolen"}`,
	`{"vrb":"part","rmid":"1","seq":18446744073709551615,"bdy":"stolen"}`,
	`{"vrb":"error","rmid":"1","bdy":{"code":"internal","message":"stolen"}}`,
	`{"to":"*:/**","mid":"8","str":"all","tmo":0.1}`,
	`{"to":"node:/route/explain","mid":"9","bdy":{"address":"echo:/"}}`,
	`{"to":"node:/schema/echo/../../x","mid":"10"}`,
	`{"to":"echo:/\u0000","mid":1e999,"ack":"yes","tmo":-1}`,
	`{"vrb":"welcome","to":"x"}`, `null`, `[]`, `"x"`, ``, `{`, "\xff\xfe",
	`{"to":"` + strings.Repeat("a", 2000) + `:/","mid":"11"}`,
	`{"bdy":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`,
}

// mutate returns a seed with some of its bytes changed, cut, doubled or moved.
func mutate(r *rand.Rand) []byte {
	b := []byte(seeds[r.IntN(len(seeds))])
	for range r.IntN(4) {
		if len(b) == 0 {
			break
		}
		i, j := r.IntN(len(b)), r.IntN(len(b))
		i, j = min(i, j), max(i, j)
		switch r.IntN(6) {
		case 0:
			b[i] = byte(r.Uint32())
		case 1:
			b = b[:j]
		case 2:
			b = append(b[:j:j], b[i:]...)
		case 3:
			b = append(b[:i:i], b[j:]...)
		case 4:
			b[i], b[j] = b[j], b[i]
		case 5:
			b = append(b[:i:i], append([]byte(`{"\u000`), b[i:]...)...)
		}
	}
	return b[:min(len(b), 64<<10)]
}

// attacker sends frames over one connection after another.
type attacker struct {
	addr  string
	r     *rand.Rand
	total int64
	taken func() int64 // frames that the node has read so far
}

func (a *attacker) run(ctx context.Context) error {
	for a.taken() < a.total && ctx.Err() == nil {
		if err := a.connection(ctx); err != nil {
			return err
		}
	}
	return nil
}

// connection sends until the node closes the connection or has had enough. An
// error means that it could not even connect.
func (a *attacker) connection(ctx context.Context) error {
	d := ws.Dialer{Protocols: []string{[]string{"ropewalk.v1.split", "ropewalk.v1.json"}[a.r.IntN(2)]}}
	c, early, _, err := d.Dial(ctx, "ws://"+a.addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	if early != nil {
		ws.PutReader(early)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	reads := a.r.IntN(8) > 0 // some never read
	done := make(chan struct{})
	go func() {
		defer close(done)
		if reads {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	w := bufio.NewWriterSize(c, 16<<10)
	for range 200 { // few enough that the node seldom has had enough before
		if a.frame(w) != nil {
			break
		}
	}
	_ = w.Flush()
	if tcp, ok := c.(*net.TCPConn); ok && a.r.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // leave without a good-bye
	}
	_ = c.Close()
	<-done
	return nil
}

// frame writes one frame; some are no proper WebSocket frame.
func (a *attacker) frame(w *bufio.Writer) error {
	payload := mutate(a.r)
	f := ws.NewFrame([]ws.OpCode{ws.OpText, ws.OpBinary}[a.r.IntN(2)], true, payload)
	switch a.r.IntN(2000) {
	case 0:
		f.Header.OpCode = ws.OpCode(a.r.IntN(16)) //nolint:gosec // below 16
	case 1:
		f.Header.Fin = false
	case 2:
		f.Header.Rsv = byte(a.r.IntN(8)) //nolint:gosec // below 8
	case 3:
		return ws.WriteFrame(w, f) // not masked
	case 4:
		f.Header.Length = a.r.Int64N(1 << 40) // says it is longer than it is
	case 5:
		_, err := w.Write(payload)
		return err
	}
	return ws.WriteFrame(w, ws.MaskFrameInPlaceWith(f, [4]byte{1, 2, 3, byte(a.r.Uint32())}))
}

// A million random and mutated frames meet a live node. Good clients notice
// nothing, nothing panics, and the memory is given back.
func TestHostileFrames(t *testing.T) {
	total := int64(1_000_000)
	if race.Enabled {
		total = 100_000 // each costs ten times as much
	}
	for _, driver := range []string{"poller", "goroutine"} {
		t.Run(driver, func(t *testing.T) { hostileFrames(t, driver, total/2) })
	}
}

func hostileFrames(t *testing.T, driver string, total int64) {
	var log safeBuffer
	registry := prometheus.NewRegistry()
	n, url := startNode(t, func(c *ropewalk.Config) {
		c.Listeners["main"] = ropewalk.Listener{Address: "127.0.0.1:0", Driver: driver}
		c.Services = map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}}
		c.Allow = nil
		c.Registry = registry
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	quiet, stop := context.WithCancel(ctx)
	var good, bad sync.WaitGroup
	var answers atomic.Int64
	for range 4 {
		c := dial(t, url)
		good.Go(func() {
			for i := 0; quiet.Err() == nil; i++ {
				want := fmt.Sprintf("%s/%d", c.ID(), i)
				got, err := ropewalk.Call[string](ctx, c, "echo:/", want)
				if err != nil || got != want {
					t.Errorf("a good client got %q, %v; want %q", got, err, want)
					return
				}
				answers.Add(1)
			}
		})
	}
	heap := heapInUse()
	for i := range 4 {
		a := &attacker{
			addr: strings.TrimPrefix(url, "ws://"), r: rand.New(rand.NewPCG(uint64(i), 7)), //nolint:gosec // repeatable
			total: total, taken: func() int64 { return framesIn(t, registry) },
		}
		bad.Go(func() {
			if err := a.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	bad.Wait()
	stop()
	good.Wait()
	if answers.Load() == 0 {
		t.Error("the good clients got no answers")
	}
	t.Logf("%d frames, %d good answers meanwhile", framesIn(t, registry), answers.Load())
	for { // until the node has noticed that the attackers are gone
		if info, err := n.Call(ctx, "node:/clients", nil); err != nil || bytes.Count(info.Body, []byte(`"id"`)) <= 4 {
			if err != nil {
				t.Error(err)
			}
			break
		}
		runtime.Gosched()
	}
	if grown := heapInUse() - heap; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if s := log.String(); s != "" {
		t.Errorf("the node logged errors: %.2000s", s)
	}
}

// framesIn reads how many frames a node has taken.
func framesIn(t *testing.T, registry *prometheus.Registry) int64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == "ropewalk_edge_frames_received_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return int64(sum)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse) //nolint:gosec // far below 2^63
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
