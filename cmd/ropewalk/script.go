package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/script/types"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

// scriptCmd is about scripts as contents.
type scriptCmd struct {
	Run   scriptRunCmd   `cmd:"" help:"Run a script once, without a node."`
	Types scriptTypesCmd `cmd:"" help:"Print the TypeScript declarations of what scripts may use."`
}

// scriptRunCmd runs a script in this process.
type scriptRunCmd struct {
	File   string `arg:"" type:"existingfile" help:"The script, such as content/shop/sales.ts."`
	Export string `default:"default" enum:"default,call,publish,tick,event" placeholder:"NAME" help:"What is run: default (what watchers see), call, publish, tick, event. Default: ${default}."`
	Body   string `placeholder:"JSON" help:"What call, publish or event is given."`
	filter
	CPU  time.Duration `name:"cpu" placeholder:"TIME" help:"How long it may compute. Default: 1s."`
	Wall time.Duration `placeholder:"TIME" help:"How long it may take in all. Default: 5s."`
}

// Help is printed below the flags.
func (*scriptRunCmd) Help() string {
	return `Runs the script as a node would, in the same sandbox and within the same limits, and prints its result; what it logs goes to standard
error. Its directory is the one that it may import from. There is no database, and nobody to call: what needs these is tried at a node,
with "ropewalk get script:/shop/sales.ts".

Examples:

  ropewalk script run content/shop/sales.ts -p month=3
  ropewalk script run content/shop/price.ts --export call --body '{"item":"rope"}'`
}

// Run runs it.
func (c *scriptRunCmd) Run(ctx context.Context, w *world) error {
	once := script.Once{Export: c.Export, Log: func(level, text string) { w.warnf("%s: %s", level, text) }}
	params, err := c.read()
	switch {
	case err != nil:
		return err
	case c.Body != "" && c.Export != "call" && c.Export != "publish" && c.Export != "event":
		return usage("--body is for --export call, publish and event", "The export default is given params: -p item=rope.")
	case params != nil && c.Body != "":
		return usage("--body and --param are given both", "The export default has params, call and publish have a body.")
	case c.Body != "" && !message.ValidJSON([]byte(c.Body)):
		return usage("--body is no JSON", "Put it into single quotes, as in --body '{\"item\":\"rope\"}'.")
	case c.Body != "":
		once.Input = json.RawMessage(c.Body)
	case params != nil:
		if once.Input, err = json.Marshal(params); err != nil {
			return err
		}
	}
	set := script.Settings{Root: filepath.Dir(c.File)}
	set.Limits.CPU, set.Limits.Wall = duration.Duration(c.CPU), duration.Duration(c.Wall)
	ran, err := script.RunOnce(ctx, set, script.Host{}, filepath.Base(c.File), once, slog.New(slog.DiscardHandler))
	if err != nil {
		return aloneHint(err)
	}
	if w.json {
		return unwritable(w.line(struct {
			Result json.RawMessage `json:"result"`
			Took   float64         `json:"took"` // seconds
			Files  []string        `json:"files"`
		}{ran.Result, ran.Took.Seconds(), ran.Files}))
	}
	return unwritable(w.printf("%s\n", ran.Result))
}

// aloneHint says what a script has not without a node.
func aloneHint(err error) error {
	if message.CodeOf(err) != message.CodeScriptFailed {
		return err
	}
	e := *message.AsError(err)
	e.Hint = `Correct the script; if it needs db, call, publish, content or fetch, try it at a node with "ropewalk get script:/…".`
	return &e
}

// scriptTypesCmd prints declarations.
type scriptTypesCmd struct{}

// Help is printed below the flags.
func (*scriptTypesCmd) Help() string {
	return `Beside your scripts they make an editor know db, call, publish, content, fetch, log and session:

  ropewalk script types > content/ropewalk.d.ts`
}

// Run prints them.
func (*scriptTypesCmd) Run(w *world) error {
	_, err := w.out.Write([]byte(types.Declarations))
	return unwritable(err)
}
