package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/call"
)

// contentPublishCmd writes several files in one commit.
type contentPublishCmd struct {
	gitTarget
	Address   string   `arg:"" help:"The directory to write to, such as file:/shop/."`
	Files     []string `arg:"" optional:"" name:"file" help:"Files and directories here; they keep their names, directories what is in them."`
	Delete    []string `placeholder:"PATH" sep:"none" help:"Delete this file in the directory; may be given more than once."`
	Message   string   `short:"m" placeholder:"TEXT" help:"What the commit says."`
	Workspace string   `short:"w" placeholder:"NAME" help:"Only as drafts in this workspace."`
}

// Help is printed below the flags.
func (*contentPublishCmd) Help() string {
	return `All of the files are written or none. Names that begin with a dot are left out. To write code, such as .sql and .ts, needs the
right "code" besides "publish".

Examples:

  ropewalk content publish file:/shop/ prices.json images -m "Spring"
  ropewalk content publish file:/shop/ new.json --delete old.json --workspace drafts
  ropewalk content publish file:/shop/ open.sql sales.ts -m "What is open"`
}

// sent is a file of a publish.
type sent struct {
	Path   string  `json:"path"`
	Base64 *[]byte `json:"base64,omitempty"`
	Delete bool    `json:"delete,omitempty"`
}

// Run publishes.
func (c *contentPublishCmd) Run(ctx context.Context, w *world) error {
	if err := checkAddress(c.Address); err != nil {
		return err
	}
	list, err := readFiles(c.Files)
	if err != nil {
		return err
	}
	for _, path := range c.Delete {
		list = append(list, sent{Path: path, Delete: true})
	}
	if len(list) == 0 {
		return usage("there is nothing to publish", "Name files after the address, or some to delete with --delete.")
	}
	address := strings.TrimRight(c.Address, "/") + "/"
	if c.Workspace != "" {
		address += "?workspace=" + url.QueryEscape(c.Workspace)
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	in := struct {
		Message string `json:"message,omitempty"`
		Files   []sent `json:"files"`
	}{c.Message, list}
	a, err := conn.Publish(ctx, address, in, append(c.options(), call.WithTimeout(c.Timeout))...)
	if err != nil {
		return err
	}
	return printResult(w, a, "published "+files(len(list)))
}

// readFiles reads files, and all files in directories.
func readFiles(names []string) ([]sent, error) {
	var list []sent
	total := int64(0)
	for _, name := range names {
		base := filepath.Dir(filepath.Clean(name))
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case path != name && strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if total += info.Size(); total > maxInput {
				return fmt.Errorf("%s: together the files have more than %d MiB", path, maxInput>>20)
			}
			b, err := os.ReadFile(path) //nolint:gosec // files of whoever runs this, read with their own rights
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(base, path)
			if err != nil {
				return err
			}
			list = append(list, sent{Path: filepath.ToSlash(rel), Base64: &b})
			return nil
		})
		if err != nil {
			return nil, usage("the files cannot be read: "+err.Error(), "Name files and directories that are there.")
		}
	}
	slices.SortFunc(list, func(a, b sent) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}
