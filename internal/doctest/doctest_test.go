package doctest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/doctest"
)

const (
	root = "../.."
	// These are where a node of a page accepts clients, and other
	// nodes, if nothing else is said.
	mainAddress    = "127.0.0.1:7420"
	clusterAddress = "127.0.0.1:7421"
	// patience is for a first "go run" on a busy machine.
	patience = 2 * time.Minute
)

// TestPages does what README.md and docs/ tell a reader to do.
func TestPages(t *testing.T) {
	if os.Getenv("DOCS_TEST") == "" {
		t.Skip("make test-docs runs this; it needs npm and a minute or two")
	}
	clone := newClone(t)
	for _, path := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := doctest.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if len(blocks) == 0 {
			continue
		}
		t.Run(path, func(t *testing.T) { newReader(t, path, clone).follow(blocks) })
	}
}

// pages returns README.md, CONTRIBUTING.md and those below docs/. The generated
// ones are tested where they are generated.
func pages(t *testing.T) []string {
	t.Helper()
	list := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(path string) bool {
		text, err := os.ReadFile(filepath.Join(root, path))
		return err == nil && bytes.HasPrefix(text, []byte("<!-- Made by"))
	})
}

// newClone copies what git would clone, with what is not committed yet, to a
// place where programs may be written beside it. It is always the same place,
// so that the second run finds its builds in Go's cache.
func newClone(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(root, "bin", "docs"))
	if err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(dir, "ropewalk")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted, and the deletion is not committed
		}
		write(t, filepath.Join(clone, name), text)
	}
	return clone
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// reader does what one page says.
type reader struct {
	*testing.T
	page     string
	clone    string
	address  map[string]string // of this page, by those that it shows
	env      []string
	terminal *doctest.Terminal
	running  []running
}

// running is a command in another terminal.
type running struct {
	line string
	*doctest.Process
}

func newReader(t *testing.T, page, clone string) *reader {
	t.Helper()
	bin := filepath.Join(filepath.Dir(clone), "bin")
	r := &reader{T: t, page: page, clone: clone, address: make(map[string]string)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ROPEWALK_") && !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "DOCS_TEST") {
			r.env = append(r.env, v)
		}
	}
	r.env = append(r.env, "PATH="+bin+":"+os.Getenv("PATH"), "GOBIN="+bin, "NO_COLOR=1",
		"ROPEWALK_URL=ws://"+r.own(mainAddress), "ROPEWALK_LISTENERS_MAIN_ADDRESS="+r.own(mainAddress))
	build := exec.CommandContext(t.Context(), "go", "install", "./cmd/ropewalk")
	build.Dir, build.Env = clone, r.env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	term, err := doctest.NewTerminal(clone, r.env)
	if err != nil {
		t.Fatal(err)
	}
	r.terminal = term
	t.Cleanup(func() {
		term.Close()
		for i := range slices.Backward(r.running) { // clients before their node
			r.end(i)
		}
		tidy(clone)
	})
	return r
}

// tidy removes what a page wrote beside the clone.
func tidy(clone string) {
	entries, _ := os.ReadDir(filepath.Dir(clone))
	for _, e := range entries {
		if e.Name() != filepath.Base(clone) && e.Name() != "bin" {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(clone), e.Name()))
		}
	}
}

// freeAddress returns one whose port is not among those that the system gives
// to others.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// usual are the addresses that pages use; each page gets some of its own.
var usual = regexp.MustCompile(`127\.0\.0\.1:(?:74\d\d|4222)`)

// own returns text with this page's addresses in it.
func (r *reader) own(text string) string {
	return usual.ReplaceAllStringFunc(text, func(shown string) string {
		if r.address[shown] == "" {
			r.address[shown] = freeAddress(r.T)
		}
		return r.address[shown]
	})
}

// line returns a command as it is run here: what it takes when it is told
// nothing may be in use by another program.
func (r *reader) line(command string) string {
	has := func(part string) bool { return strings.Contains(command, part) }
	if has("ropewalk dev") && !has("--cluster") {
		command += " --cluster " + clusterAddress
	}
	if has("ropewalk serve") && has("--join") && !has("--listen") && !has("--cluster") {
		command += " --listen 127.0.0.1:0"
	}
	return r.own(command)
}

func (r *reader) follow(blocks []doctest.Block) {
	r.Helper()
	for i := range blocks {
		b := &blocks[i]
		switch b.Kind {
		case doctest.Session:
			for _, c := range b.Commands {
				r.command(b, c)
			}
		case doctest.Background:
			r.start(b)
		case doctest.Stop, doctest.Kill:
			r.stop(b)
		case doctest.File:
			write(r.T, filepath.Join(filepath.Dir(r.clone), b.Name), []byte(r.own(b.Text)))
		case doctest.Check:
			r.check(b)
		}
	}
}

