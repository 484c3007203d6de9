package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// member is a node of a mesh, as a process of its own.
type member struct {
	*process
	url     string // for clients
	cluster string // for nodes
}

// joined starts one more node and waits until it is ready.
func joined(t *testing.T, args ...string) *member {
	t.Helper()
	p := launch(t, t.TempDir(), nil, append([]string{"serve", "--preset", "dev", "--listen", "127.0.0.1:0"}, args...)...)
	words := strings.Fields(p.line("ready "))
	if len(words) != 5 || words[3] != "cluster" {
		t.Fatalf("ready line %q", words)
	}
	return &member{p, "ws" + strings.TrimPrefix(words[2], "http"), words[4]}
}

// startMesh starts nodes named a, b, c … and waits until they know each other.
func startMesh(t *testing.T, n int) []*member {
	t.Helper()
	list := []*member{joined(t, "--name", "a", "--cluster", "127.0.0.1:0")}
	for i := 1; i < n; i++ {
		name := string(rune('a' + i))
		list = append(list, joined(t, "--name", name, "--join", list[0].cluster, "--zone", "z"+name, "--label", "rack=7"))
	}
	for _, m := range list {
		m.until(t, func(nodes []nodeapi.NodeStatus) bool {
			there := slices.DeleteFunc(nodes, func(s nodeapi.NodeStatus) bool { return s.State != mesh.Alive })
			return len(there) == n
		})
	}
	return list
}

// until asks the node for the nodes of the mesh until these are as wanted.
func (m *member) until(t *testing.T, want func([]nodeapi.NodeStatus) bool) {
	t.Helper()
	m.asks(t, func(o outcome) bool {
		var list []nodeapi.NodeStatus
		return json.Unmarshal([]byte(o.out), &list) == nil && want(list)
	}, "nodes", "--json")
}

// asks runs a verb until its outcome is as wanted.
func (m *member) asks(t *testing.T, want func(outcome) bool, args ...string) outcome {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		o := ask(t, m.url, "", args...)
		if want(o) {
			return o
		}
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("%v: exit code %d\n%s%s", args, o.code, o.out, o.err)
		}
	}
}

// has says whether an outcome is good and has all of the texts.
func has(texts ...string) func(outcome) bool {
	return func(o outcome) bool {
		return o.code == exitOK && !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(o.out, s) })
	}
}

// TestMesh has services at one of three nodes, and looks at them from another.
func TestMesh(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 3)
	a, b, c := list[0], list[1], list[2]
	h := launch(t, t.TempDir(), at(b.url), "hello")
	h.line("serving text:/up")

	o := a.asks(t, has("math:/decimal/mul  ", "  b "), "services", "math:")
	if strings.Contains(ask(t, a.url, "", "services").out, "  c  ") || !strings.Contains(ask(t, a.url, "", "services", "node:/info").out, "  c  ") {
		t.Errorf("node: of other nodes is shown only when it is asked for\n%s", o.out)
	}
	c.asks(t, has(`{"type":"reply","body":10}`), "call", "math:/decimal/mul", `{"a":2,"b":5}`)
	wantText(t, ask(t, c.url, "", "gather", "math:/decimal/mul", `{"a":2,"b":5}`).out, "  b     math:/decimal/mul", "1 of 1 answered well")
	wantText(t, ask(t, a.url, "", "gather", "node:/info").out, "  here  ", "  b     ", "  c     ", "3 of 3 answered well")
	wantText(t, ask(t, c.url, "", "call", "math:/decimal/mul", "--scope", "node").err, "(service_down)", "scope")
	wantText(t, ask(t, c.url, "", "call", "math:/decimal/mul", "--version", "^9").err, "(service_down)", "^9")
	wantCode(t, ask(t, c.url, "", "call", "math:/decimal/mul", "--scope", "moon"), exitUsage)

	o = ask(t, a.url, "", "nodes")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "NAME  ID  ", "alive", "zb", "here", b.url)
	if strings.Count(o.out, "\n") != 4 {
		t.Error(o.out)
	}
	o = ask(t, a.url, "", "route", "explain", "math:/decimal/mul", "--scope", "mesh")
	wantText(t, o.out, "  b in zb  0 calls in flight")
	wantText(t, ask(t, a.url, "", "route", "explain", "math:/decimal/mul", "--node", "b").out, "  here  0 calls in flight")
	wantText(t, ask(t, a.url, "", "route", "explain", "math:/decimal/mul", "--scope", "node").err, "(service_down)")

	clients := ask(t, a.url, "", "clients", "--all")
	wantText(t, clients.out, "CLIENT  ", "  NODE  ", "  a     main", "  b     main")
	id := strings.Fields(strings.Split(ask(t, a.url, "", "clients", "--node", "b").out, "\n")[1])[0]
	wantText(t, ask(t, a.url, "", "route", "explain", id+"@client:/").out, "  b in zb")
	wantText(t, ask(t, c.url, "", "send", id+"@client:/", "1").out, "handed over")
	wantText(t, ask(t, a.url, "", "clients", "--all", "--json").out, `[{"node":"a","id":"`, `"body":[{"id":"`)
	o = ask(t, a.url, "", "clients", "--node", "d")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "there is no node d in the mesh (not_found)", "a, b, c")
	wantCode(t, ask(t, a.url, "", "clients", "--node", "b", "--all"), exitUsage)
}

