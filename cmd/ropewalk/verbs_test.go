package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/client"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func TestGather(t *testing.T) {
	t.Parallel()
	url := node(t)
	other := launch(t, t.TempDir(), at(url), "hello")
	other.line("serving report:/long")
	o := ask(t, url, "", "gather", "math:/decimal/*", `{"a":8,"b":2}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "SERVER", "math:/decimal/div", "math:/decimal/sub", "8 of 8 answered well")
	o = ask(t, url, "", "gather", "math:/decimal/*", `{"a":8,"b":0}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "error: there is no such number for 8 and 0 (invalid_input)", "6 of 8 answered well")
	o = ask(t, url, "", "gather", "math:/decimal/mul", `{"a":8,"b":2}`, "--json", "--quorum", "2")
	wantCode(t, o, exitOK)
	var reply struct {
		Answers []struct{ Body int }
		Servers int
	}
	if err := json.Unmarshal([]byte(o.out), &reply); err != nil || reply.Servers != 2 || len(reply.Answers) != 2 || reply.Answers[1].Body != 16 {
		t.Errorf("%v %s", err, o.out)
	}
	o = ask(t, url, "", "gather", "math:/decimal/mul", `{"a":8,"b":2}`, "--quorum", "3")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(no_quorum)")
	wantCode(t, ask(t, url, "", "gather", "math:/decimal/mul", `{"a":8,"b":2}`, "--majority"), exitOK)
	wantCode(t, ask(t, url, "", "gather", "nobody:/x"), exitFailed)
}

func TestSend(t *testing.T) {
	t.Parallel()
	url := node(t)
	got := make(chan string, 10)
	c, err := client.Dial(t.Context(), url, client.WithLogger(slog.New(slog.DiscardHandler)), client.WithOnSend(func(_ context.Context, r *route.Request) {
		got <- string(r.Message.Type) + string(r.Message.Body)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	o := ask(t, url, "", "send", c.ID()+"@client:/", `"hello"`, "--type", "note")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "handed over to "+c.ID()+"@client:/")
	if s := <-got; s != `note"hello"` {
		t.Errorf("got %s", s)
	}
	o = ask(t, url, "", "send", "*@client:/", `1`, "--json")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `"acknowledged":true`)
	if s := <-got; s != `1` {
		t.Errorf("got %s", s)
	}
	o = ask(t, url, "", "send", c.ID()+"@client:/", `2`, "--no-ack")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "sent to ")
	if s := <-got; s != `2` {
		t.Errorf("got %s", s)
	}
	o = ask(t, url, "", "send", "nobody@client:/", `3`)
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "(no_client)")
}

