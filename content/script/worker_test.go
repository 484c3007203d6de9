package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

func body(s string) content.Content { return content.Content{Body: []byte(s)} }

// TestKilled has a script in a process of its own do what cannot be interrupted.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newStore()
	p, _ := provider(t, script.Settings{
		Mode: script.ModeProcess, Workers: 1, Grants: all,
		Limits: script.Limits{CPU: duration.Duration(200 * time.Millisecond), Wall: duration.Duration(3 * time.Second)},
	}, s.host(), map[string]string{
		"stuck.js": `export default () => "a".repeat(5e6).indexOf("a".repeat(1e5) + "b")`,
		"ok.js":    `export default async () => (await call("math:/add", 1)).sum`,
		"log.js":   `export default () => { log.info("x"); return 1 }`,
	})
	want(t, p, "/ok.js", "3")
	for range 2 {
		begun := time.Now()
		_, err := get(t, p, "/stuck.js", nil, "")
		if message.CodeOf(err) != message.CodeLimitExceeded {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		want(t, p, "/ok.js", "3")
	}
	want(t, p, "/log.js", "1")
}

// TestOverloaded has as many scripts wait as may be under way, and fills the queue.
func TestOverloaded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	begun := make(chan struct{}, 10)
	host := script.Host{Get: func(ctx context.Context, _ script.Origin, _ string, _ json.RawMessage) (content.Content, script.Dependency, error) {
		select {
		case begun <- struct{}{}:
		default:
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return body("1"), nil, ctx.Err()
	}}
	p, _ := provider(t, script.Settings{Workers: 1, Queue: 1, Grants: all, Limits: script.Limits{Wall: duration.Duration(time.Minute)}}, host, map[string]string{
		"a.js": `export const call = async (b, ctx) => ctx.content.get("store:/x")`,
	})
	call := func(ctx context.Context) error {
		_, err := p.Call(ctx, contenttest.Request("/a.js"), body("1"))
		return err
	}
	var wg sync.WaitGroup
	const under = 8
	results := make(chan error, under)
	for range under {
		wg.Go(func() { results <- call(t.Context()) })
		<-begun
	}
	ctx, cancel := context.WithCancel(t.Context())
	const others = 3
	queued := make(chan error, others)
	for range others {
		wg.Go(func() { queued <- call(ctx) })
	}
	// One waits, so the others are refused.
	for range others - 1 {
		if err := <-queued; message.CodeOf(err) != message.CodeOverloaded {
			t.Errorf("one too many: %v", err)
		}
	}
	cancel()
	if err := <-queued; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that waited: %v", err)
	}
	close(release)
	for range under {
		if err := <-results; err != nil {
			t.Errorf("one that ran: %v", err)
		}
	}
	wg.Wait()
}

// disturb has scripts take all that they may, and go on until end is called, which
// tells how many had ended before. They end by themselves after a while, so that
// what waits for them is told of as a fault, and waits not for ever.
func disturb(tb testing.TB) (end func() (before int)) {
	tb.Helper()
	scripts := 2 * runtime.GOMAXPROCS(0)
	const most = duration.Duration(20 * time.Second)
	begun := make(chan struct{}, scripts)
	host := script.Host{Get: func(context.Context, script.Origin, string, json.RawMessage) (content.Content, script.Dependency, error) {
		begun <- struct{}{}
		return body("1"), nil, nil
	}}
	p, _ := provider(tb, script.Settings{
		Workers: scripts, Grants: all, Limits: script.Limits{CPU: most, Wall: most},
	}, host, map[string]string{
		"loop.js":  `export default async () => { await content.get("store:/x"); for (;;); }`,
		"waste.js": `export default async () => { await content.get("store:/x"); for (;;) { const a = []; for (let i = 0; i < 10000; i++) a.push("x".repeat(1000) + i) } }`,
	})
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, scripts)
	for i := range scripts {
		go func() {
			res, err := p.Open(ctx, contenttest.Request([]string{"/loop.js", "/waste.js"}[i%2]))
			if err == nil {
				_, err = res.Get(ctx)
			}
			ended <- err
		}()
	}
	for range scripts {
		select {
		case <-begun:
		case err := <-ended:
			tb.Errorf("a script ended at once: %v", err)
		}
	}
	return func() (before int) {
		before = len(ended)
		cancel()
		for range scripts {
			if err := <-ended; before == 0 && !errors.Is(err, context.Canceled) {
				tb.Errorf("a script that was called off: %v", err)
			}
		}
		return before
	}
}

