package standard_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// is waits for a content of a watch; a fault is its code, and so is the end.
func is(t *testing.T, w *call.Watch, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := "nothing"
	for last != want {
		u, err := w.Next(ctx)
		switch last = string(u.Body); {
		case ctx.Err() != nil:
			t.Fatalf("%s is not %s", w.Address(), want)
		case err != nil:
			last = string(message.CodeOf(err))
		case u.Fault != nil:
			last = string(u.Fault.Code)
		}
		if err != nil && last != want {
			t.Fatalf("%s has ended: %v; want %s", w.Address(), err, want)
		}
	}
}

// TestClaimsOfLiveWatches changes the claims of somebody who watches: a query sees
// the new ones, and what a rule does not allow any more ends.
func TestClaimsOfLiveWatches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "shop/make.sql", "create table people (id integer primary key, dept text); insert into people (dept) values ('food'), ('tools'), ('food');")
	write(t, dir, "shop/mine.sql", "select id from people where dept = :claims.dept order by id;")
	write(t, dir, "shop/mine.ts", "export default () => session.claims.dept ?? null")
	write(t, dir, "shop/plan.json", `"plan"`)
	n := startNode(t, ropewalk.Config{
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Permissions: policy.Config{Rules: []policy.Rule{
			{Verbs: []string{"watch", "call"}, Addresses: []string{"*:/**"}},
			{Name: "food only", Effect: "deny", Verbs: []string{"watch"}, Addresses: []string{"json:/shop/**"}, When: "!(has(claims.dept) && claims.dept == 'food')"},
		}},
	}, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{
		Grants: []script.Grant{{Paths: []string{"/**"}, Session: script.SessionPublic}},
	}}}, standard.Env{})
	if _, err := n.Publish(t.Context(), "query:/shop/make.sql", struct{}{}); err != nil {
		t.Fatal(err)
	}
	door := ropewalk.NewService("door")
	door.Handle("/in", ropewalk.Handle(func(ctx context.Context, dept string) (string, error) {
		name := "anna"
		return "", service.ChangeSession(ctx, session.Patch{Subject: &name, Set: session.Claims{"dept": dept}})
	}))
	if err := n.Serve(door); err != nil {
		t.Fatal(err)
	}
	conn, err := client.Dial(t.Context(), "ws://"+n.Addrs()["main"].String(), client.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := func(dept string) {
		t.Helper()
		if _, err := conn.Call(t.Context(), "door:/in", dept); err != nil {
			t.Fatal(err)
		}
	}
	rows, seen := conn.Watch(t.Context(), "query:/shop/mine.sql"), conn.Watch(t.Context(), "script:/shop/mine.ts")
	is(t, rows, `[]`)
	is(t, seen, `null`)
	in("food")
	is(t, rows, `[{"id":1},{"id":3}]`)
	is(t, seen, `"food"`)
	plan := conn.Watch(t.Context(), "json:/shop/plan.json")
	is(t, plan, `"plan"`)
	in("tools")
	is(t, rows, `[{"id":2}]`)
	is(t, seen, `"tools"`)
	is(t, plan, string(message.CodeRevoked))
}

// TestJavaScriptScheme has both names of the scheme of scripts mean the same.
func TestJavaScriptScheme(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.js", "export default (p) => 1 + (p.n ?? 0)\nexport const call = (b) => b * 2")
	n := start(t, standard.Settings{Root: dir})
	for _, scheme := range []string{"script", "javascript"} {
		watch(t, n, scheme+":/a.js").until("1")
		watch(t, n, scheme+":/a.js", call.WithParams(map[string]int{"n": 4})).until("5")
		if got, err := ropewalk.Call[int](t.Context(), n, scheme+":/a.js", 21); err != nil || got != 42 {
			t.Errorf("%s: %d, %v", scheme, got, err)
		}
	}
	write(t, dir, "a.js", "export default 7")
	watch(t, n, "javascript:/a.js").until("7")
}
