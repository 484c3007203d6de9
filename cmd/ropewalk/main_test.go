package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/examples/hello/hello"
)

// binary is the program, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ropewalk-test-")
	if err == nil {
		binary = filepath.Join(dir, "ropewalk")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// node starts a node in this process, with the example services and echo, and
// returns its URL.
func node(t *testing.T) string {
	t.Helper()
	n, err := ropewalk.New(ropewalk.Config{
		Name:      "test",
		Listeners: map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}},
		Services:  map[string]ropewalk.BuiltIn{"echo": {Kind: "echo"}},
		Allow:     ropewalk.AllowAll,
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range hello.WithPace(time.Millisecond) {
		if err := n.Serve(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return "ws://" + n.Addrs()["main"].String()
}

// outcome is what a run of the program left.
type outcome struct {
	code     int
	out, err string
}

// try runs the program in this process.
func try(t *testing.T, env []string, stdin string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return tryIn(ctx, env, stdin, args...)
}

func tryIn(ctx context.Context, env []string, stdin string, args ...string) outcome {
	var out, errs safeBuffer
	code := run(ctx, args, newWorld(strings.NewReader(stdin), &out, &errs, env))
	return outcome{code, out.String(), errs.String()}
}

// ask runs a verb that talks to the node at url, in this process.
func ask(t *testing.T, url, stdin string, args ...string) outcome {
	t.Helper()
	return try(t, nil, stdin, append(args, "--url", url)...)
}

// at is the environment of a process that talks to the node at url.
func at(url string) []string { return []string{"ROPEWALK_URL=" + url} }

// safeBuffer is a buffer that several goroutines may use.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// process is the program as a process of its own.
type process struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, errs *stream
}

// stream is standard output or standard error of a process.
type stream struct {
	t     *testing.T
	all   safeBuffer
	lines chan string
}

// follow reads a stream to its end.
func follow(t *testing.T, from io.Reader) *stream {
	s := &stream{t: t, lines: make(chan string, 10_000)}
	go func() {
		defer close(s.lines)
		scan := bufio.NewScanner(io.TeeReader(from, &s.all))
		for scan.Scan() {
			s.lines <- scan.Text()
		}
	}()
	return s
}

// line returns the next line that begins with prefix.
func (s *stream) line(prefix string) string {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case l, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the program ended without a line %q:\n%s", prefix, s.all.String())
			}
			if strings.HasPrefix(l, prefix) {
				return l
			}
		case <-limit.C:
			s.t.Fatalf("no line %q:\n%s", prefix, s.all.String())
		}
	}
}

// end reads what is left.
func (s *stream) end() {
	for range s.lines { //nolint:revive // until it is closed
	}
}

// launch starts the program; it is killed at the end of the test.
func launch(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...)}
	p.cmd.Dir = dir
	p.cmd.Env = append(env, "HOME="+t.TempDir(), "NO_COLOR=1", "PATH="+os.Getenv("PATH"))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.out, p.errs = follow(t, out), follow(t, errs)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		p.wait()
	})
	return p
}

// line returns the next line of standard output that begins with prefix.
func (p *process) line(prefix string) string {
	p.t.Helper()
	return p.out.line(prefix)
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	limit := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer limit.Stop()
	p.out.end()
	p.errs.end()
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// serveURL waits for the ready line and returns the URL for clients.
func (p *process) serveURL() string {
	p.t.Helper()
	words := strings.Fields(p.line("ready "))
	if len(words) < 3 || !strings.HasPrefix(words[2], "http://") {
		p.t.Fatalf("ready line: %q", words)
	}
	return "ws" + strings.TrimPrefix(words[2], "http")
}

func wantCode(t *testing.T, o outcome, code int) {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", o.code, code, o.out, o.err)
	}
}

func wantText(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q is not in\n%s", p, got)
		}
	}
}
