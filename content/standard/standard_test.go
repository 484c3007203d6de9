package standard_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// TestLowCode is the way of somebody who writes no Go: files in a directory are
// live topics.
func TestLowCode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "score.json", `{"home":0}`)
	write(t, dir, "board/make.sql", "create table if not exists flights (id integer primary key, gate text); insert into flights (gate) values (:gate);")
	write(t, dir, "board/flights.sql", "-- @key id\nselect id, gate from flights order by id;")
	write(t, dir, "board/move.sql", "update flights set gate = :gate where id = :id;")
	write(t, dir, "board/gates.ts", `
		export default async function (params: {}, ctx: any): Promise<string> {
			const rows = await db.query("select gate from flights order by id")
			const score = await content.get("json:/score.json")
			return rows.map((r: any) => r.gate).join(" ") + ", " + score.home
		}`)
	n := start(t, standard.Settings{Root: dir, Script: standard.Script{Settings: script.Settings{
		Grants: []script.Grant{{Paths: []string{"/board/**"}, Query: []string{"main"}, Get: []string{"json:/**"}}},
	}}})

	score := watch(t, n, "json:/score.json")
	score.until(`{"home":0}`)
	if _, err := n.Publish(t.Context(), "json:/score.json", map[string]int{"home": 1}); err != nil {
		t.Fatal(err)
	}
	score.until(`{"home":1}`)
	write(t, dir, "score.json", `{"home":2}`) // by an editor
	score.until(`{"home":2}`)

	publish := func(address string, body any) {
		t.Helper()
		if _, err := n.Publish(t.Context(), address, body); err != nil {
			t.Fatal(err)
		}
	}
	publish("query:/board/make.sql", map[string]string{"gate": "A1"})
	flights := watch(t, n, "query:/board/flights.sql")
	flights.until(`[{"id":1,"gate":"A1"}]`)
	gates := watch(t, n, "script:/board/gates.ts")
	gates.until(`"A1, 2"`)
	publish("query:/board/move.sql", map[string]any{"id": 1, "gate": "B2"})
	flights.until(`[{"id":1,"gate":"B2"}]`)
	gates.until(`"B2, 2"`)
	publish("json:/score.json", map[string]int{"home": 3})
	gates.until(`"B2, 3"`)
	publish("file:/board/flights.sql", nil) // the file goes while it is watched
	flights.until("not_found")

	u, err := n.Get(t.Context(), "file:/")
	if err != nil || strings.Contains(string(u.Body), ".ropewalk") || !strings.Contains(string(u.Body), "gates.ts") {
		t.Errorf("the listing is %s (%v)", u.Body, err)
	}
	if _, err := n.Get(t.Context(), "file:/.ropewalk/main.db"); message.CodeOf(err) != message.CodeNotFound && message.CodeOf(err) != message.CodeForbidden {
		t.Errorf("the database is served: %v", err)
	}
}

