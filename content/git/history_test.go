package git_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
)

func TestLog(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	var empty git.Log
	if err := ask(t, s, "/log", ``, &empty); err != nil || len(empty.Commits) != 0 {
		t.Errorf("the log of nothing is %+v, %v", empty, err)
	}
	for i := range 7 {
		publish(t, s.JSON(), "/d/a.json", fmt.Sprint(i))
		publish(t, s.JSON(), "/b.json", fmt.Sprint(i))
	}
	publish(t, s.JSON(), "/d/a.json", ``)
	for path, at := range map[string]string{"/log": "", "/log/d/a.json": "d/a.json", "/log/d": "d", "/log/nothing": "nothing"} {
		var hashes []string
		page := git.Log{Next: 0}
		for {
			input := fmt.Sprintf(`{"limit":3,"skip":%d,"revision":%q}`, page.Next, page.Revision)
			page = git.Log{}
			if err := ask(t, s, path, input, &page); err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Commits {
				hashes = append(hashes, c.Commit)
			}
			if page.Next == 0 {
				break
			}
		}
		args := []string{"log", "--format=%H", "main", "--"}
		if at != "" {
			args = append(args, at)
		}
		if want := run(t, o.dir, args...); strings.Join(hashes, "\n") != want {
			t.Errorf("%s: %d commits, want %d", path, len(hashes), len(strings.Fields(want)))
		}
	}
	var page git.Log
	if err := ask(t, s, "/log", `{"limit":1}`, &page); err != nil {
		t.Fatal(err)
	}
	c := page.Commits[0]
	if c.Author != "Alice A" || c.Message != "Delete d/a.json" || len(c.Parents) != 1 || c.Date == "" {
		t.Errorf("the commit is %+v", c)
	}
}

func TestShowDiffRestore(t *testing.T) {
	t.Parallel()
	s, o := open(t, nil)
	var hashes []string
	for i := range 3 {
		out := publish(t, s.JSON(), "/d/a.json", fmt.Sprintf(`{"n":%d}`, i))
		hashes = append(hashes, out["commit"].(string))
	}
	publish(t, s.JSON(), "/d/b.json", `1`)
	var shown git.Shown
	if err := ask(t, s, "/show/d/a.json", `{"revision":"`+hashes[0][:9]+`"}`, &shown); err != nil || *shown.Text != "{\n  \"n\": 0\n}\n" {
		t.Errorf("shown: %+v, %v", shown, err)
	}
	var d git.Diff
	if err := ask(t, s, "/diff/d", fmt.Sprintf(`{"from":%q,"to":%q}`, hashes[0], hashes[2]), &d); err != nil || len(d.Files) != 1 {
		t.Fatalf("the difference is %+v, %v", d, err)
	}
	// What the program makes of it: the index line aside, it is the same patch.
	want := run(t, o.dir, "diff", "--full-index", hashes[0], hashes[2])
	if strings.TrimSpace(d.Files[0].Patch) != want {
		t.Errorf("the patch is\n%s\nwant\n%s", d.Files[0].Patch, want)
	}
	if err := ask(t, s, "/diff", ``, &d); err != nil || len(d.Files) != 1 || d.Files[0].Path != "/d/b.json" || d.Files[0].Status != "added" {
		t.Errorf("the newest commit is %+v, %v", d, err)
	}
	w := watch(t, s.JSON(), "/d/a.json")
	publish(t, s.Git(), "/restore/d/a.json", `{"revision":"`+hashes[0]+`"}`)
	w.told(true)
	w.sees(`{"n":0}`)
	publish(t, s.Git(), "/restore", `{"revision":"`+hashes[1]+`","message":"Back"}`)
	w.sees(`{"n":1}`)
	_, err := get(t, s.JSON(), "/d/b.json")
	fails(t, err, message.CodeNotFound)
	if got := run(t, o.dir, "diff", hashes[1], "main"); got != "" {
		t.Errorf("not restored: %s", got)
	}
	for path, in := range map[string]string{
		"/restore/d/a.json": `{"revision":"main~1"}`, "/restore/nothing": `{"revision":"` + hashes[0] + `"}`, "/show/d": `{}`, "/show/d/a.json": `{"revision":"` + strings.Repeat("1", 40) + `"}`,
	} {
		if strings.HasPrefix(path, "/show") {
			err = ask(t, s, path, in, nil)
		} else {
			_, err = tryPublish(s.Git(), path, in)
		}
		fails(t, err, message.CodeNotFound)
	}
	fails(t, ask(t, s, "/merge", ``, nil), message.CodeUnimplemented)
	fails(t, ask(t, s, "/what", ``, nil), message.CodeNotFound)
	fails(t, ask(t, s, "/log", `{"limit":9999}`, nil), message.CodeInvalidInput)
	fails(t, ask(t, s, "/log", `[`, nil), message.CodeInvalidInput)
	_, err = tryPublish(s.Git(), "/log", `{}`)
	fails(t, err, message.CodeUnimplemented)
	_, err = tryPublish(s.Git(), "/pull", `{}`)
	fails(t, err, message.CodeNotFound)
	// Code comes back only where somebody says who may.
	sql := publish(t, s.Files(true), "/q.sql", `{"base64":"MQ=="}`)
	publish(t, s.Files(true), "/q.sql", ``)
	for _, path := range []string{"/restore", "/restore/q.sql"} {
		_, err = tryPublish(s.Git(), path, `{"revision":"`+sql["commit"].(string)+`"}`)
		fails(t, err, message.CodeForbidden)
	}
}

