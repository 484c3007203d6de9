package route_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// tableOf serves each "id=name:/pattern" in order; the same id is one server.
func tableOf(t testing.TB, routes ...string) (*route.Table, map[string]*server) {
	t.Helper()
	table, all := route.NewTable(), map[string]*server{}
	for _, r := range routes {
		id, what, _ := strings.Cut(r, "=")
		name, pattern, _ := strings.Cut(what, ":")
		if all[id] == nil {
			all[id] = &server{id: id}
		}
		serve(t, table, all[id], name, pattern)
	}
	return table, all
}

func TestLookup(t *testing.T) {
	t.Parallel()
	table, _ := tableOf(t,
		"a=math:/decimal/mul", "b=math:/decimal/mul", "c=math:/decimal/{op}", "d=math:/decimal/**", "d=math:/",
		"e=math:/{kind}/mul", "e=math:/x/{a}/y/{b}", "e=math:/**", "f=files:/**", "f=größe:/ä/{ß}", "b=calc:/decimal/mul",
	)
	for _, tt := range []struct {
		address, route, servers, params string
	}{
		{"math:/decimal/mul", "math:/decimal/mul", "a b", ""},
		{"math:/decimal/mul/", "math:/decimal/mul", "a b", ""},
		{"math:/decimal/add", "math:/decimal/{op}", "c", "op=add"},
		{"math:/decimal/add/x/y", "math:/decimal/**", "d", "**=add/x/y"},
		{"math:/decimal", "math:/**", "e", "**=decimal"},
		{"math:/hex/mul", "math:/{kind}/mul", "e", "kind=hex"},
		{"math:/x/1/y/2", "math:/x/{a}/y/{b}", "e", "a=1 b=2"},
		{"math:/x/1/z/2", "math:/**", "e", "**=x/1/z/2"},
		{"math:/", "math:/", "d", ""},
		{"files:/a", "files:/**", "f", "**=a"},
		{"größe:/ä/日本", "größe:/ä/{ß}", "f", "ß=日本"},
		{"b@math:/decimal/mul", "math:/decimal/mul", "b", ""},
		{"b-sub@math:/decimal/mul?q=1", "math:/decimal/mul", "b", ""},
		{"c@math:/decimal/mul", "math:/decimal/{op}", "c", "op=mul"},
		{"e@math:/decimal/mul", "math:/{kind}/mul", "e", "kind=decimal"},
		{"*:/decimal/mul", "math:/decimal/mul", "a b f", ""},
		{"f@*:/decimal/mul", "files:/**", "f", "**=decimal/mul"},
		{"*:/", "math:/", "d", ""},
	} {
		t.Run(tt.address, func(t *testing.T) {
			t.Parallel()
			m, err := table.Lookup(addr(t, tt.address))
			if err != nil {
				t.Fatalf("Lookup: %v", err)
			}
			if got := strings.Join(ids(m.Endpoints), " "); got != tt.servers || m.Route != tt.route {
				t.Errorf("got %s by %s, want %s by %s", m.Route, got, tt.route, tt.servers)
			}
			if got := params(m.Params); got != tt.params {
				t.Errorf("params %q, want %q", got, tt.params)
			}
			if want, _, _ := strings.Cut(tt.route, ":"); m.Name != want {
				t.Errorf("name %q, want %q", m.Name, want)
			}
		})
	}
}

func params(p route.Params) string {
	var out []string
	for k, v := range p.All() {
		out = append(out, k+"="+v)
	}
	return strings.Join(out, " ")
}

// TestNoHintToEverything has services that would take any path: none of them is
// what was meant.
func TestNoHintToEverything(t *testing.T) {
	t.Parallel()
	table, _ := tableOf(t, "a=files:/**", "b=any:/{one}/**", "c=shop:/orders/{id}")
	for address, hint := range map[string]string{
		"log:/x":        "No service log is known here",
		"log:/x/y":      "No service log is known here",
		"log:/orders/7": "Did you mean shop:/orders/{id}?",
	} {
		_, err := table.Lookup(addr(t, address))
		wantError(t, err, message.CodeNoService, hint)
	}
}