func (r *reader) command(b *doctest.Block, c doctest.Command) {
	r.Helper()
	began := time.Now()
	out, code, err := r.terminal.Run(r.line(c.Line))
	r.Logf("%v $ %s", time.Since(began).Round(time.Millisecond), c.Line)
	if err != nil {
		r.Fatalf("%s:%d: %s: %v\n%s", r.page, b.Line, c.Line, err, out)
	}
	if code != 0 && !strings.Contains(c.Output, "error") {
		r.Fatalf("%s:%d: %s: exit code %d\n%s", r.page, b.Line, c.Line, code, out)
	}
	if !doctest.Same(r.own(c.Output), out, b.Unordered) {
		r.Fatalf("%s:%d: %s prints\n%s\nbut the page shows\n%s", r.page, b.Line, c.Line, out, c.Output)
	}
}

func (r *reader) start(b *doctest.Block) {
	r.Helper()
	var script []string
	for _, c := range b.Commands {
		script = append(script, r.line(c.Line))
	}
	last := b.Commands[len(b.Commands)-1]
	p, err := doctest.Start(r.clone, r.env, strings.Join(script, "\n"))
	if err != nil {
		r.Fatal(err)
	}
	r.running = append(r.running, running{last.Line, p})
	began := time.Now()
	out, err := p.Wait(patience, func(out string) bool { return r.isUp(last, out) })
	r.Logf("%v $ %s &", time.Since(began).Round(time.Millisecond), last.Line)
	if err != nil {
		r.Fatalf("%s:%d: %s: %v; it printed\n%s\nbut the page shows\n%s", r.page, b.Line, last.Line, err, out, last.Output)
	}
}

// isUp reports whether a command has printed what the page shows; if it shows
// nothing, whether it has printed the line by which one knows.
func (r *reader) isUp(c doctest.Command, out string) bool {
	switch {
	case c.Output != "":
		return doctest.Begins(r.own(c.Output), out)
	case strings.Contains(c.Line, "ropewalk dev"):
		return strings.Contains(out, "Stop with Ctrl-C")
	case strings.Contains(c.Line, "ropewalk serve"):
		return strings.Contains(out, "ready ")
	case strings.Contains(c.Line, "ropewalk hello"):
		return strings.Contains(out, "connected to ")
	}
	return true
}

func (r *reader) stop(b *doctest.Block) {
	r.Helper()
	i := slices.IndexFunc(r.running, func(p running) bool { return strings.HasPrefix(p.line, b.Text) })
	if i < 0 {
		r.Fatalf("%s:%d: %s does not run", r.page, b.Line, b.Text)
	}
	if b.Kind == doctest.Kill {
		r.running[i].Kill()
	}
	r.end(i)
}

func (r *reader) end(i int) {
	began := time.Now()
	r.running[i].Stop()
	r.Logf("%v to end %s", time.Since(began).Round(time.Millisecond), r.running[i].line)
	r.running = slices.Delete(r.running, i, i+1)
}

// check has the TypeScript compiler of the SDK look at a program.
func (r *reader) check(b *doctest.Block) {
	r.Helper()
	sdk, err := filepath.Abs(filepath.Join(root, "sdk", "ts"))
	if err != nil {
		r.Fatal(err)
	}
	dir := filepath.Join(filepath.Dir(r.clone), "check")
	write(r.T, filepath.Join(dir, "page."+b.Lang), []byte(b.Text))
	write(r.T, filepath.Join(dir, "tsconfig.json"), fmt.Appendf(nil, `{
	"compilerOptions": {
		"target": "es2022", "module": "esnext", "moduleResolution": "bundler", "lib": ["es2023", "dom", "dom.iterable"],
		"strict": true, "noEmit": true, "jsx": "react-jsx", "skipLibCheck": true, "types": ["react"],
		"typeRoots": ["%[1]s/node_modules/@types"],
		"paths": {
			"@ropewalk/client": ["%[1]s/dist/index.d.ts"], "@ropewalk/client/react": ["%[1]s/dist/react.d.ts"],
			"react": ["%[1]s/node_modules/@types/react"], "react/jsx-runtime": ["%[1]s/node_modules/@types/react/jsx-runtime"],
			"react-dom/client": ["%[1]s/node_modules/@types/react-dom/client"]
		}
	},
	"files": ["page.%[2]s"]
}`, sdk, b.Lang))
	tsc := exec.CommandContext(r.Context(), filepath.Join(sdk, "node_modules", ".bin", "tsc"), "-p", dir)
	if out, err := tsc.CombinedOutput(); err != nil {
		r.Fatalf("%s:%d: %v\n%s", r.page, b.Line, err, out)
	}
}
