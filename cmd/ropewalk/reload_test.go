package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "c.jsonc")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"permissions": {"preset": "dev"}}`)
	p := launch(t, t.TempDir(), nil, "serve", "--listen", "127.0.0.1:0", "--config", file, "--watch")
	url := p.serveURL()
	o := ask(t, url, "", "reload")
	wantCode(t, o, exitOK)
	wantText(t, o.out, "nothing has changed")

	write(`{"permissions": {"preset": "dev"}, "calls": {"strategy": "first"}, "shutdown": "3s"}`)
	p.errs.with("applied=[calls.strategy] restart=[shutdown]") // by --watch
	o = ask(t, url, "", "reload", "--json")
	wantCode(t, o, exitOK)
	wantText(t, o.out, `{"applied":[],"restart":["shutdown"]}`)

	write(`{"permissions": {"preset": "dev"}, "calls": {"strategy": "nothing"}}`)
	p.errs.with("calls.strategy: ")
	o = ask(t, url, "", "reload", "--all")
	if o.code == exitOK || !strings.Contains(o.err, "c.jsonc:1:58") {
		t.Errorf("a wrong file: %+v", o)
	}
	write(`{"permissions": {"preset": "standard"}}`)
	p.errs.with("permissions.preset")
	p.signal(syscall.SIGHUP)
	p.errs.with("applied=[] restart=[]")
	if o = ask(t, url, "", "reload"); o.code == exitOK {
		t.Errorf("everybody may reload: %+v", o)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("the exit code is %d\n%s", code, p.errs.all.String())
	}
}

// with returns the next line that contains a text.
func (s *stream) with(text string) string {
	s.t.Helper()
	for {
		if l := s.line(""); strings.Contains(l, text) {
			return l
		}
	}
}