func TestLookupFails(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t,
		"a=math:/decimal/mul", "a=math:/users/{id}/cart", "b=text:/up", "b=text:/Down", "gone=text:/left", "gone=was:/here",
		"c=files:/x/**", "d=a:/b",
	)
	if n := table.UnserveAll(all["gone"]); n != 2 {
		t.Fatalf("UnserveAll = %d, want 2", n)
	}
	for _, tt := range []struct {
		address string
		code    message.Code
		hint    string
	}{
		{"math:/decimal/mull", message.CodeNoService, "Did you mean math:/decimal/mul?"},
		{"math:/decmal/mul", message.CodeNoService, "Did you mean math:/decimal/mul?"},
		{"maht:/decimal/mul", message.CodeNoService, "Did you mean math:/decimal/mul?"},
		{"math:/user/7/cart", message.CodeNoService, "Did you mean math:/users/{id}/cart?"},
		{"text:/down", message.CodeNoService, "Did you mean text:/Down?"},
		{"calculator:/decimal/mul", message.CodeNoService, "Did you mean math:/decimal/mul?"},
		{"math:/nothing/like/it", message.CodeNoService, "The service math has no such path"},
		{"zzz:/qqq", message.CodeNoService, "No service zzz is known here"},
		{"files:/x", message.CodeNoService, ""},
		{"a:/c", message.CodeNoService, ""},
		{"*:/nowhere", message.CodeNoService, "No service has such a path"},
		{"text:/left", message.CodeServiceDown, "Start the service again"},
		{"*:/here", message.CodeServiceDown, ""},
		{"x@math:/decimal/mul", message.CodeServiceDown, "leave out the id"},
		{"x@*:/up", message.CodeServiceDown, "leave out the id"},
	} {
		t.Run(tt.address, func(t *testing.T) {
			t.Parallel()
			_, err := table.Lookup(addr(t, tt.address))
			wantError(t, err, tt.code, tt.hint)
		})
	}
	// Addresses that no strict parser lets through, from older dialects.
	for _, path := range []string{"x", "//", "/x//", "/x//a", "/x/a//"} {
		if m, err := table.Lookup(message.Address{Name: "files", Path: path}); err == nil {
			t.Errorf("path %q matched %s", path, m.Route)
		}
	}
}

func wantError(t *testing.T, err error, code message.Code, hint string) {
	t.Helper()
	var e *message.Error
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	if e = message.AsError(err); e.Code != code || !strings.Contains(e.Hint, hint) || e.Message == "" {
		t.Fatalf("%s %q, hint %q; want %s with %q", e.Code, e.Message, e.Hint, code, hint)
	}
}

func TestMatchFor(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t, "a=s:/x/{id}", "b=s:/x/{key}", "b=s2:/x/*")
	m, err := table.Lookup(addr(t, "*:/x/1"))
	if err != nil || len(m.Endpoints) != 2 {
		t.Fatalf("Lookup: %v, %v", ids(m.Endpoints), err)
	}
	var req route.Request
	req.Matched(m.For(all["b"]))
	if req.Route != "s:/x/{key}" || req.Param("key") != "1" || req.Param("id") != "" || req.Params().Len() != 1 {
		t.Errorf("for b: %s, key %q", req.Route, req.Param("key"))
	}
	req.Matched(m.For(&server{}))
	if req.Route != "s:/x/{id}" || req.Param("id") != "1" {
		t.Errorf("for a stranger: %s, id %q", req.Route, req.Param("id"))
	}
}

func TestServeAgainKeepsThePlace(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t, "a=s:/x/{id}", "b=s:/x/{id}")
	if err := table.Serve("s", route.MustPattern("/x/{nr}/"), all["a"], route.Info{Version: "2"}); err != nil {
		t.Fatal(err)
	}
	m, err := table.Lookup(addr(t, "s:/x/1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(m.Endpoints); !slices.Equal(got, []string{"a", "b"}) || m.Params.Get("nr") != "1" || m.Info(nil).Version != "2" {
		t.Errorf("servers %v, nr %q, version %q", got, m.Params.Get("nr"), m.Info(nil).Version)
	}
	if info, ok := table.Info("s", route.MustPattern("/x/*")); !ok || info.Version != "2" {
		t.Errorf("Info: %v, %v", info, ok)
	}
	if table.Len() != 1 || table.Count(all["a"]) != 1 {
		t.Errorf("Len %d, Count %d", table.Len(), table.Count(all["a"]))
	}
}

// vague is an endpoint that is not comparable.
type vague struct {
	*server
	_ []int
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	table := route.NewTable()
	ok := route.MustPattern("/x")
	for _, name := range []string{"", "*", "a:b", "a/b", "a@b", "a\x00", "\xff", strings.Repeat("x", 256)} {
		wantError(t, table.Serve(name, ok, &server{}, route.Info{}), message.CodeBadAddress, "")
	}
	wantError(t, table.Serve("x", route.Pattern{}, &server{}, route.Info{}), message.CodeBadAddress, "ParsePattern")
	wantError(t, table.Serve("x", ok, nil, route.Info{}), message.CodeInternal, "pointer")
	wantError(t, table.Serve("x", ok, vague{server: &server{}}, route.Info{}), message.CodeInternal, "pointer")
}