func TestMeshIsChanged(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 2)
	a := list[0]
	o := ask(t, a.url, "", "middleware", "--all")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "a, b:\nSTAGE  ")
	wantCode(t, ask(t, a.url, "", "middleware", "insert", "call", "limit", `{"calls":10}`, "--node", "b"), exitOK)
	o = ask(t, a.url, "", "middleware", "list", "--all")
	wantText(t, o.out, "a:\nSTAGE  ", "b:\nSTAGE  ", "limit")
	o = ask(t, a.url, "", "middleware", "remove", "call", "limit", "--all")
	wantCode(t, o, exitFailed)
	wantText(t, o.out, "b:\nSTAGE  ")
	wantText(t, o.err, "error: a: stage call has no middleware")
	o = ask(t, a.url, "", "middleware", "remove", "call", "limit", "--all", "--json")
	wantCode(t, o, exitFailed)
	wantText(t, o.out, `{"node":"a","id":"`, `"error":{"code":"not_found"`)

	o = ask(t, a.url, "", "versions", "set", "math", "^1=95", ">=2 <3=5")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "a, b:\nSERVICE  ", "95.0 %", ">=2 <3    5.0 %")
	wantText(t, ask(t, a.url, "", "route", "explain", "math:/x").err, "(no_service)")
	wantText(t, ask(t, a.url, "", "versions", "set", "math", "--none", "--node", "b").out, "no calls are split")
	wantText(t, ask(t, a.url, "", "versions").out, "a:\nSERVICE  ", "b:\nno calls are split")
	for _, args := range [][]string{{}, {"^1"}, {"^1=x"}, {"=1"}, {"^1=1", "--none"}} {
		wantCode(t, ask(t, a.url, "", append([]string{"versions", "set", "math"}, args...)...), exitUsage)
	}
	wantText(t, ask(t, a.url, "", "versions", "set", "math", "?=1").err, "a, b: ", "is not a range of versions")
}

func TestDrainNode(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 2)
	a, b := list[0], list[1]
	h := launch(t, t.TempDir(), at(b.url+","+a.url), "hello", "--pace", "40ms")
	h.line("serving text:/up")
	a.asks(t, has("text:/up"), "services", "text:")
	long := launch(t, t.TempDir(), at(a.url), "call", "report:/long", `{"steps":40}`)
	long.line(`{"type":"part"`)
	o := ask(t, a.url, "", "drain", "b", "--wait", "--within", "100ms")
	wantCode(t, o, exitTimeout)
	wantText(t, o.err, "waiting for 1 call", "b drains, but has 1 call in flight still (deadline_exceeded)")
	wantText(t, ask(t, a.url, "", "nodes").out, "draining")
	o = ask(t, a.url, "", "drain", "b", "--wait")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "b drains: 0 calls in flight, ", "; it can be stopped")
	if code := long.wait(); code != exitOK || !strings.Contains(long.out.all.String(), `"type":"reply"`) {
		t.Errorf("the call in flight ended with %d\n%s", code, long.errs.all.String())
	}
	// The services went to the other node.
	o = a.asks(t, has("text:/up", "  a  "), "services", "text:")
	if strings.Contains(o.out, "  b  ") {
		t.Errorf("b serves still\n%s", o.out)
	}
	o = ask(t, b.url, "", "drain", "b", "--undo")
	wantText(t, o.out, "b takes calls again")
	a.until(t, func(nodes []nodeapi.NodeStatus) bool { return len(nodes) == 2 && nodes[1].State == mesh.Alive })
	wantText(t, ask(t, a.url, "", "drain", "a", "--json").out, `"name":"a","draining":true,"inFlight":0`)
	wantText(t, ask(t, a.url, "", "drain", "nobody").err, "there is no node nobody")
	wantCode(t, ask(t, a.url, "", "drain", "a", "--wait", "--undo"), exitUsage)
}

