package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	quickjs "modernc.org/libquickjs"

	"github.com/ropewalk/ropewalk/message"
)

// nobody is a host that has nothing.
type nobody struct{ panics bool }

func (n nobody) Invoke(context.Context, string, json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage("null"), nil
}

func (n nobody) Log(string, string) {
	if n.panics {
		panic("the log is full") //nolint:forbidigo // that is the test
	}
}

func job(body string) *Job {
	return &Job{
		Code:   NewCode("(async (main) => { \"use strict\"; main({ default: async () => {"+body+"} }) })", false),
		Export: ExportTopic, Grants: []string{"call"},
		Limits: Limits{Memory: 16 << 20, Depth: 500, CPU: time.Minute, Wall: time.Minute, Output: 1 << 20, Calls: 9, Bytes: 1 << 20, Lines: 9},
	}
}

// at is a place that somebody was let into.
func at(t *testing.T) *ticket {
	t.Helper()
	p, err := newGate(1, 0).enter(t.Context(), &Job{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func run1(t *testing.T, s *seat, j *Job, h Host) (string, error) {
	t.Helper()
	x := newTask(t.Context(), j, h, at(t))
	s.run(x)
	o := <-x.ended
	return string(o.result), o.err
}

// TestLikeNew has scripts change all that they can. After each the machine is, but
// for the seed of its random numbers, byte by byte what it was before, and it is
// the same machine.
func TestLikeNew(t *testing.T) {
	t.Parallel()
	s := newSeat()
	t.Cleanup(s.close)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	seed := &in[quickjs.TJSContext](s.m.ctx).Frandom_state
	first, image := s.m, s.m.image.parts[0].b
	behind := bytesAt(s.m.memory.next, s.m.memory.end-s.m.memory.next)
	clear(behind)
	for name, body := range map[string]string{
		"globals":    `globalThis.left = 1; delete globalThis.Map; globalThis.JSON = {}`,
		"prototypes": `Object.prototype.left = 1; Array.prototype.map = null; Promise.prototype.then = null; Object.freeze(Function.prototype)`,
		"symbols":    `Symbol.for("left")[Symbol.toPrimitive]; for (let i = 0; i < 1000; i++) Symbol.for("s" + i)`,
		"atoms":      `const o = {}; for (let i = 0; i < 1000; i++) o["p" + i] = i`,
		"memory":     `globalThis.left = []; for (let i = 0; i < 5000; i++) left.push({ i, s: "x".repeat(i % 100) }); left.length = 10`,
		"large":      `globalThis.left = new Uint8Array(4 << 20).fill(7)`,
		"garbage":    `for (let i = 0; i < 5000; i++) { const a = {}; a.a = a }`,
		"weak":       `globalThis.r = new FinalizationRegistry(() => { for (;;); }); r.register({}); globalThis.w = new WeakRef({}); new WeakMap().set(r, 1)`,
		"pending":    `call("a:/b").then(() => { for (;;); }); Promise.resolve().then(() => { globalThis.left = 1 })`,
		"generators": `globalThis.g = (function* () { yield 1; yield 2 })(); g.next()`,
		"regexp":     `/(left)/.exec("left"); RegExp.prototype.exec = null`,
		"web":        `new URL("http://a/b"); URL.prototype.left = 1; atob("YQ==")`,
		"thrown":     `throw new TypeError("x")`,
		"modules":    `try { await import("a") } catch {}`,
		"stack":      `const f = (n) => n === 0 ? 0 : f(n - 1) + 1; f(200)`,
	} {
		if _, err := run1(t, s, job(body), nobody{}); err != nil && name != "thrown" {
			t.Errorf("%s: %v", name, err)
		}
		if s.m != first {
			t.Fatalf("%s: it is another machine", name)
		}
		*seed = 0
		now := bytesAt(s.m.memory.start, uintptr(len(image)))
		old := bytes.Clone(image)
		at := uintptr(unsafe.Pointer(seed)) - s.m.memory.start
		copy(old[at:at+8], now[at:at+8])
		if !bytes.Equal(now, old) || s.m.memory.list != 0 || s.m.memory.next != s.m.image.next {
			t.Errorf("%s: something is left", name)
		}
		if bytes.ContainsFunc(behind, func(r rune) bool { return r != 0 }) {
			t.Errorf("%s: the memory behind is not clear", name)
		}
	}
	got, err := run1(t, s, job(`return [typeof left, typeof Map, [1].map((x) => x), Object.keys(globalThis)]`), nobody{})
	if err != nil || got != `["undefined","function",[1],[]]` {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestRetired has machines that are not used again.
func TestRetired(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body string
		host       nobody
		again      bool
	}{
		{"ok", `return 1`, nobody{}, true},
		{"thrown", `throw 1`, nobody{}, true},
		{"memory", `return "x".repeat(2 ** 29)`, nobody{}, false},
		{"depth", `const f = (n) => f(n + 1) + 1; f(0)`, nobody{}, false},
		{"panic", `log.info("x")`, nobody{panics: true}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSeat()
			t.Cleanup(s.close)
			if err := s.open(); err != nil {
				t.Fatal(err)
			}
			before := s.m
			_, err := run1(t, s, job(tc.body), tc.host)
			if (s.m == before) != tc.again {
				t.Errorf("the same machine: %v, after %v", s.m == before, err)
			}
			if e, ok := errors.AsType[*message.Error](err); tc.host.panics && (!ok || e.Code != message.CodeInternal) {
				t.Errorf("got %v", err)
			}
			if got, err := run1(t, s, job(`return 1`), nobody{}); err != nil || got != "1" {
				t.Errorf("the next run: %s, %v", got, err)
			}
		})
	}
}

// TestPanicked has a machine whose host panics left alone from then on: its memory is
// given back, and may be another one's.
func TestPanicked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := newMachine()
		if err != nil {
			t.Fatal(err)
		}
		defer m.close()
		j := job(`log.info("x")`)
		x := newTask(t.Context(), j, nobody{panics: true}, at(t))
		if _, err := attempt(m, x); message.CodeOf(err) != message.CodeInternal {
			t.Errorf("got %v", err)
		}
		<-time.After(j.Limits.CPU + j.Limits.Wall)
		synctest.Wait()
		if atomic.LoadInt32(&m.memory.stop) != 0 {
			t.Error("it was interrupted after its end")
		}
	})
}

