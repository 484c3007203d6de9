package standard_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/content/query"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/content/web"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// mute takes connections and says nothing on them.
func mute(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		var conns []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, c)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// longer is for how long something is waited for: longer than a test waits.
const longer = duration.Duration(time.Minute)

// TestMuteDatabase has many watch queries of a database that does not answer: those
// of another one are not kept waiting.
func TestMuteDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "shop/far.sql", "-- @database far\n-- @param n integer\nselect :n as n;")
	write(t, dir, "shop/near.sql", "select 1 as n;")
	n := start(t, standard.Settings{Root: dir, Query: standard.Query{Settings: query.Settings{
		Databases: map[string]query.Database{
			"main": {File: filepath.Join(t.TempDir(), "main.db")},
			"far":  {Driver: "postgres", URL: "postgres://nobody@" + mute(t) + "/x?sslmode=disable"},
		},
		Default: "main", Timeout: longer, MaxTimeout: longer,
	}}})
	for i := range 50 {
		watch(t, n, "query:/shop/far.sql", call.WithParams(map[string]int{"n": i}))
	}
	watch(t, n, "query:/shop/near.sql").until(`[{"n":1}]`)
	if u, err := n.Get(t.Context(), "query:/shop/near.sql"); err != nil {
		t.Errorf("%s, %v", u.Body, err)
	}
}

// TestMuteHost is TestMuteDatabase of hosts.
func TestMuteHost(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `1`)
	}))
	t.Cleanup(srv.Close)
	silent := mute(t)
	n := start(t, standard.Settings{Web: web.Settings{Timeout: longer, Allow: []web.Entry{
		{URL: srv.URL, Private: true, Poll: duration.Duration(time.Second)}, {URL: "http://" + silent, Private: true, Poll: duration.Duration(time.Second)},
	}}})
	for i := range 200 {
		watch(t, n, fmt.Sprintf("http:/%s/%d", silent, i))
	}
	watch(t, n, "http:/"+strings.TrimPrefix(srv.URL, "http://")+"/x").until("1")
}

// TestMuteScript has many watch a script that waits for a host that does not answer.
func TestMuteScript(t *testing.T) {
	t.Parallel()
	silent := mute(t)
	dir := t.TempDir()
	write(t, dir, "a/ask.js", `export default async (p) => (await fetch("http://`+silent+`/" + p.n)).status`)
	write(t, dir, "a/one.js", `export default 1`)
	n := start(t, standard.Settings{Root: dir, Web: web.Settings{Timeout: longer, Allow: []web.Entry{{URL: "http://" + silent, Private: true}}}, Script: standard.Script{Settings: script.Settings{
		Limits: script.Limits{Wall: longer},
		Grants: []script.Grant{{Paths: []string{"/a/**"}, Fetch: []string{silent}}},
	}}})
	for i := range 20 {
		watch(t, n, "script:/a/ask.js", call.WithParams(map[string]int{"n": i}))
	}
	watch(t, n, "script:/a/one.js").until("1")
}
