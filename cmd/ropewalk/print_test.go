package main

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/route"
)

// TestLists compares what people see with testdata/lists.golden.
func TestListsGolden(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &world{out: &out, err: &out}
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	services := []route.ServiceInfo{
		{Name: "math", Path: "/decimal/mul", Servers: []route.ServerInfo{
			{ID: "7f3kq1x9z02m", Version: "1.2.0", Description: "a times b", Local: true, Node: "dev", InFlight: 3, Since: now.Add(-90 * time.Second)},
			{ID: "q1x9", Node: "shop-2", Zone: "eu-1", Since: now.Add(-50 * time.Hour)},
		}},
		{Name: "text", Path: "/up", Servers: []route.ServerInfo{{ID: "evil", Description: "red \x1b[31m\nand two lines"}}},
	}
	explained := explanation{Address: "math:/user/7/cart", Explanation: nodeapi.Explanation{
		Route: "math:/user/{id}/cart", Params: map[string]string{"id": "7"}, Strategy: "least-busy", Weights: map[string]float64{"^1": 95, "^2": 5},
		Steps:   []nodeapi.Step{{Stage: "inbound", Middleware: []string{"recover", "log"}}, {Stage: "call"}},
		Servers: []nodeapi.Server{{ID: "7f3k", Path: "/user/7/cart", Version: "1.2.0", InFlight: 1, Local: true, Node: "dev"}, {ID: "q1x9", Path: "/user/7/cart", Node: "shop-2", Zone: "eu-1"}},
	}}
	clients := []exchange.ClientInfo{
		{ID: "2945p8eigxz", Listener: "main", Transport: "websocket", RemoteAddr: "127.0.0.1:40000", Since: now.Add(-time.Hour), Calling: 2, Serves: 4},
		{ID: "7f3kq1x9z02m", Listener: "main", Transport: "poll", RemoteAddr: "10.0.0.1:1", Since: now, Draining: true},
	}
	nodes := []nodeapi.NodeStatus{
		{NodeInfo: mesh.NodeInfo{Self: true, State: mesh.Alive, Since: now.Add(-time.Hour), Card: mesh.Card{
			ID: "0af13c98000000000000000000000000", Name: "dev", Version: "1.2.0", Clients: 3, Routes: 24, Labels: map[string]string{"zone": "eu-1"},
			URLs: []string{"ws://127.0.0.1:7420"}, Addr: "127.0.0.1:7421",
		}}},
		{NodeInfo: mesh.NodeInfo{State: mesh.Draining, Since: now.Add(-time.Minute), RTT: 0.00123, Line: "direct", Card: mesh.Card{
			ID: "1bf13c98000000000000000000000000", Name: "shop-2", Version: "1.2.0", Routes: 14, Addr: "10.0.0.6:7421",
		}}},
		{NodeInfo: mesh.NodeInfo{State: mesh.Lost, Since: now.Add(-12 * time.Second), Card: mesh.Card{ID: "2cf13c98", Name: "shop-3"}}},
		{NodeInfo: mesh.NodeInfo{State: mesh.Lost, Gone: true, Since: now.Add(-12 * time.Minute), Card: mesh.Card{ID: "3d", Name: "shop-4"}}},
	}
	section := func(title string, f func() error) {
		out.WriteString("== " + title + "\n")
		if err := f(); err != nil {
			t.Error(title, err)
		}
	}
	section("services", func() error { return printServices(w, services, "", now) })
	section("clients", func() error {
		return printClients(w, toldBy("", clients), now)
	})
	section("clients --all", func() error { return printClients(w, toldBy("shop-1", clients), now) })
	section("nodes", func() error { return printNodes(w, nodes, now) })
	section("versions", func() error {
		return printVersions(w, nodeapi.Versions{"math": {"^1": 95, "^2.0.0-0": 5}, "text": {"*": 1}})
	})
	section("middleware", func() error {
		return printStages(w, nodeapi.Stages{
			Stages: []route.StageInfo{
				{Stage: "inbound", Entries: []route.EntryInfo{{Name: "recover", Kind: "recover"}, {Name: "slow", Kind: "log", Settings: map[string]any{"slow": "1s"}, Description: "logs"}}},
				{Stage: "call"},
				{Stage: "serve", Entries: []route.EntryInfo{
					{Name: "limit", Kind: "limit", State: []any{map[string]any{"calls": 8, "running": 3}, map[string]any{"calls": 8, "running": 0}}},
					{Name: "own", State: map[string]any{"a": "b"}}, {Name: "none", State: []any{}},
				}},
			},
			Warnings: []string{"call: limit stands before recover"},
		})
	})
	section("route explain", func() error { return printExplanation(w, explained) })
	section("gather", func() error {
		return printGathered(w, &call.Gathered{
			Answers: []call.ServerAnswer{
				{Server: call.Server{ID: "7f3kq1x9z02m4", Name: "math", Path: "/decimal/mul"}, Took: 2100 * time.Microsecond, Body: []byte("10")},
				{Server: call.Server{ID: "q1x9", Node: "shop-2", Name: "math", Path: "/decimal/add"}, Took: time.Second, Err: message.NewError(message.CodeInternal, "a bug", "")},
				{Server: call.Server{ID: "q1x9", Name: "math", Path: "/image"}, Took: 99, Body: []byte("abc"), ContentType: "image/png"},
			},
			Missing: []call.Server{{ID: "z02m", Name: "math", Path: "/decimal/mul"}},
			Servers: 4,
		})
	})
	section("tap", func() error {
		at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.Local)
		for _, m := range []nodeapi.Tapped{
			{At: at, Verb: "call", From: "2945p8eigxz@client:/", To: "math:/decimal/mul", Size: 13, Body: `{"a":2,"b":5}`},
			{At: at, Verb: "part", To: "2945p8eigxz@client:/", Route: "report:/long", Seq: 3, Size: 99},
			{At: at, Verb: "error", To: "2945p8eigxz@client:/", Route: "math:/decimal/mul", Took: 0.0021, Code: "internal", Missed: 7, Node: "shop-2"},
		} {
			if err := printTapped(w, &m, m.Node != ""); err != nil {
				return err
			}
		}
		return nil
	})
	section("dev", func() error { return w.printf("%s", addressTree(w, services)) })
	golden(t, "testdata/lists.golden", out.Bytes())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs (%v), got\n%s", path, err, got)
	}
}