func TestStatusIsLive(t *testing.T) {
	t.Parallel()
	s, o := open(t, drafts)
	status, logs, spaces := watch(t, s.Git(), "/status"), watch(t, s.Git(), "/log/a.json"), watch(t, s.Git(), "/workspaces")
	o.write(t, "a.json", "1")
	head := run(t, o.dir, "rev-parse", "main")
	status.sees(`{"branch":"main","commit":"` + head + `"}`)
	logs.until(func(body string, err error) bool { return err == nil && strings.Contains(body, head) })
	spaces.sees("[]")
	publish(t, s.JSON(), "/a.json?workspace=w", `2`)
	spaces.told(true)
	spaces.until(func(body string, _ error) bool { return strings.Contains(body, `"name":"w"`) })
	run(t, o.dir, "update-ref", "-d", "refs/ropewalk/workspaces/alice/w")
	spaces.sees("[]")
	var list []git.Branch
	run(t, o.dir, "branch", "other", "main")
	if err := ask(t, s, "/branches", ``, &list); err != nil || len(list) != 2 || !list[0].Content || list[1].Name != "other" {
		t.Errorf("the branches are %+v, %v", list, err)
	}
}

// TestFollow has the git program do what it does to a repository that is served.
func TestFollow(t *testing.T) {
	t.Parallel()
	s, o := open(t, func(set *git.Settings) { set.Branch = "site/live"; set.Poll = 1 << 40 })
	w := watch(t, s.JSON(), "/a.json")
	other := watch(t, s.JSON(), "/b.json")
	o.write(t, "a.json", "1")
	w.sees("1")
	o.write(t, "b.json", "1")
	other.sees("1")
	run(t, o.dir, "pack-refs", "--all")
	run(t, o.dir, "repack", "-adf")
	w.sees("1")
	o.write(t, "a.json", "2")
	w.sees("2")
	publish(t, s.JSON(), "/a.json", "3")
	run(t, o.dir, "gc", "--prune=now", "--aggressive")
	w.sees("3")
	o.write(t, "a.json", "4")
	run(t, o.dir, "gc", "--prune=now")
	w.sees("4")
	first := run(t, o.dir, "rev-parse", "site/live~1")
	run(t, o.dir, "branch", "-D", "site/live")
	w.until(func(_ string, err error) bool { return message.CodeOf(err) == message.CodeNotFound })
	run(t, o.dir, "branch", "site/live", first)
	w.sees("3")
	run(t, o.dir, "pack-refs", "--all")
	publish(t, s.JSON(), "/a.json", "5")
	run(t, o.dir, "fsck", "--strict")
	if got := run(t, o.dir, "show", "site/live:a.json"); got != "5" {
		t.Errorf("the file is %q", got)
	}
}