// TestLoaded runs the same scripts again and again, also when they are there
// already, and looks that they begin anew.
func TestLoaded(t *testing.T) {
	t.Parallel()
	s := newSeat()
	t.Cleanup(s.close)
	counts := job("")
	counts.Code = NewCode(`(async (main) => { "use strict"; let n = 0; const f = () => { f.n = (f.n ?? 0) + 1; return [++n, f.n, globalThis.left ?? 0] };
		const tag = (t) => t; main({ default: () => { const got = f(); globalThis.left = 1; tag`+"`x`"+`; return [...got, Math.random()] } }) })`, false)
	other, broken := job(`return typeof left`), job("")
	broken.Code = NewCode(`(async (main) => { return 1 +; })`, false)
	classic := job("")
	classic.Code = NewCode(`var left = typeof n; n = 1; left`, true)
	random := map[any]bool{}
	for i, j := range []*Job{counts, counts, counts, other, counts, other, other, other, counts, counts, counts, broken, broken, broken, counts, classic, classic, classic, counts, counts, counts} {
		got, err := run1(t, s, j, nobody{})
		switch j {
		case counts:
			var out [4]any
			if json.Unmarshal([]byte(got), &out) != nil || out[0] != 1.0 || out[1] != 1.0 || out[2] != 0.0 || random[out[3]] {
				t.Errorf("run %d: got %s, %v", i, got, err)
			}
			random[out[3]] = true
		case other:
			if got != `"undefined"` {
				t.Errorf("run %d: got %s, %v", i, got, err)
			}
		case broken:
			if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != Syntax {
				t.Errorf("run %d: got %s, %v", i, got, err)
			}
		case classic:
			if _, ok := errors.AsType[*Failure](err); !ok { // "undefined" is no JSON
				t.Errorf("run %d: got %s, %v", i, got, err)
			}
		}
	}
	if s.m.loaded == nil {
		t.Error("the script is not there")
	}
}