func TestPaint(t *testing.T) {
	t.Parallel()
	if got := (&world{colorOut: true}).paint(red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("got %q", got)
	}
	tty, err := os.OpenFile("/dev/null", os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	for _, tt := range []struct {
		env   []string
		color bool
	}{{nil, true}, {[]string{"NO_COLOR=1"}, false}, {[]string{"TERM=dumb"}, false}, {[]string{"NO_COLOR="}, true}} {
		if w := newWorld(nil, tty, &bytes.Buffer{}, tt.env); w.colorOut != tt.color || w.colorErr {
			t.Errorf("%v: out %v, err %v", tt.env, w.colorOut, w.colorErr)
		}
	}
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	if h.mean() != 0 || h.quantile(0.5) != 0 {
		t.Error("an empty one")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	h.add(-1)
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.quantile(q); got < want-want/30 || got > want+want/30 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for _, v := range []uint64{0, 1, 31, 32, 33, 63, 64, 1000, 1 << 40, 1<<63 - 1} {
		if b := bucket(v); floor(b) > v || b+1 < len(h.counts) && floor(b+1) <= v {
			t.Errorf("%d is in bucket %d, which begins with %d", v, b, floor(b))
		}
	}
}

func toldBy[T any](node string, list []T) []told[T] {
	out := make([]told[T], len(list))
	for i, v := range list {
		out[i] = told[T]{v, node}
	}
	return out
}