// echo is other work: somebody who answers. It ends when questions are closed.
func echo() (questions, answers chan int) {
	questions, answers = make(chan int), make(chan int)
	go func() {
		defer close(answers)
		for q := range questions {
			answers <- q
		}
	}()
	return questions, answers
}

// TestUndisturbed has other work done while scripts run that would never end: it
// comes to its end before they do.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	end := disturb(t)
	questions, answers := echo()
	for i := range 100 {
		questions <- i
		if got := <-answers; got != i {
			t.Errorf("the answer to %d is %d", i, got)
		}
	}
	close(questions)
	<-answers
	runtime.GC() // for which all have to stop for a moment
	<-time.After(time.Millisecond)
	p, _ := provider(t, script.Settings{Grants: all}, newStore().host(), map[string]string{
		"ok.js": `export default async () => (await call("math:/add", 1)).sum`,
	})
	want(t, p, "/ok.js", "3")
	if before := end(); before > 0 {
		t.Errorf("%d scripts had ended before the other work", before)
	}
}

// BenchmarkUndisturbed measures what other work feels of such scripts: how long a
// question to another goroutine and its answer take.
func BenchmarkUndisturbed(b *testing.B) {
	end := disturb(b)
	questions, answers := echo()
	var worst time.Duration
	for b.Loop() {
		asked := time.Now()
		questions <- 1
		<-answers
		worst = max(worst, time.Since(asked))
	}
	b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
	close(questions)
	end()
}

func TestParallel(t *testing.T) {
	t.Parallel()
	p, _ := provider(t, script.Settings{}, script.Host{}, map[string]string{
		"a.ts": `import { twice } from "./b"; let n = 0; export default (p: any) => { n++; (globalThis as any).seen = ((globalThis as any).seen ?? 0) + 1; return [twice(p.n), n, (globalThis as any).seen] }`,
		"b.ts": `export const twice = (n: number) => 2 * n`,
	})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			got, err := get(t, p, "/a.ts", nil, fmt.Sprintf(`{"n":%d}`, i))
			if want := fmt.Sprintf(`[%d,1,1]`, 2*i); err != nil || got != want {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		})
	}
	wg.Wait()
}

// benchmarkCall calls a script as a node does, but for the way of the message.
func benchmarkCall(b *testing.B, s script.Settings, h script.Host, code string) {
	b.Helper()
	p, _ := provider(b, s, h, map[string]string{"h.ts": code})
	r, in := contenttest.Request("/h.ts"), body(`{"list":[1,2,3,4,5,6,7,8,9,10]}`)
	if _, err := p.Call(b.Context(), r, in); err != nil { // the first one compiles
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Call(b.Context(), r, in); err != nil {
			b.Fatal(err)
		}
	}
}

const sum = `export const call = (b: { list: number[] }) => ({ sum: b.list.map((n) => n * 2).reduce((a, b) => a + b) })`

func BenchmarkCall(b *testing.B) { benchmarkCall(b, script.Settings{}, script.Host{}, sum) }

func BenchmarkCallProcess(b *testing.B) {
	benchmarkCall(b, script.Settings{Mode: script.ModeProcess}, script.Host{}, sum)
}

// BenchmarkCallHost has the script ask the host once.
func BenchmarkCallHost(b *testing.B) {
	benchmarkCall(b, script.Settings{Grants: all}, newStore().host(), `export const call = async () => ({ ...await globalThis.call("math:/add", 1) })`)
}

// BenchmarkCallLarge has a script of 40 KiB of which one function is needed.
func BenchmarkCallLarge(b *testing.B) {
	var code strings.Builder
	code.WriteString(sum)
	for i := range 400 {
		fmt.Fprintf(&code, "\nexport function unused%d(a: number, b: string) { if (a > %d) return b.repeat(a).slice(%d); throw new Error(`no ${a}`) }", i, i, i)
	}
	benchmarkCall(b, script.Settings{}, script.Host{}, code.String())
}