// TestRandom has a machine that is like new all the same give other numbers.
func TestRandom(t *testing.T) {
	t.Parallel()
	s := newSeat()
	t.Cleanup(s.close)
	seen := map[string]bool{}
	for range 10 {
		got, err := run1(t, s, job(`return Math.random()`), nobody{})
		if err != nil || seen[got] {
			t.Fatalf("got %s, %v after %v", got, err, seen)
		}
		seen[got] = true
	}
}

// TestIdle has nothing before the first job, and nothing a while after the last.
func TestIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := NewPool(Options{Places: 2}).(*pool)
		seats := func() int {
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.free)
		}
		if n := seats(); n != 0 {
			t.Errorf("there are %d seats before the first job", n)
		}
		for range 3 {
			if _, err := p.Run(t.Context(), job(`return 1`), nobody{}); err != nil {
				t.Fatal(err)
			}
			if n := seats(); n != 1 {
				t.Errorf("there are %d seats", n)
			}
		}
		<-time.After(p.idle + time.Second)
		if n := seats(); n != 0 {
			t.Errorf("there are %d seats after a while", n)
		}
		if _, err := p.Run(t.Context(), job(`return 1`), nobody{}); err != nil {
			t.Error(err)
		}
		p.Close()
	})
}

// TestMemory gives and takes blocks, and looks that they do not overlap.
func TestMemory(t *testing.T) {
	t.Parallel()
	v, err := newVM(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	m := newMemory(v.tls)
	defer m.release(v.tls)
	blocks := map[uintptr]uintptr{}
	fill := func(at, size uintptr) {
		for i := range bytesAt(at, size) {
			bytesAt(at, size)[i] = byte(at >> 4)
		}
		blocks[at] = size
	}
	check := func(at uintptr, size uintptr, as byte) {
		t.Helper()
		for _, b := range bytesAt(at, size) {
			if b != as {
				t.Fatal("a block was overwritten")
			}
		}
	}
	size := uintptr(7)
	for i := range 20000 {
		size = size*1103515245%(6<<10) + 1
		switch {
		case i%3 < 2:
			at := m.take(v.tls, size)
			if at == 0 || at%align != 0 {
				t.Fatalf("took %x", at)
			}
			if _, ok := blocks[at]; ok {
				t.Fatal("it is taken")
			}
			fill(at, size)
		default:
			for at, n := range blocks {
				check(at, n, byte(at>>4))
				delete(blocks, at)
				if i%2 == 0 {
					m.give(v.tls, at)
				} else {
					to := m.grow(v.tls, at, n+size)
					check(to, n, byte(at>>4))
					fill(to, n+size)
				}
				break
			}
		}
	}
	for at, n := range blocks {
		check(at, n, byte(at>>4))
		m.give(v.tls, at)
	}
	if m.list != 0 {
		t.Error("blocks are left")
	}
}

// TestWait has runs end in every way that they can. One that was called off tells
// why it was, whatever its machine did.
func TestWait(t *testing.T) {
	t.Parallel()
	off := errors.New("called off")
	for _, c := range []struct {
		name             string
		off, late, ended bool
		want             string // the end, or the limit
	}{
		{name: "ended", ended: true, want: "1"},
		{name: "late", late: true, want: "cpu"},
		{name: "neither", want: "wall"},
		{name: "off", off: true, want: "off"},
		{name: "off and late", off: true, late: true, want: "off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				ended, late := make(chan outcome, 1), make(chan struct{})
				if c.ended {
					ended <- outcome{result: json.RawMessage("1")}
				}
				if c.off {
					cancel(off)
				}
				if c.late {
					close(late)
				}
				result, err := wait(ctx, ended, late, time.Second)
				got := string(result)
				if f, ok := errors.AsType[*Failure](err); ok {
					got = f.Limit
				} else if errors.Is(err, off) {
					got = "off"
				}
				if got != c.want {
					t.Errorf("%q, %v", result, err)
				}
			})
		})
	}
}
