package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestServeContract(t *testing.T) {
	t.Parallel()
	p := launch(t, t.TempDir(), nil, "serve", "--listen", "127.0.0.1:0", "--name", "shop-1")
	line := p.line("")
	if !regexp.MustCompile(`^ready shop-1 http://127\.0\.0\.1:[1-9][0-9]*$`).MatchString(line) {
		t.Fatalf("ready line %q", line)
	}
	url := "ws" + strings.TrimPrefix(strings.Fields(line)[2], "http")
	for _, path := range []string{"node:/services", "node:/clients"} {
		wantCode(t, ask(t, url, "", "call", path), exitOK)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	if got := p.out.all.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("standard output has more than the ready line:\n%s", got)
	}
	wantCode(t, ask(t, url, "", "call", "node:/info"), exitConnect)
}

// TestServeFinishesCalls stops a node while a service in another process
// answers a call.
func TestServeFinishesCalls(t *testing.T) {
	t.Parallel()
	p := launch(t, t.TempDir(), nil, "serve", "--preset", "dev", "--listen", "127.0.0.1:0")
	url := p.serveURL()
	s := launch(t, t.TempDir(), at(url), "hello", "--pace", "40ms")
	s.line("serving report:/long")
	c := launch(t, t.TempDir(), at(url), "call", "report:/long", `{"steps":12}`)
	c.line(`{"type":"part"`)
	p.signal(syscall.SIGTERM)
	if got := c.line(`{"type":"reply"`); !strings.Contains(got, `"steps":12`) {
		t.Errorf("reply %s", got)
	}
	if code := c.wait(); code != 0 {
		t.Errorf("the caller's exit code is %d\n%s", code, c.errs.all.String())
	}
	if n := strings.Count(c.out.all.String(), `"type":"part"`); n != 12 {
		t.Errorf("%d parts", n)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("the node's exit code is %d\n%s", code, p.errs.all.String())
	}
	s.signal(syscall.SIGINT)
	if code := s.wait(); code != 0 {
		t.Errorf("the service's exit code is %d\n%s", code, s.errs.all.String())
	}
}

func TestServeSecondSignal(t *testing.T) {
	t.Parallel()
	p := launch(t, t.TempDir(), nil, "serve", "--preset", "dev", "--listen", "127.0.0.1:0")
	url := p.serveURL()
	s := launch(t, t.TempDir(), at(url), "hello", "--pace", "1h")
	s.line("serving report:/long")
	c := launch(t, t.TempDir(), at(url), "call", "report:/long", "--timeout", "10m")
	for {
		o := ask(t, url, "", "call", "node:/info")
		wantCode(t, o, exitOK)
		if strings.Contains(o.out, `"inFlight":2`) { // report:/long and this one
			break
		}
	}
	p.signal(syscall.SIGTERM)
	p.errs.line("stopping")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitFailed {
		t.Errorf("exit code %d\n%s", code, p.errs.all.String())
	}
	if code := c.wait(); code != exitConnect {
		t.Errorf("the caller's exit code is %d\n%s", code, c.errs.all.String())
	}
}

func TestServeRefusals(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonc")
	if err := os.WriteFile(bad, []byte("{\n  \"listenerz\": {},\n  \"calls\": {\"strategy\": 1}\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	driver := filepath.Join(dir, "driver.jsonc")
	if err := os.WriteFile(driver, []byte("{\n  \"services\": {\"x\": {\"kind\": \"eco\"}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"preset", []string{"--listen", "127.0.0.1:0", "--preset", "open"}, exitUsage, []string{"--preset", "open", "dev"}},
		{"no port", []string{"--listen", "127.0.0.1"}, exitUsage, []string{"is not HOST:PORT"}},
		{"taken", []string{"--listen", taken.Addr().String()}, exitFailed, []string{"another program listens on " + taken.Addr().String(), "--listen"}},
		{"port", []string{"--listen", "127.0.0.1:99999"}, exitUsage, []string{`--listen: listeners.main.address: "99999" is no port`, "from 0 to 65535"}},
		{"port of letters", []string{"--listen", "127.0.0.1:80x"}, exitUsage, []string{`"80x" is no port`, "from 0 to 65535"}},
		{"name", []string{"--name", "two words"}, exitUsage, []string{"one word"}},
		{"level", []string{"--log-level", "loud"}, exitUsage, []string{`--log-level: log.level: "loud" is none of`}},
		{"no file", []string{"--config", filepath.Join(dir, "none.jsonc")}, exitUsage, []string{"there is no such file"}},
		{"bad file", []string{"--config", bad}, exitUsage, []string{
			`bad.jsonc:2:3: listenerz: there is no such field`, `Did you mean "listeners"?`,
			`bad.jsonc:3:25: calls.strategy: a text is expected, this is the number 1`,
		}},
		{"bad value", []string{"--config", driver}, exitUsage, []string{`driver.jsonc:2:30: services.x.kind: `}},
		{"flag", []string{"--lisen", "x"}, exitUsage, []string{"unknown flag --lisen", `Run "ropewalk serve --help"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := try(t, nil, "", append([]string{"serve"}, tt.args...)...)
			wantCode(t, o, tt.code)
			wantText(t, o.err, tt.want...)
			if o.out != "" {
				t.Errorf("standard output has %q", o.out)
			}
		})
	}
}

func TestServeEverywhereAndEnvironment(t *testing.T) {
	t.Parallel()
	p := launch(t, t.TempDir(), []string{"ROPEWALK_NAME=env", "ROPEWALK_LISTENERS_SIDE_ADDRESS=127.0.0.1:0", "ROPEWALK_PORT=tcp://x"},
		"serve", "--listen", "0.0.0.0:0")
	line := p.line("ready ")
	if !strings.HasPrefix(line, "ready env http://") {
		t.Errorf("ready line %q", line)
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.Fields(line)[2], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	o := try(t, nil, "", "call", "--url", "ws://127.0.0.1:"+port, "node:/info")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `"side":"127.0.0.1:`, `"name":"env"`)
	if note := p.errs.line("note: "); !strings.Contains(note, "ROPEWALK_PORT sets no field") {
		t.Error(note)
	}
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
