package script

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/session"
)

// EnvWorker is the variable of the environment that makes a program that calls
// [WorkerMain] a worker.
const EnvWorker = "ROPEWALK_SCRIPT_WORKER"

// WorkerMain makes this process a worker for scripts if [EnvWorker] says so, and
// then never returns. A program in which scripts run with mode "process" calls it
// at the very beginning of main; a test, of TestMain.
func WorkerMain() {
	if os.Getenv(EnvWorker) == "" {
		return
	}
	if RunWorker(os.Stdin, os.Stdout) != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// RunWorker runs the scripts that another process sends, until in ends. It limits
// what this process may do. It is for programs that cannot call [WorkerMain];
// their command is Settings.Command.
func RunWorker(in io.Reader, out io.Writer) error { return engine.RunWorker(in, out) }

// Once is one run of a script; see [RunOnce].
type Once struct {
	// Export is what is run: "default", "call", "publish", "tick" or "event".
	// Default: "default".
	Export string
	// Input is what it is given: parameters, a body or an event, as JSON. nil: none.
	Input json.RawMessage
	// Session is who has it run. Default: the anonymous session.
	Session *session.Session
	// Log takes the lines that it logs. It is called by one goroutine at a time.
	Log func(level, text string)
}

// Ran is what came out of [RunOnce].
type Ran struct {
	// Result is JSON.
	Result json.RawMessage
	// Took is how long it took, with compiling.
	Took time.Duration
	// Schedule is what the script's export of that name says.
	Schedule string
	// Files are the paths of those that it is made of.
	Files []string
}

// RunOnce runs a script once, as "ropewalk script run" does. If settings name no
// directory, p is a file of the disk and its directory is the one of the scripts;
// else it is the path of a script there. Errors are those that callers would see.
func RunOnce(ctx context.Context, s Settings, h Host, p string, o Once, log *slog.Logger) (*Ran, error) {
	if s.Root == "" && len(s.Applications) == 0 {
		s.Root, p = filepath.Dir(p), filepath.Base(p)
	}
	p = path.Clean("/" + filepath.ToSlash(p))
	s.Workers = 1
	prov, err := New(s, h, log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = prov.Close() }()
	if err := check(&content.Request{Path: p}); err != nil {
		return nil, err
	}
	ord := &order{path: p, export: o.Export, input: o.Input, session: o.Session, sink: o.Log}
	if ord.export == "" {
		ord.export = engine.ExportTopic
	}
	if ord.session == nil {
		ord.session = session.Anonymous()
	}
	if ord.input == nil && ord.export == engine.ExportTopic {
		ord.input = json.RawMessage("{}")
	}
	begun := time.Now()
	prog := prov.programs.get(p)
	d, err := prov.run(ctx, prog, ord)
	if err != nil {
		return nil, err
	}
	ran := &Ran{Result: d.result, Took: time.Since(begun), Schedule: prog.schedule}
	for _, src := range prog.sources {
		ran.Files = append(ran.Files, src.path)
	}
	return ran, nil
}
