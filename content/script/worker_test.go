package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		"a.js": `export default async () => content.get("store:/x")`,
	})
	var wg sync.WaitGroup
	const under = 8
	results := make(chan error, under)
	for range under {
		wg.Go(func() { _, err := get(t, p, "/a.js", nil, ""); results <- err })
		<-begun
	}
	ctx, cancel := context.WithCancel(t.Context())
	const others = 3
	queued := make(chan error, others)
	for range others {
		wg.Go(func() {
			res, err := p.Open(ctx, contenttest.Request("/a.js"))
			if err == nil {
				_, err = res.Get(ctx)
			}
			queued <- err
		})
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

// TestUndisturbed measures what the rest of the process feels of scripts that take
// all that they may.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	p, _ := provider(t, script.Settings{Limits: script.Limits{CPU: duration.Duration(300 * time.Millisecond)}}, script.Host{}, map[string]string{
		"loop.js": `export default () => { for (;;); }`,
		"bomb.js": `export default () => { const a = []; for (;;) a.push("x".repeat(1000) + a.length) }`,
	})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			path := []string{"/loop.js", "/bomb.js"}[i%2]
			if _, err := get(t, p, path, nil, ""); message.CodeOf(err) != message.CodeLimitExceeded {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	var worst time.Duration
	for running := true; running; {
		begun := time.Now()
		select {
		case <-ended:
			running = false
		case <-time.After(time.Millisecond):
			worst = max(worst, time.Since(begun))
		}
	}
	if worst > 2*time.Second {
		t.Errorf("a timer of 1ms took %v while scripts ran", worst)
	}
	t.Logf("the longest wait of a timer of 1ms was %v", worst)
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