func TestWebAndFetch(t *testing.T) {
	t.Parallel()
	var n1 atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"n":%d}`, n1.Load())
	}))
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	dir := t.TempDir()
	write(t, dir, "ask.js", `export default async () => (await (await fetch("`+srv.URL+`/x")).json()).n + 100`)
	n := start(t, standard.Settings{
		Root: dir,
		Web:  web.Settings{Allow: []web.Entry{{URL: srv.URL, Private: true, Poll: duration.Duration(time.Second)}}},
		Script: standard.Script{Settings: script.Settings{Grants: []script.Grant{
			{Paths: []string{"/**"}, Fetch: []string{host}},
		}}},
	})
	w := watch(t, n, "http:/"+host+"/x")
	w.until(`{"n":0}`)
	n1.Store(7)
	w.until(`{"n":7}`)
	watch(t, n, "script:/ask.js").until("107")
}

func TestGit(t *testing.T) {
	t.Parallel()
	n := start(t, standard.Settings{Git: git.Settings{Repository: filepath.Join(t.TempDir(), "repo")}})
	w := watch(t, n, "json:/a.json")
	w.until("not_found")
	if _, err := n.Publish(t.Context(), "json:/a.json", map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	w.until(`{"a":1}`)
	if u, err := n.Get(t.Context(), "git:/log"); err != nil || !strings.Contains(string(u.Body), "a.json") {
		t.Errorf("%s, %v", u.Body, err)
	}
}

// TestShared shows that what is the same for all is asked for once, and that the
// rest is not.
func TestShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "shop/who.sql", "select coalesce(:claims.sub, 'nobody') as who;")
	write(t, dir, "board/who.sql", "select coalesce(:claims.sub, 'nobody') as who;")
	c, err := standard.New(standard.Settings{Root: dir, Query: standard.Query{Sharing: standard.Sharing{Shared: []string{"/board/**"}}}}, standard.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, s := range c.Services() {
		if s.Name() != "query" {
			continue
		}
		got := map[string]bool{}
		for _, r := range s.Routes() {
			got[r.Pattern.String()] = r.Info.Topic.Personal
		}
		if !got["/**"] || got["/board/**"] || len(got) != 3 {
			t.Errorf("personal are %v", got)
		}
	}
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		s    standard.Settings
		want string
	}{
		{standard.Settings{}, ""},
		{standard.Settings{Root: dir}, "json file query script javascript"},
		{standard.Settings{Root: dir, Schemes: []string{"json", "script"}}, "json script"},
		{standard.Settings{Applications: map[string]string{"shop": dir}, Schemes: []string{"json"}}, "json"},
		{standard.Settings{Applications: map[string]string{"shop": dir}}, "json file script javascript"},
		{standard.Settings{Web: web.Settings{Allow: []web.Entry{{URL: "https://example.com"}}}}, "http https"},
		{standard.Settings{Git: git.Settings{Repository: filepath.Join(dir, "repo")}}, "json file git"},
	} {
		if on := c.s.On(); on != (c.want != "") {
			t.Errorf("%+v: on is %v", c.s, on)
		}
		contents, err := standard.New(c.s, standard.Env{})
		if err != nil {
			t.Errorf("%s: %v", c.want, err)
			continue
		}
		var names []string
		for _, s := range contents.Services() {
			names = append(names, s.Name())
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s are served, not %s", got, c.want)
		}
		if err := contents.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    standard.Settings
		path string
	}{
		{standard.Settings{Root: "a", Applications: map[string]string{"x": "b"}}, "root"},
		{standard.Settings{Root: "a", Watches: -1}, "watches"},
		{standard.Settings{Root: "a", Schemes: []string{"json", "ftp"}}, "schemes[1]"},
		{standard.Settings{Root: "a", Schemes: []string{"http"}}, "schemes[0]"},
		{standard.Settings{Root: "a", Presence: []string{"json:/**", "/scores/**"}}, "presence[1]"},
		{standard.Settings{Root: "a", Presence: []string{"json:scores"}}, "presence[0]"},
		{standard.Settings{Root: "a", Presence: []string{"http:/a"}}, "presence[0]"},
		{standard.Settings{Root: "a", Presence: []string{"json:/**", "query:/board/{x}", "json:/scores/"}}, ""},
		{standard.Settings{Root: "a", Query: standard.Query{Sharing: standard.Sharing{Shared: []string{"/**"}}}}, "query.shared[0]"},
		{standard.Settings{Root: "a", Query: standard.Query{Sharing: standard.Sharing{Shared: []string{"/a/**", "no slash"}}}}, "query.shared[1]"},
		{standard.Settings{Root: "a", Query: standard.Query{Sharing: standard.Sharing{Interval: -1}}}, "query.interval"},
		{standard.Settings{Root: "a", Query: standard.Query{Settings: query.Settings{Databases: map[string]query.Database{"main": {Driver: "dbase"}}}}}, "query.databases.main.driver"},
		{standard.Settings{Query: standard.Query{Settings: query.Settings{Databases: map[string]query.Database{"main": {File: "a.db"}}}}}, "query.root"},
		{standard.Settings{Query: standard.Query{Settings: query.Settings{Applications: map[string]string{"x": "b"}}}}, "query.databases"},
		{standard.Settings{Applications: map[string]string{"x": "b"}, Schemes: []string{"query"}}, "schemes[0]"},
		{standard.Settings{Applications: map[string]string{"x": "b"}}, ""},
		{standard.Settings{Root: "a", Script: standard.Script{Schedules: "there"}}, "script.schedules"},
		{standard.Settings{Root: "a", Script: standard.Script{Settings: script.Settings{Mode: "thread"}}}, "script.mode"},
		{standard.Settings{Root: "a", Script: standard.Script{Settings: script.Settings{Grants: []script.Grant{{}}}}}, "script.grants[0].paths"},
		{standard.Settings{Script: standard.Script{Settings: script.Settings{Grants: []script.Grant{{Paths: []string{"/**"}}}}}}, "script.root"},
		{standard.Settings{Root: "a", Web: web.Settings{Allow: []web.Entry{{URL: "ftp://x"}}}}, "web.allow[0].url"},
		{standard.Settings{Git: git.Settings{Repository: "r", Branch: "a..b"}}, "git.branch"},
		{standard.Settings{Root: "a", Git: git.Settings{Repository: "r"}}, ""},
	} {
		errs := c.s.Check()
		if c.path == "" {
			if len(errs) > 0 {
				t.Errorf("%+v: %v", c.s, errs)
			}
			continue
		}
		if len(errs) == 0 {
			t.Errorf("%s: nothing is wrong with %+v", c.path, c.s)
			continue
		}
		e := message.AsError(errs[0])
		if e.Path != c.path || e.Message == "" || e.Code != message.CodeInvalidInput || strings.HasPrefix(e.Message, e.Path) {
			t.Errorf("%s: %+v", c.path, e)
		}
		if _, err := standard.New(c.s, standard.Env{}); err == nil {
			t.Errorf("%s: New makes something of it", c.path)
		}
	}
}

func TestNewFails(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for path, s := range map[string]standard.Settings{
		"root":              {Root: missing, Schemes: []string{"json"}},
		"files.root":        {Files: file.Settings{Root: missing}, Schemes: []string{"json"}},
		"applications.shop": {Applications: map[string]string{"shop": missing}, Schemes: []string{"json"}},
	} {
		c, err := standard.New(s, standard.Env{})
		if err == nil {
			t.Errorf("%s: no error", path)
			_ = c.Close()
			continue
		}
		if e := message.AsError(err); e.Path != path || e.Code != message.CodeInvalidInput {
			t.Errorf("%s: %+v", path, e)
		}
	}
}

// TestPermissions shows that publishing what is run needs a right of its own.
func TestTopics(t *testing.T) {
	t.Parallel()
	c, err := standard.New(standard.Settings{Root: t.TempDir()}, standard.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, s := range c.Services() {
		for _, r := range s.Routes() {
			if code := len(r.Info.Topic.Code) > 0; code != (s.Name() == "json" || s.Name() == "file") {
				t.Errorf("%s:%s: code is %v", s.Name(), r.Pattern, r.Info.Topic.Code)
			}
			if r.Info.Description == "" {
				t.Errorf("%s: has no description", s.Name())
			}
		}
	}
}

var _ standard.Node = (interface {
	call.Caller
	call.Watcher
})(nil)