func TestLists(t *testing.T) {
	t.Parallel()
	url := node(t)
	o := ask(t, url, "", "services")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "ADDRESS", "math:/decimal/mul", "a times b", "node:/services")
	o = ask(t, url, "", "services", "math:")
	wantCode(t, o, exitOK)
	if strings.Contains(o.out, "node:/") || strings.Count(o.out, "\n") != 5 {
		t.Errorf("filtered list\n%s", o.out)
	}
	wantText(t, ask(t, url, "", "services", "none:").out, "nothing is served at none:")
	if o := ask(t, url, "", "services", "none:", "--json"); o.out != "[]\n" {
		t.Errorf("services none: --json prints %s", o.out)
	}
	if o := ask(t, url, "", "services", "text:", "--json"); !strings.HasPrefix(o.out, `[{"name":"text","path":"/up",`) || strings.Contains(o.out, "math") {
		t.Errorf("services text: --json prints %s", o.out)
	}
	var list []route.ServiceInfo
	if err := json.Unmarshal([]byte(ask(t, url, "", "services", "--json").out), &list); err != nil || len(list) < 10 {
		t.Error(err, list)
	}
	o = ask(t, url, "", "clients")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "CLIENT", "websocket")
	if strings.Contains(o.out, "127.0.0.1:") || strings.Contains(o.out, "ADDRESS") {
		t.Errorf("it tells addresses that nobody asked for: %s", o.out)
	}
	o = ask(t, url, "", "clients", "--json")
	wantText(t, o.out, `"transport":"websocket"`)
	wantText(t, ask(t, url, "", "clients", "--addresses").out, "ADDRESS", "127.0.0.1:")
	wantText(t, ask(t, url, "", "clients", "--addresses", "--all", "--json").out, `"remoteAddr":"127.0.0.1:`)
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	url := node(t)
	o := ask(t, url, "", "middleware")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "STAGE", "inbound", "outbound")
	o = ask(t, url, "", "middleware", "insert", "call", "limit", `{"calls":10}`, "--as", "mine", "--first")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "call      mine")
	o = ask(t, url, "", "middleware", "move", "call", "mine")
	wantCode(t, o, exitOK)
	if strings.Contains(o.out, "call      mine") {
		t.Errorf("still the first\n%s", o.out)
	}
	o = ask(t, url, "", "middleware", "set", "call", "mine", `{"calls":12}`)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "state of call mine:", `"calls":12`)
	wantCode(t, ask(t, url, "", "middleware", "set", "call", "mine", `calls`), exitUsage)
	o = ask(t, url, "", "middleware", "set", "call", "log", `{}`)
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "no state that can be set")
	o = ask(t, url, "", "middleware", "remove", "call", "mine", "--json")
	wantCode(t, o, exitOK)
	if strings.Contains(o.out, "mine") {
		t.Error(o.out)
	}
	o = ask(t, url, "", "middleware", "insert", "call", "secret", `{"secrets":["hunter2"]}`)
	wantCode(t, o, exitOK)
	if strings.Contains(o.out, "hunter2") {
		t.Errorf("the secret is shown\n%s", o.out)
	}
	wantText(t, ask(t, url, "", "call", "echo:/", "1").err, "(unauthenticated)")
	wantCode(t, ask(t, url, "", "call", "echo:/", "1", "--authorization", "hunter2"), exitOK)
	wantCode(t, ask(t, url, "", "middleware", "remove", "call", "secret", "--authorization", "hunter2"), exitOK)
	o = ask(t, url, "", "middleware", "remove", "call", "nothing")
	wantCode(t, o, exitFailed)
	wantText(t, o.err, "nothing")
	wantCode(t, ask(t, url, "", "middleware", "insert", "call", "limit", "{"), exitUsage)
	wantCode(t, ask(t, url, "", "middleware", "move", "call", "a", "--first", "--before", "b"), exitUsage)
}

func TestRouteExplain(t *testing.T) {
	t.Parallel()
	url := node(t)
	o := ask(t, url, "", "route", "explain", "node:/schema/math/decimal/mul")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "address   node:/schema/math/decimal/mul", "route     node:/schema/{name}/**", "{name} = math",
		"strategy  least-busy", "passes    inbound", "servers   ", "0 calls in flight")
	o = ask(t, url, "", "route", "explain", "math:/decimal/mull")
	wantCode(t, o, exitFailed)
	wantText(t, o.out, "address   math:/decimal/mull")
	wantText(t, o.err, "math:/decimal/mull")
	o = ask(t, url, "", "route", "explain", "math:/decimal/mul", "--json")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `"address":"math:/decimal/mul"`)
}