// TestNodeIsLost kills one of three nodes.
func TestNodeIsLost(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 3)
	a, b, c := list[0], list[1], list[2]
	h := launch(t, t.TempDir(), at(c.url+","+b.url), "hello")
	h.line("serving text:/up")
	a.asks(t, has("text:/up", "  c  "), "services", "text:")
	w := launch(t, t.TempDir(), at(a.url), "nodes", "--watch")
	w.line("c  ")
	began := time.Now()
	c.signal(syscall.SIGKILL)
	if l := w.line("c  "); !strings.Contains(l, "  gone  ") && !strings.Contains(l, "  out of reach  ") || !strings.Contains(l, " ago  ") {
		t.Errorf("line %q", l)
	}
	if took := time.Since(began); took > 10*time.Second { // 3 s on a machine that has time
		t.Errorf("that took %v", took)
	}
	a.asks(t, has("gone"), "nodes")
	a.asks(t, has("text:/up"), "services", "text:") // elsewhere
	o := ask(t, a.url, "", "middleware", "--node", "c")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "the node c was lost ", "(node_lost)")
	// A verb takes the next URL.
	wantCode(t, try(t, nil, "", "nodes", "--url", c.url, "--url", a.url), exitOK)
	wantCode(t, try(t, nil, "", "nodes", "--url", c.url), exitConnect)
	w.signal(syscall.SIGINT)
	if code := w.wait(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
}

func TestTapOfMesh(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 2)
	a, b := list[0], list[1]
	// Clients are told of other nodes a second after these have joined; this one
	// knows both from the beginning.
	all := launch(t, t.TempDir(), at(a.url+","+b.url), "tap", "nothing:/**", "--json")
	one := launch(t, t.TempDir(), at(a.url), "tap", "nothing:/**", "--node", "b")
	one.errs.line("watching nothing:/** on b; ")
	seen := make(chan string, 3)
	shows := func(p *process, text string) {
		for {
			if l := p.line(""); strings.Contains(l, text) {
				seen <- text
				return
			}
		}
	}
	go func() {
		shows(all, `"node":"a"`)
		shows(all, `"node":"b"`)
	}()
	go shows(one, "nothing:/b")
	for n := 0; n < 3; {
		ask(t, a.url, "", "call", "nothing:/a")
		if n > 0 {
			ask(t, b.url, "", "call", "nothing:/b")
		}
		select {
		case <-seen:
			n++
		default:
		}
	}
	if text := one.out.all.String(); strings.Contains(text, "nothing:/a") {
		t.Errorf("the tap of b shows what passed at a\n%s", text)
	}
	// One goes on at the other node, one ends with its node.
	a.signal(syscall.SIGKILL)
	all.errs.line("note: the connection to the node was lost, and is there again")
	if code := one.wait(); code != exitConnect {
		t.Errorf("exit code %d\n%s", code, one.errs.all.String())
	}
	go shows(all, `"node":"b"`)
	for n := 0; n == 0; {
		ask(t, b.url, "", "call", "nothing:/b")
		select {
		case <-seen:
			n++
		default:
		}
	}
}

