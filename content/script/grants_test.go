package script_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/session"
)

// TestGranted has one script try everything, with and without grants.
func TestGranted(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
		case "/binary":
			_, _ = w.Write([]byte{0xff, 0x00, 0x61})
		default:
			w.Header().Set("X-Got", r.Method+" "+r.Header.Get("X-Ask"))
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte(`{"ok":true}`))
		}
	}))
	t.Cleanup(srv.Close)
	s := newStore()
	s.set("store:/a", `{"v":1}`)
	host := s.host()
	host.Fetch = srv.Client()
	t.Cleanup(srv.Client().CloseIdleConnections)
	addr := strings.TrimPrefix(srv.URL, "http://")
	try := func(code string) string {
		return `export default async (params, ctx) => { try { ` + code + ` } catch (e) { return [e.name, e.code ?? e.message] } }`
	}
	files := map[string]string{
		"may/call.js":      try(`return await call("math:/add", [1, 2])`),
		"may/ctx.js":       try(`return (await ctx.call("math:/add", [1, 2])).sum`),
		"may/get.js":       try(`return (await content.get("store:/a", {})).v`),
		"may/nothing.js":   try(`return await content.get("store:/none")`),
		"may/publish.js":   try(`await publish("store:/b", { x: 1 }); return await content.get("store:/b")`),
		"may/fetch.js":     try(`const r = await fetch("` + srv.URL + `/x", { method: "post", headers: { "X-Ask": "me" }, body: "b" }); return [r.status, r.ok, r.headers.get("x-got"), await r.json()]`),
		"may/binary.js":    try(`return [...await (await fetch("` + srv.URL + `/binary")).bytes()]`),
		"may/redirect.js":  try(`await fetch("` + srv.URL + `/away")`),
		"may/elsewhere.js": try(`await fetch("http://localhost:1/")`),
		"may/file.js":      try(`await fetch("file:///etc/passwd")`),
		"may/header.js":    try(`await fetch("` + srv.URL + `/x", { headers: { Host: "x" } })`),
		"may/inject.js":    try(`await fetch("` + srv.URL + `/x", { headers: { "X-A": "b\r\nX-C: d" } })`),
		"may/session.js":   try(`return [session.subject, session.claims.role ?? null]`),
		"may/other.js":     try(`await call("secret:/x")`),
		"may/instance.js":  try(`await call("node7@math:/add")`),
		"may/wild.js":      try(`await call("math:/*")`),
		"not/call.js":      try(`return typeof call + typeof publish + typeof content + typeof db + typeof fetch + typeof session`),
		"not/forged.js":    try(`return Object.getOwnPropertyNames(globalThis).filter((n) => /host|ropewalk/i.test(n))`),
	}
	p, _ := provider(t, script.Settings{Grants: []script.Grant{{
		Paths: []string{"/may/**"}, Call: []string{"math:/**"}, Publish: []string{"store:/b"}, Get: []string{"store:/**"}, Fetch: []string{addr}, Session: "public",
	}}}, host, files)
	for path, body := range map[string]string{
		"/may/call.js": `{"sum":3}`, "/may/ctx.js": `3`, "/may/get.js": `1`, "/may/nothing.js": `["HostError","not_found"]`, "/may/publish.js": `{"x":1}`,
		"/may/fetch.js": `[418,false,"POST me",{"ok":true}]`, "/may/binary.js": `[255,0,97]`,
		"/may/redirect.js": `["HostError","forbidden"]`, "/may/elsewhere.js": `["HostError","forbidden"]`, "/may/file.js": `["HostError","forbidden"]`,
		"/may/header.js": `["HostError","invalid_input"]`, "/may/inject.js": `["HostError","source_down"]`,
		"/may/session.js": `["",null]`, "/may/other.js": `["HostError","forbidden"]`, "/may/instance.js": `["HostError","forbidden"]`, "/may/wild.js": `["HostError","forbidden"]`,
		"/not/call.js": `"undefinedundefinedundefinedundefinedundefinedundefined"`, "/not/forged.js": `[]`,
	} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			want(t, p, path, body)
		})
	}
}

func TestPersonal(t *testing.T) {
	t.Parallel()
	p, dir := provider(t, script.Settings{Grants: []script.Grant{
		{Paths: []string{"/public/**"}, Session: script.SessionPublic}, {Paths: []string{"/secret/**"}, Session: script.SessionSecret},
	}}, script.Host{}, map[string]string{
		"public/a.js": `export default () => [session.subject, session.claims]`,
		"secret/a.js": `export default () => [session.subject, session.claims]`,
		"public/b.js": `export default () => typeof globalThis[["ses", "sion"].join("")]`,
		"none/a.js":   `export default () => typeof session`,
		"public/c.js": `username`,
	})
	ann := session.New("ann", session.Claims{"team": "red"}, session.Claims{"salary": 7.0})
	bob := session.New("bob", nil, nil)
	for path, body := range map[string]string{
		"/public/a.js": `["ann",{"team":"red"}]`, "/secret/a.js": `["ann",{"salary":7,"team":"red"}]`, "/public/b.js": `"undefined"`, "/none/a.js": `"undefined"`,
	} {
		if got, err := get(t, p, path, ann, ""); err != nil || got != body {
			t.Errorf("%s is %s, %v; want %s", path, got, err, body)
		}
	}
	key := func(path string, s *session.Session) string {
		res, err := p.Open(t.Context(), &content.Request{Path: path, Session: s})
		if err != nil {
			t.Fatal(err)
		}
		return res.Key()
	}
	for path, differ := range map[string]bool{"/public/a.js": true, "/secret/a.js": true, "/public/b.js": false, "/none/a.js": false, "/public/c.js": true} {
		if got := key(path, ann) != key(path, bob); got != differ {
			t.Errorf("%s: the keys differ: %v", path, got)
		}
	}
	if again := session.New("ann", session.Claims{"team": "red"}, session.Claims{"salary": 8.0}); key("/public/a.js", ann) != key("/public/a.js", again) {
		t.Error("a key tells more than the script may know")
	}
	// A script that begins to look at the session is opened anew.
	res, err := p.Open(t.Context(), &content.Request{Path: "/public/b.js", Session: ann})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "public/b.js", `export default () => session.subject`)
	if _, err := res.Get(t.Context()); !errors.Is(err, content.ErrReopen) {
		t.Fatalf("got %v", err)
	}
}