func TestTap(t *testing.T) {
	t.Parallel()
	url := node(t)
	p := launch(t, t.TempDir(), at(url), "tap", "echo:/**")
	q := launch(t, t.TempDir(), at(url), "tap", "--json", "--body", "0")
	p.errs.line("watching echo:/** on ")
	// Both are there when they show what is sent; until then it is sent again.
	seen := make(chan string, 2)
	go func() { seen <- p.line("") }()
	go func() { seen <- q.line("") }()
	for range 2 {
		for first := ""; first == ""; {
			wantCode(t, ask(t, url, "", "call", "echo:/parts?n=1", `{"name":"ann","password":"hunter2"}`), exitOK)
			select {
			case first = <-seen:
			default:
			}
		}
	}
	call := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  (call|part 1|reply) +.*echo:/parts`)
	p.out.line("")
	p.signal(syscall.SIGINT)
	q.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	if errs := p.errs.all.String(); strings.Contains(errs, "error:") {
		t.Errorf("a Ctrl-C is no error:\n%s", errs)
	}
	q.wait()
	for l := range strings.Lines(p.out.all.String()) {
		if !call.MatchString(l) {
			t.Errorf("line %q", l)
		}
	}
	wantText(t, p.out.all.String(), "[redacted]", `"name":"ann"`)
	if all := p.out.all.String() + q.out.all.String(); strings.Contains(all, "hunter2") || strings.Contains(q.out.all.String(), "ann") {
		t.Errorf("a body is shown\n%s", all)
	}
	for l := range strings.Lines(q.out.all.String()) {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %q", l)
		}
	}
	wantCode(t, ask(t, url, "", "tap", "--sample", "2"), exitUsage)
}

func TestBench(t *testing.T) {
	t.Parallel()
	url := node(t)
	o := ask(t, url, "", "bench", "call", "math:/decimal/mul", `{"a":1,"b":2}`, "-n", "200", "-c", "4", "--connections", "2")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "calls        200 in ", "p99.9")
	o = ask(t, url, "", "bench", "call", "--duration", "500ms", "--json")
	wantCode(t, o, exitOK)
	var r result
	if err := json.Unmarshal([]byte(o.out), &r); err != nil || r.Good == 0 || r.P50 <= 0 || len(r.Errors) > 0 {
		t.Errorf("%v %s", err, o.out)
	}
	o = ask(t, url, "", "bench", "call", "math:/nothing", "-n", "3")
	wantCode(t, o, exitFailed)
	o = ask(t, url, "", "bench", "connect", "-n", "20", "-c", "4", "--hold", "1ms")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "connections  20 in ")
	wantCode(t, ask(t, url, "", "bench", "connect", "-n", "0"), exitUsage)
	wantCode(t, ask(t, url, "", "bench", "call", "-c", "0"), exitUsage)
	wantCode(t, ask(t, "ws://127.0.0.1:1", "", "bench", "call"), exitConnect)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "c.jsonc")
	text := `{
	"name": "shop",
	"listeners": {"main": {"address": "0.0.0.0:7420"}},
	"middleware": [{"stage": "call", "kind": "secret", "settings": {"secrets": ["hunter2"]}}],
}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o := try(t, []string{"ROPEWALK_LIMITS_FRAME=4096", "ROPEWALK_URL=x"}, "", "config", "check", file)
	wantCode(t, o, exitOK)
	wantText(t, o.out, "FIELD", `"shop"`, "c.jsonc:2:10", "ROPEWALK_LIMITS_FRAME", "4096", "is fine", "set, not shown")
	if strings.Contains(o.out+o.err, "hunter2") || strings.Contains(o.err, "ROPEWALK_URL") {
		t.Error(o)
	}
	o = try(t, nil, "", "config", "check", filepath.Join(dir, "none"))
	wantCode(t, o, exitUsage)
	o = try(t, nil, "", "config", "check", filepath.Join(dir, "none"), "--json")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, `"details":[{"file":`)

	o = try(t, []string{"COLUMNS=60"}, "", "config", "doc")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "limits.frame  (whole number; default: 1 MiB)", "ROPEWALK_LIMITS_FRAME", "listeners.<name>.address")
	o = try(t, nil, "", "config", "doc", "listeners.main.address")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "HOST:PORT")
	wantCode(t, try(t, nil, "", "config", "doc", "limits", "--json"), exitOK)
	o = try(t, nil, "", "config", "doc", "frame")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "Did you mean limits.frame?")
}

func TestDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := freePort(t)
	p := launch(t, dir, nil, "dev", "shop", "--listen", port)
	p.line("ready dev http://" + port)
	p.line("math:")
	p.line("├─ /decimal/add")
	if l := p.line("Open the page:"); !strings.HasSuffix(l, "http://"+port) {
		t.Error(l)
	}
	p.line("Other nodes: ")
	p.line("Stop with Ctrl-C.")
	wantText(t, p.out.all.String(), " serve --join 127.0.0.1:", "made shop/README.md\nmade shop/content\nmade shop/ropewalk.jsonc\n", " hello --url ws://"+port, `'math:/decimal/*'`)
	o := try(t, nil, "", "call", "--url", "ws://"+port, "text:/up", `"x"`)
	wantCode(t, o, exitOK)
	wantCode(t, try(t, nil, "", "config", "check", filepath.Join(dir, "shop", configName)), exitOK)

	// A second one takes another port and the same project.
	q := launch(t, filepath.Join(dir, "shop"), nil, "dev", "--json", "--listen", port)
	ready := q.line("{")
	if strings.Contains(ready, port) || !regexp.MustCompile(`^{"ready":"dev","url":"http://127.0.0.1:\d+","cluster":"127.0.0.1:\d+","project":"ropewalk.jsonc"}$`).MatchString(ready) {
		t.Error(ready)
	}
	q.errs.line("note: " + port + " is taken; using 127.0.0.1:")
	for _, x := range []*process{p, q} {
		x.signal(syscall.SIGINT)
		if code := x.wait(); code != exitOK {
			t.Errorf("exit code %d\n%s", code, x.errs.all.String())
		}
	}
}

