package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
)

//go:generate go test -run "TestReference|TestCLIPage" . -update

// referenceJSON is what the doc comments of standard.Config say.
//
//go:embed reference.json
var referenceJSON []byte

// configFlag names the configuration file. No verb reads a file that was not
// named: what a node does, and whose keys and rules are meant, must not depend on
// where somebody happens to stand. Only "ropewalk dev" is about a directory.
type configFlag struct {
	Config string `placeholder:"FILE" help:"Read the configuration from this file. Default: none is read."`
}

// source is where the configuration comes from. It tells whoever may have
// forgotten the flag.
func (f configFlag) source(w *world) config.Source {
	if f.Config == "" {
		if _, err := os.Stat(configName); err == nil {
			w.warnf("%s in this directory is not read; to have it read, say --config %s", configName, configName)
		}
	}
	return w.source(f.Config)
}

// source reads a file, if path is not "", and the environment.
func (w *world) source(path string) config.Source {
	return config.Source{Path: path, Environ: w.env, Ignore: notConfig}
}

// configCmd is about configuration files.
type configCmd struct {
	Show  configShowCmd  `cmd:"" help:"Print every value that a node would have, and where it comes from."`
	Check configCheckCmd `cmd:"" help:"Check a file and print what a node would make of it."`
	Doc   configDocCmd   `cmd:"" help:"Print the reference of all fields."`
}

type configDocCmd struct {
	Path string `arg:"" optional:"" help:"Only this field and those within it, such as limits or listeners.main.address."`
}

// Run prints.
func (c *configDocCmd) Run(w *world) error {
	var fields []doc.Field
	if err := json.Unmarshal(referenceJSON, &fields); err != nil {
		return err
	}
	if c.Path != "" {
		found := doc.Find(fields, c.Path)
		if len(found) == 0 {
			hint := `"ropewalk config doc" prints all fields.`
			if s := doc.Nearest(fields, c.Path); s != "" {
				hint = fmt.Sprintf("Did you mean %s?", s)
			}
			return usage("there is no field "+c.Path, hint)
		}
		fields = found
	}
	if w.json {
		return w.line(fields)
	}
	return unwritable(doc.Text(w.out, fields, w.width()))
}

// width is that of the terminal as far as it says, in characters.
func (w *world) width() int {
	if n, err := strconv.Atoi(w.getenv("COLUMNS")); err == nil && n >= 40 {
		return min(n, maxWidth)
	}
	return maxWidth
}

type configCheckCmd struct {
	File string `arg:"" help:"The file, such as ropewalk.jsonc."`
}

// Help is printed below the flags.
func (*configCheckCmd) Help() string {
	return `Reads the file and the environment as "ropewalk serve --config FILE" does, builds the node without starting it, and
prints each value that was given, and where.`
}

// Run checks.
func (c *configCheckCmd) Run(ctx context.Context, w *world) error {
	var cfg standard.Config
	report, err := w.source(c.File).Read(&cfg)
	if err != nil {
		return err
	}
	list := settings(&cfg, report, nil)
	list = slices.DeleteFunc(list, func(s setting) bool { return s.Origin == byDefault })
	if err := checkName(cfg.Name); err != nil {
		return err
	}
	if err := check(&cfg, report); err != nil {
		return err
	}
	for _, name := range report.Unused {
		w.warnf("the variable %s sets no field of the configuration", name)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	n, err := newNode(ctx, w, cfg, report)
	if err != nil {
		return err
	}
	_ = n.Shutdown(ctx)
	flags := nodeFlags{}
	if err := flags.guard(ctx, &cfg); exitCode(err) == exitUsage && err != nil {
		w.warnf("%s", explained(err).Message)
	}
	if w.json {
		return w.line(map[string]any{"file": c.File, "values": list})
	}
	if err := printSettings(w, list); err != nil {
		return err
	}
	return w.printf("\n%s is fine\n", c.File)
}