func TestUnserve(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t, "a=s:/x", "b=s:/x", "a=s:/y/{z}", "a=t:/x")
	version, changed := table.Version()
	if table.Unserve("s", route.MustPattern("/z"), all["a"]) || table.Unserve("u", route.MustPattern("/x"), all["a"]) ||
		table.Unserve("s", route.MustPattern("/y/q"), all["b"]) || table.Unserve("s", route.Pattern{}, all["b"]) {
		t.Error("Unserve of what is not served reported true")
	}
	select {
	case <-changed:
		t.Error("nothing changed, but the channel is closed")
	default:
	}
	before, err := table.Lookup(addr(t, "s:/x"))
	if err != nil {
		t.Fatal(err)
	}
	if !table.Unserve("s", route.MustPattern("/x"), all["a"]) || table.Unserve("s", route.MustPattern("/x"), all["a"]) {
		t.Error("Unserve must report true once")
	}
	<-changed
	if now, _ := table.Version(); now <= version {
		t.Errorf("version %d after %d", now, version)
	}
	if m, _ := table.Lookup(addr(t, "s:/x")); !slices.Equal(ids(m.Endpoints), []string{"b"}) {
		t.Errorf("servers %v", ids(m.Endpoints))
	}
	if !slices.Equal(ids(before.Endpoints), []string{"a", "b"}) {
		t.Errorf("an old match changed: %v", ids(before.Endpoints))
	}
	if n := table.UnserveService("s", all["a"]); n != 1 {
		t.Errorf("UnserveService = %d, want 1", n)
	}
	if n := table.UnserveAll(all["a"]); n != 1 || table.Count(all["a"]) != 0 || table.Len() != 1 {
		t.Errorf("UnserveAll = %d, Count %d, Len %d", n, table.Count(all["a"]), table.Len())
	}
}

func TestForgetsOldRoutes(t *testing.T) {
	t.Parallel()
	table, e := route.NewTable(), &server{id: "a"}
	for i := range route.MaxDownRoutes + 10 {
		p := route.MustPattern(fmt.Sprintf("/deep/%d/{x}", i))
		if err := table.Serve("s", p, e, route.Info{}); err != nil {
			t.Fatal(err)
		}
		table.Unserve("s", p, e)
	}
	_, err := table.Lookup(addr(t, "s:/deep/9/x"))
	wantError(t, err, message.CodeNoService, "")
	_, err = table.Lookup(addr(t, "s:/deep/10/x"))
	wantError(t, err, message.CodeServiceDown, "")
	serve(t, table, e, "s", "/deep/10/{x}")
	if _, err = table.Lookup(addr(t, "s:/deep/10/x")); err != nil {
		t.Error(err)
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t, "b=text:/up", "a=math:/z/{id}", "c=math:/z/*", "a=math:/b/**", "a=math:/b", "gone=x:/y")
	table.UnserveAll(all["gone"])
	all["c"].local, all["c"].busy = true, 7
	since := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	if err := table.Serve("text", route.MustPattern("/up"), all["b"], route.Info{
		Version: "1.2.0", Description: "shouts", Since: since, Metadata: json.RawMessage(`{"a":1}`),
	}); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(table.Services())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"math","path":"/b","servers":[{"id":"a","local":false,"inFlight":0}]},` +
		`{"name":"math","path":"/b/**","servers":[{"id":"a","local":false,"inFlight":0}]},` +
		`{"name":"math","path":"/z/{id}","servers":[{"id":"a","local":false,"inFlight":0},{"id":"c","local":true,"inFlight":7}]},` +
		`{"name":"text","path":"/up","servers":[{"id":"b","version":"1.2.0","description":"shouts","local":false,"inFlight":0,` +
		`"since":"2026-11-21T20:00:00Z","metadata":{"a":1}}]}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Look-ups while servers come and go see whole matches, and a route that is
// always served is always found.
func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	table, steady := route.NewTable(), &server{id: "steady"}
	serve(t, table, steady, "s", "/k50/{x}")
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			e := &server{id: fmt.Sprintf("w%d", w)}
			for i := range 500 {
				serve(t, table, e, "s", fmt.Sprintf("/k%d/{y}", i%100))
				if i%50 == 49 {
					table.UnserveAll(e)
				}
			}
		})
	}
	steadyAddr, swept := addr(t, "s:/k50/v"), addr(t, "*:/*/v")
	for range 2 {
		wg.Go(func() {
			for range 3000 {
				m, err := table.Lookup(steadyAddr)
				if err != nil || m.Endpoints[0] != steady || m.Params.Get("x") != "v" {
					t.Errorf("lost the route: %v, %v", m.Route, err)
					return
				}
			}
			for range 20 {
				targets, err := table.Expand(swept)
				if err != nil || len(targets) == 0 {
					t.Errorf("Expand: %v", err)
				}
				table.Services()
			}
		})
	}
	wg.Wait()
}

func TestLookupDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	table, all := tableOf(t, "a=s:/x/y", "b=s:/x/{id}/z", "b=s:/f/**")
	req := &route.Request{}
	for _, s := range []string{"s:/x/y", "s:/x/1/z", "s:/f/a/b/c", "b@s:/x/2/z"} {
		a := addr(t, s)
		if n := testing.AllocsPerRun(1000, func() {
			m, err := table.Lookup(a)
			if err != nil {
				t.Fatal(err)
			}
			req.Matched(m.For(all["b"]))
			req.Param("id")
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", s, n)
		}
	}
}