// freePort returns an address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDevDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := try(t, nil, "", "dev", dir, "--listen", "127.0.0.1:0")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "is not empty and has no ropewalk.jsonc", "ropewalk dev my-project")
	o = try(t, nil, "", "dev", filepath.Join(dir, "letter.txt"), "--listen", "127.0.0.1:0")
	wantCode(t, o, exitUsage)
	o = try(t, nil, "", "dev", filepath.Join(dir, "new"), "--listen", "0.0.0.0:0")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "0.0.0.0:0 can be reached from other machines", "--preset", "(forbidden)")

	p := launch(t, dir, nil, "dev", "--listen", "127.0.0.1:0")
	p.line("This directory has other files, so no project is made in it.")
	p.line("ready dev ")
	if entries, _ := os.ReadDir(dir); len(entries) != 2 { // letter.txt and new, which was made above
		t.Errorf("%d files", len(entries))
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"help", "content", "log"}, {"bench", "topic", "--help"}} {
		o := try(t, nil, "", args...)
		wantCode(t, o, exitOK)
		wantText(t, o.out, "Usage: ropewalk ")
	}
	wantText(t, try(t, nil, "", "help", "watch").out, "Usage: ropewalk watch <address>")
	for command, want := range map[string]string{
		"nothing": "there is no command nothing (",
		"gett":    `there is no command gett, did you mean "get"?`,
		"sub":     `there is no command sub, did you mean "watch"?`,
		"cat":     `there is no command cat, did you mean "get"?`,
		"content": `a command is missing: "status", "log", `,
	} {
		o := try(t, nil, "", command)
		wantCode(t, o, exitUsage)
		wantText(t, o.err, want)
	}
	wantCode(t, try(t, nil, "", "help", "nothing"), exitUsage)
}

func TestVersion(t *testing.T) {
	t.Parallel()
	wantText(t, try(t, nil, "", "version").out, "ropewalk ", ", go1.")
	wantText(t, try(t, nil, "", "version", "--json").out, `{"version":"`)
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		o := try(t, nil, "", "completion", shell)
		wantCode(t, o, exitOK)
		wantText(t, o.out, "explain", "middleware", "insert", "timeout")
	}
	o := try(t, nil, "", "completion", "tcsh")
	wantCode(t, o, exitUsage)
	wantText(t, o.err, "bash")

	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	for words, want := range map[string]string{
		"ropewalk ser":                       "serve services",
		"ropewalk route ":                    "explain",
		"ropewalk middleware in":             "insert",
		"ropewalk call --tim":                "--timeout",
		"ropewalk bench call --in":           "--in-flight",
		"ropewalk --json config ":            "show check doc",
		"ropewalk call math:/x --idempot":    "--idempotent",
		"ropewalk gather --json --url x --m": "--majority",
	} {
		script := try(t, nil, "", "completion", "bash").out + `
COMP_WORDS=(` + words[:strings.LastIndexByte(words, ' ')] + ` "` + words[strings.LastIndexByte(words, ' ')+1:] + `")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_ropewalk
echo "${COMPREPLY[@]}"`
		out, err := exec.Command(bash, "-c", script).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q: %v %s, want %s", words, err, out, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[message.Code]int{
		message.CodeDeadlineExceeded: exitTimeout,
		message.CodeConnectionLost:   exitConnect,
		message.CodeNotReady:         exitConnect,
		message.CodeNoService:        exitFailed,
	} {
		if got := exitCode(message.NewError(code, "", "")); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
}
