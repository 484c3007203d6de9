package script_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// TestHostAnswersAreBounded has scripts get so much that it would not fit into
// the memory that they may use, if they kept it.
func TestHostAnswersAreBounded(t *testing.T) {
	t.Parallel()
	big := `"` + strings.Repeat("x", 1<<15) + `"`
	var (
		mu        sync.Mutex
		now, most int
		release   = make(chan struct{})
		open      = sync.OnceFunc(func() { close(release) })
	)
	host := newStore().host()
	host.Get = func(ctx context.Context, _ script.Origin, address string, _ json.RawMessage) (content.Content, script.Dependency, error) {
		if strings.HasSuffix(address, "/big") {
			return content.Content{Body: []byte(big)}, nil, nil
		}
		mu.Lock()
		now++
		if most = max(most, now); now == 16 {
			open()
		}
		mu.Unlock()
		select {
		case <-release:
		case <-ctx.Done():
		}
		mu.Lock()
		now--
		mu.Unlock()
		return content.Content{Body: []byte(`1`)}, nil, nil
	}
	p, _ := provider(t, script.Settings{Grants: all, Limits: script.Limits{
		Memory: 1 << 20, CPU: duration.Duration(30 * time.Second), Wall: duration.Duration(30 * time.Second),
	}}, host, map[string]string{
		"many.js": `export default async () => {
			let got = 0, refused = []
			for (let i = 0; i < 60; i++) try { got += (await content.get("store:/big")).length } catch (e) { refused.push(e.code) }
			return [got >> 15, refused.length, refused[0]] }`,
		"give.js": `export default async () => {
			let refused = 0, big = "x".repeat(1 << 15)
			for (let i = 0; i < 60; i++) try { await publish("store:/x", big) } catch (e) { refused++ }
			return refused }`,
		"atonce.js": `export default async () => (await Promise.all(Array.from({ length: 60 }, () => content.get("store:/small")))).length`,
	})
	want(t, p, "/many.js", `[31,29,"limit_exceeded"]`)
	want(t, p, "/give.js", `29`)
	want(t, p, "/atonce.js", `60`)
	mu.Lock()
	defer mu.Unlock()
	if most != 16 {
		t.Errorf("%d were answered at once", most)
	}
}
