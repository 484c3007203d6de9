package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/route"
)

// contentNode starts a node that serves a directory, which has a file, and an
// event topic.
func contentNode(t *testing.T, address string) (n *ropewalk.Node, url, dir string) {
	t.Helper()
	dir = t.TempDir()
	put(t, dir, "shop/prices.json", `{"rope":  3}`)
	tree, err := file.New(file.Settings{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	n, err = ropewalk.New(ropewalk.Config{
		Name:      "test",
		Listeners: map[string]ropewalk.Listener{"main": {Address: address}},
		Topics:    map[string]route.Topic{"log:/**": {Events: true, Publisher: true}},
		Allow:     ropewalk.AllowAll,
		Logger:    quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	services := []*content.Service{
		content.NewService("json", tree.JSON(), content.Options{Logger: quiet}),
		content.NewService("file", tree.Files(true), content.Options{Logger: quiet}),
	}
	startServing(t, n, n.Serve, services, tree.Close)
	return n, "ws://" + n.Addrs()["main"].String(), dir
}

// startServing starts a node that serves contents, and closes these after it.
func startServing(t *testing.T, n *ropewalk.Node, serve func(*ropewalk.Service) error, services []*content.Service, closeStore func() error) {
	t.Helper()
	for _, s := range services {
		if err := serve(s.Service); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(t, n)
		for _, s := range services {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := closeStore(); err != nil {
			t.Error(err)
		}
	})
}

func stop(t *testing.T, n *ropewalk.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestGetPublishLs(t *testing.T) {
	t.Parallel()
	_, url, dir := contentNode(t, "127.0.0.1:0")
	o := ask(t, url, "", "get", "json:/shop/prices.json")
	wantCode(t, o, exitOK)
	if o.out != "{\"rope\":  3}\n" && o.out != "{\"rope\":3}\n" {
		t.Errorf("got %q", o.out)
	}
	o = ask(t, url, "", "get", "json:/shop/prices.json", "--json")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `{"type":"content","body":{"rope":`, `"address":"json:/shop/prices.json"`)
	if strings.Contains(o.out, "offset") {
		t.Errorf("nobody watches, and there is an offset: %s", o.out)
	}
	empty := filepath.Join(t.TempDir(), "empty.txt")
	put(t, filepath.Dir(empty), "empty.txt", "")
	o = ask(t, url, "", "publish", "file:/shop/empty.txt", "@"+empty)
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "an empty content cannot be published", "--delete")

	o = ask(t, url, "", "publish", "json:/shop/prices.json", `{"rope":4}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "published to json:/shop/prices.json")
	if b, err := os.ReadFile(filepath.Join(dir, "shop", "prices.json")); err != nil || !strings.Contains(string(b), "4") {
		t.Errorf("%s, %v", b, err)
	}
	logo := filepath.Join(t.TempDir(), "logo.bin")
	if err := os.WriteFile(logo, []byte{0, 255, 7}, 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, ask(t, url, "", "publish", "file:/shop/logo.bin", "@"+logo), exitOK)
	if o := ask(t, url, "", "get", "file:/shop/logo.bin"); o.out != "\x00\xff\x07" {
		t.Errorf("got %q", o.out)
	}

	o = ask(t, url, "", "ls", "json:/shop")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "NAME", "SIZE", "logo.bin", "prices.json", " ago")
	o = ask(t, url, "", "ls", "json:/", "--depth", "0")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "shop/", "  prices.json")
	if o := ask(t, url, "", "ls"); strings.Contains(o.out, "prices.json") || !strings.Contains(o.out, "shop/") {
		t.Errorf("one level has\n%s", o.out)
	}
	o = ask(t, url, "", "ls", "json:/shop", "--json")
	wantCode(t, o, exitOK)
	var top listed
	if err := json.Unmarshal([]byte(o.out), &top); err != nil || len(top.Children) != 2 {
		t.Errorf("%s, %v", o.out, err)
	}

	o = ask(t, url, "", "publish", "json:/shop/prices.json", "--delete", "--json")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `{"published":"json:/shop/prices.json","deleted":true,"type":"reply"`)
	o = ask(t, url, "", "get", "json:/shop/prices.json")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(not_found)")

	for _, tt := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"get", "prices"}, exitUsage, "it has no colon"},
		{[]string{"get", "json:/x", "--params", "[]"}, exitUsage, "--params is not a JSON object"},
		{[]string{"get", "json:/x", "-p", "a=\"\x01"}, exitUsage, "neither JSON nor a plain text"},
		{[]string{"get", "nobody:/x"}, exitFailed, "No service nobody is known here; `ropewalk services` lists those that are. In the configuration \"content\""},
		{[]string{"publish", "nobody:/x", "1"}, exitFailed, "declares topics"},
		{[]string{"get", "log:/x"}, exitFailed, "(not_found)"},
		{[]string{"publish", "json:/x"}, exitUsage, "there is nothing to publish"},
		{[]string{"publish", "json:/x", "1", "--delete"}, exitUsage, "there is a body, and --delete"},
		{[]string{"publish", "json:/x", "nonsense"}, exitUsage, "the body is not JSON"},
		{[]string{"publish", "json:/../x", "1"}, exitFailed, "(bad_address)"},
		{[]string{"ls", "shop"}, exitUsage, `"shop" is not an address`},
		{[]string{"ls", "json:/nowhere"}, exitFailed, "there is no directory json:/nowhere (not_found)"},
		{[]string{"ls", "file:/shop/logo.bin"}, exitFailed, "ropewalk get file:/shop/logo.bin"},
		{[]string{"ls", "--depth", "-1"}, exitUsage, "--depth"},
		{[]string{"ls", "--depth=-1"}, exitUsage, "--depth: -1 is negative"},
		{[]string{"get", "json:/x", "--timeout=-1s"}, exitUsage, "--timeout: -1s is negative"},
		{[]string{"watch", "json:/x", "--timeout", "0s"}, exitUsage, "--timeout has to be more than 0"},
		{[]string{"watch", "json:/x", "--since", "5"}, exitUsage, "--since is not EPOCH:OFFSET"},
		{[]string{"watch", "json:/x", "--history", "-1"}, exitUsage, "--history"},
		{[]string{"watch", "nobody:/x"}, exitFailed, "(no_service)"},
		{[]string{"watch", "json:/*"}, exitFailed, "(bad_address)"},
	} {
		o := ask(t, url, "", tt.args...)
		if o.code != tt.code || !strings.Contains(o.err, tt.err) {
			t.Errorf("%v: exit code %d, %s", tt.args, o.code, o.err)
		}
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	f := filter{Params: `{"a":1,"b":{}}`, Param: map[string]string{"a": "food", "c": "2", "d": `"2"`, "e": "true"}}
	got, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil || string(b) != `{"a":"food","b":{},"c":2,"d":"2","e":true}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestWatchVerb(t *testing.T) {
	t.Parallel()
	_, url, dir := contentNode(t, "127.0.0.1:0")
	p := launch(t, t.TempDir(), at(url), "watch", "json:/shop/prices.json")
	if l := p.line(""); !strings.HasSuffix(l, `{"rope":3}`) {
		t.Errorf("got %q", l)
	}
	put(t, dir, "shop/prices.json", `{"rope": 5}`)
	if l := p.line(""); !strings.HasSuffix(l, `{"rope":5}`) {
		t.Errorf("got %q", l)
	}
	put(t, dir, "shop/prices.json", `{"rope": `)
	p.errs.line("note: there is no content now:")
	put(t, dir, "shop/prices.json", `{"rope": 6}`)
	if l := p.line(""); !strings.HasSuffix(l, `{"rope":6}`) {
		t.Errorf("got %q", l)
	}
	p.signal(syscall.SIGINT)
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	o := ask(t, url, "", "watch", "json:/shop/prices.json", "--count", "1", "--raw", "--delta")
	wantCode(t, o, exitOK)
	if strings.ReplaceAll(o.out, " ", "") != "{\"rope\":6}\n" {
		t.Errorf("got %q", o.out)
	}
}

func TestWatchEventsVerb(t *testing.T) {
	t.Parallel()
	_, url, _ := contentNode(t, "127.0.0.1:0")
	for _, body := range []string{"1", "2", "3"} {
		wantCode(t, ask(t, url, "", "publish", "log:/a", body), exitOK)
	}
	o := ask(t, url, "", "watch", "log:/**", "--history", "2", "--count", "2", "--json")
	wantCode(t, o, exitOK)
	lines := strings.Split(strings.TrimSpace(o.out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"type":"event","body":2,"address":"log:/a","epoch":`) || !strings.Contains(lines[1], `"publisher":{`) {
		t.Fatalf("got %s", o.out)
	}
	var first watched
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	o = ask(t, url, "", "watch", "log:/a", "--since", first.Epoch+":1", "--count", "2")
	wantCode(t, o, exitOK)
	if lines = strings.Split(strings.TrimSpace(o.out), "\n"); len(lines) != 2 || !strings.HasSuffix(lines[1], "  3  3") {
		t.Errorf("got %q", o.out)
	}
	o = ask(t, url, "", "watch", "log:/a", "--since", "other:7", "--count", "3")
	wantCode(t, o, exitOK)
	wantText(t, o.err, "note: events were missed")
}

func TestBenchTopic(t *testing.T) {
	t.Parallel()
	_, url, _ := contentNode(t, "127.0.0.1:0")
	o := ask(t, url, "", "bench", "topic", "--watchers", "10", "--for", "300ms")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "watchers     10, each", "deliveries ", "p99")
	o = ask(t, url, "", "bench", "topic", "log:/bench", "-c", "3", "--rate", "100", "--for", "200ms", "--json")
	wantCode(t, o, exitOK)
	var got struct{ Good, Events, Missed uint64 }
	if err := json.Unmarshal([]byte(o.out), &got); err != nil || got.Events == 0 || got.Events > 20 || got.Good != 3*got.Events || got.Missed != 0 {
		t.Errorf("%+v, %v: %s", got, err, o.out)
	}
	o = ask(t, url, "", "bench", "topic", "nobody:/x", "--for", "1s")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(no_service)")
	wantCode(t, ask(t, url, "", "bench", "topic", "-c", "0"), exitUsage)
	o = ask(t, url, "", "bench", "topic", "json:/shop/prices.json", "-c", "2", "--for", "100ms")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "is a state topic")
	wantText(t, ask(t, url, "", "get", "json:/shop/prices.json").out, "rope")
}

func TestBenchEvent(t *testing.T) {
	t.Parallel()
	b := appendEvent(nil, 12, 128)
	n, at, ok := readEvent(b)
	if len(b) != 128 || !json.Valid(b) || n != 12 || !ok || time.Since(at) > time.Minute {
		t.Errorf("%s: %d, %v, %v", b, n, at, ok)
	}
	for _, other := range []string{"", "1", `{"bench":x}`, `{"bench":1}`} {
		if _, _, ok := readEvent([]byte(other)); ok {
			t.Errorf("%q is one of ours", other)
		}
	}
}

// TestWatchVerbReconnects has the node stop and come back.
func TestWatchVerbReconnects(t *testing.T) {
	t.Parallel()
	n, url, _ := contentNode(t, "127.0.0.1:0")
	p := launch(t, t.TempDir(), at(url), "watch", "json:/shop/prices.json", "--json")
	p.line(`{"type":"content"`)
	stop(t, n)
	p.errs.line("note: the connection to the node is lost")
	contentNode(t, strings.TrimPrefix(url, "ws://"))
	p.errs.line("note: connected again")
	p.line(`{"type":"content"`)
}

// TestWatchTheProject does by command what the page of "ropewalk dev" shows: the
// score, the table and the chart of a new project follow what is published, also
// at another node.
func TestWatchTheProject(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	dev := launch(t, t.TempDir(), nil, "dev", dir, "--listen", "127.0.0.1:0", "--json")
	var ready readyInfo
	if err := json.Unmarshal([]byte(dev.line("{")), &ready); err != nil {
		t.Fatal(err)
	}
	url := "ws" + strings.TrimPrefix(ready.URL, "http")
	other := joined(t, "--name", "b", "--join", ready.Cluster)
	other.asks(t, func(o outcome) bool { return o.code == exitOK }, "get", "json:/demo_app/Resources/score.json")

	const app = ":/demo_app/"
	wantCode(t, ask(t, url, "", "publish", "query"+app+"Database/setup.sql", "{}"), exitOK)
	watch := func(url string, args ...string) *process {
		p := launch(t, t.TempDir(), at(url), append([]string{"watch", "--raw"}, args...)...)
		p.line("") // it is armed
		return p
	}
	score := watch(other.url, "json"+app+"Resources/score.json")
	table := watch(other.url, "query"+app+"Database/departures.sql", "-p", "search=oslo", "--delta")
	chart := watch(url, "script"+app+"Scripts/delays.ts")

	wantCode(t, ask(t, url, "", "publish", "json"+app+"Resources/score.json", `"Home 1 : Away 0"`), exitOK)
	if l := score.line(""); l != `"Home 1 : Away 0"` {
		t.Errorf("the score is %s", l)
	}
	o := ask(t, other.url, "", "publish", "query"+app+"Database/change.sql", `{"id":2,"gate":"Z9","delay":77,"status":"delayed"}`)
	wantCode(t, o, exitOK)
	wantText(t, table.line(""), `"gate":"Z9"`, `"delay":77`)
	wantText(t, chart.line(""), "77")
	for _, p := range []*process{score, table, chart} {
		p.signal(syscall.SIGINT)
		if code := p.wait(); code != exitInterrupted || p.errs.all.String() != "" {
			t.Errorf("exit code %d\n%s", code, p.errs.all.String())
		}
	}
}
