package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/nodeapi"
	"github.com/ropewalk/ropewalk/topic"
)

// TestTopics has topics watched at two nodes, and lists them.
func TestTopics(t *testing.T) {
	t.Parallel()
	list := startMesh(t, 2)
	a, b := list[0], list[1]
	for _, m := range list {
		m.asks(t, has("nothing is watched"), "topics")
	}
	if o := ask(t, a.url, "", "topics", "--json"); o.out != "[]\n" {
		t.Errorf("no topics: %q, %s", o.out, o.err)
	}
	dir := t.TempDir()
	put(t, dir, "content/shop/prices.json", `{"rope":3}`)
	c := joined(t, "--name", "c", "--join", a.cluster, "--content", dir+"/content")
	c.until(t, func(nodes []nodeapi.NodeStatus) bool { return len(nodes) == 3 })
	for _, at := range []*member{a, b} {
		at.asks(t, has("rope"), "get", "json:/shop/prices.json")
		watch := launch(t, t.TempDir(), []string{"ROPEWALK_URL=" + at.url}, "watch", "json:/shop/prices.json", "-p", "at="+at.url, "--raw")
		watch.line(`{"rope":3}`)
	}

	// Both are at the node of the content, each at the one of its watcher, and a
	// node sees no others.
	o := c.asks(t, has("ADDRESS ", "  OWNER ", "json:/shop/prices.json  state  0 ", a.url, b.url), "topics")
	wantLines(t, o.out, 3)
	o = ask(t, a.url, "", "topics", "json:")
	wantText(t, o.out, "json:/shop/prices.json  state  1 ", "  c  ", a.url)
	wantLines(t, o.out, 2)
	wantText(t, ask(t, a.url, "", "topics", "--node", "b").out, b.url)
	wantText(t, ask(t, a.url, "", "topics", "file:").out, "nothing is watched at file:")

	o = ask(t, a.url, "", "topics", "--all")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "ADDRESS ", "  NODE ", "json:/shop/prices.json  a  ", "json:/shop/prices.json  b  ", "json:/shop/prices.json  c  ")
	wantLines(t, o.out, 5)
	wantText(t, ask(t, a.url, "", "topics", "file:", "--all").out, "nothing is watched at file:")

	var infos []topic.Info
	o = ask(t, a.url, "", "topics", "--json")
	if err := json.Unmarshal([]byte(o.out), &infos); err != nil || len(infos) != 1 || infos[0].Watchers != 1 || infos[0].OwnerName != "c" {
		t.Errorf("%+v, %v: %s", infos, err, o.out)
	}
	for filter, each := range map[string][]int{"": {1, 1, 2}, "json:/shop/": {1, 1, 2}, "file:": {0, 0, 0}} {
		o = ask(t, a.url, "", slices.DeleteFunc([]string{"topics", filter, "--all", "--json"}, func(s string) bool { return s == "" })...)
		wantCode(t, o, exitOK)
		var answers []struct {
			Node, ID string
			Body     []topic.Info
		}
		if err := json.Unmarshal([]byte(o.out), &answers); err != nil || len(answers) != 3 {
			t.Fatalf("%q: %v: %s", filter, err, o.out)
		}
		for i, one := range answers {
			if one.Node != string(rune('a'+i)) || one.ID == "" || one.Body == nil || len(one.Body) != each[i] {
				t.Errorf("%q at %s: %+v, want %d", filter, one.Node, one.Body, each[i])
			}
		}
	}
	wantCode(t, ask(t, a.url, "", "topics", "--node", "b", "--all"), exitUsage)
	wantCode(t, ask(t, a.url, "", "topics", "--node", "z"), exitFailed)
}

func wantLines(t *testing.T, text string, n int) {
	t.Helper()
	if got := strings.Count(text, "\n"); got != n {
		t.Errorf("%d lines, want %d:\n%s", got, n, text)
	}
}