func TestNamesOfNodes(t *testing.T) {
	t.Parallel()
	info := func(id, name string, state mesh.State) (s nodeapi.NodeStatus) {
		s.ID, s.Name, s.State = id, name, state
		return s
	}
	list := []nodeapi.NodeStatus{
		info("1111aaaa", "shop", mesh.Alive), info("1111bbbb", "shop", mesh.Draining), info("2222cccc", "dev", mesh.Alive),
		info("3333dddd", "dev", mesh.Lost), info("4444eeee", "old", mesh.Lost),
	}
	for word, want := range map[string]string{
		"1111a": "1111aaaa", "1111bbbb": "1111bbbb", "dev": "2222cccc", "2222": "2222cccc",
		"shop": "2 nodes are called shop", "1111": "2 nodes are called 1111", "222": "there is no node 222",
		"old": "the node old was lost", "3333": "the node 3333 was lost", "": "there is no node",
	} {
		n, err := findNode(list, word)
		got := fmt.Sprint(err)
		if err == nil {
			got = n.ID
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
	if _, err := findNode(list, "shop"); !strings.Contains(explained(err).Hint, "1111aaaa, 1111bbbb") {
		t.Errorf("%+v", err)
	}
}

func TestMeshRefusals(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	closed := freePort(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  string
		code int
		want []string
	}{
		{"taken", []string{"--cluster", taken.Addr().String()}, "", exitFailed, []string{"another program listens on " + taken.Addr().String(), "--cluster", "(conflict)"}},
		{"no secret", []string{"--cluster", "0.0.0.0:0"}, "", exitUsage, []string{"mesh.secret: other machines can reach this mesh", "ROPEWALK_MESH_SECRET", "--secret-file"}},
		{"short secret", []string{"--cluster", "127.0.0.1:0"}, "ROPEWALK_MESH_SECRET=x", exitUsage, []string{"ROPEWALK_MESH_SECRET: mesh.secret: it has 1 characters"}},
		{"no file", []string{"--cluster", "127.0.0.1:0", "--secret-file", empty + "x"}, "", exitUsage, []string{"no such file"}},
		{"empty file", []string{"--cluster", "127.0.0.1:0", "--secret-file", empty}, "", exitUsage, []string{"is empty", "openssl"}},
		{"one way", []string{"--join", "192.0.2.1:7421"}, "", exitUsage, []string{"--join: mesh.join: ", "Set cluster"}},
		{"no port", []string{"--join", "shop"}, "", exitUsage, []string{`mesh.join: "shop" is not HOST:PORT`}},
		{"both", []string{"--join", closed, "--nats", "nats://" + closed}, "", exitUsage, []string{"--nats: mesh.nats: ", "not both"}},
		{"no NATS", []string{"--nats", "nats://user:hunter2@" + closed}, "", exitConnect, []string{"cannot meet other nodes: ", "Check that a NATS server runs at nats://" + closed}},
		{"label", []string{"--label", "zone"}, "", exitUsage, []string{`"zone" is not NAME=VALUE`}},
		{"not ours", []string{"--cluster", "192.0.2.1:7421"}, "ROPEWALK_MESH_SECRET=0123456789abcdef", exitFailed, []string{"cannot meet other nodes: ", "an address of this machine"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := try(t, []string{tt.env}, "", append([]string{"serve", "--listen", "127.0.0.1:0"}, tt.args...)...)
			wantCode(t, o, tt.code)
			wantText(t, o.err, tt.want...)
			if strings.Contains(o.err, "hunter2") || o.out != "" {
				t.Errorf("%s%s", o.out, o.err)
			}
		})
	}
}

// TestWrongSecret has a node join that is told why it stays alone.
func TestWrongSecret(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := joined(t, "--name", "a", "--cluster", "127.0.0.1:0", "--secret-file", secret)
	good := joined(t, "--name", "b", "--join", a.cluster, "--secret-file", secret)
	good.until(t, func(nodes []nodeapi.NodeStatus) bool { return len(nodes) == 2 })
	bad := launch(t, t.TempDir(), []string{"ROPEWALK_MESH_SECRET=fedcba9876543210"}, "serve", "--listen", "127.0.0.1:0", "--join", a.cluster)
	bad.line("ready ")
	for !strings.Contains(bad.errs.line("time="), "another secret") { //nolint:revive // until it says so, or the test's patience ends
	}
}

// TestSecondNode starts nodes on a machine without saying where they listen.
func TestSecondNode(t *testing.T) {
	t.Parallel()
	a := joined(t, "--name", "a", "--cluster", "127.0.0.1:0")
	if l, err := net.Listen("tcp", defaultListen); err == nil { // so that it is taken
		t.Cleanup(func() { _ = l.Close() })
	}
	p := launch(t, t.TempDir(), nil, "serve", "--join", a.cluster)
	words := strings.Fields(p.line("ready "))
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(words[2], "http://"))
	if port == "7420" || !strings.HasSuffix(words[1], "-"+port) {
		t.Errorf("ready line %q", words)
	}
	p.errs.line("note: " + defaultListen + " is taken; using 127.0.0.1:" + port)
	a.until(t, func(nodes []nodeapi.NodeStatus) bool { return len(nodes) == 2 })
	o := try(t, nil, "", "serve", "--cluster", "127.0.0.1:0")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "another program listens on "+defaultListen, "--listen")
}

func TestDevAcceptsNodes(t *testing.T) {
	t.Parallel()
	p := launch(t, t.TempDir(), nil, "dev", "--listen", "127.0.0.1:0", "--json")
	var ready readyInfo
	if err := json.Unmarshal([]byte(p.line("{")), &ready); err != nil || ready.Cluster == "" {
		t.Fatal(ready, err)
	}
	b := joined(t, "--name", "b", "--join", ready.Cluster)
	b.until(t, func(nodes []nodeapi.NodeStatus) bool { return len(nodes) == 2 })
	b.asks(t, has(`"body":10`), "call", "math:/decimal/mul", `{"a":2,"b":5}`)

	p = launch(t, t.TempDir(), nil, "dev", "--listen", "127.0.0.1:0", "--cluster", "none")
	p.line("Stop with Ctrl-C.")
	if text := p.out.all.String(); strings.Contains(text, "--join") {
		t.Errorf("it offers to join a node that accepts none\n%s", text)
	}
	wantText(t, ask(t, urlIn(p.out.all.String()), "", "nodes", "--json").out, `"name":"dev"`)
	p = launch(t, t.TempDir(), []string{"ROPEWALK_MESH_CLUSTER=none"}, "dev", "--listen", "127.0.0.1:0", "--json")
	if l := p.line("{"); strings.Contains(l, "cluster") {
		t.Error(l)
	}
}

// urlIn finds where clients can connect in what dev prints.
func urlIn(text string) string {
	_, rest, _ := strings.Cut(text, "ready dev http")
	rest, _, _ = strings.Cut(rest, "\n")
	return "ws" + rest
}
