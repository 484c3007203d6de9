package main

import (
	"os"
	"path/filepath"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/message"
)

// serveContents has a node serve the files, queries and scripts that the
// configuration names, which is read from file, or "".
func (n *runningNode) serveContents(cfg *standard.Config, file string) error {
	if !cfg.Content.On() {
		return nil
	}
	c, err := standard.New(cfg.Content, standard.Env{Logger: n.Logger(), Registry: n.Registry(), Node: n.Node, Config: file})
	if err != nil {
		e := *message.AsError(err)
		e.Path = "content." + e.Path
		return &e
	}
	n.contents = c
	n.closers = append(n.closers, c.Close)
	for _, s := range c.Services() {
		at := s.Name() + ":/**"
		if _, twice := cfg.Topics[at]; twice { // half of the addresses would be the one, half the other
			e := message.NewError(message.CodeConflict, s.Name()+": is served by content already",
				"Declare topics under a name of their own; content needs no entry here.")
			e.Path = "topics." + at
			return e
		}
		if err := n.ServeOwn(s); err != nil {
			return err
		}
	}
	return nil
}

// beginSchedules has scripts run by their schedules, once the node runs.
func (n *runningNode) beginSchedules() {
	if n.contents != nil {
		n.contents.Start()
	}
}

// contentDir is the directory of a project whose contents "ropewalk dev" serves if
// nobody says what is to be served.
const contentDir = "content"

// pagesDir is a directory of a project whose files "ropewalk dev" shows to
// browsers, beside its own page at /.
const pagesDir = "pages"

// contents has the directory served that is there, in which scripts may do what
// everybody may.
func (d *devCmd) contents(cfg *standard.Config, report *config.Report, p project) {
	if p.config == "" { // a directory of this name may be anything
		return
	}
	dir := filepath.Join(filepath.Dir(p.config), contentDir)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || cfg.Content.On() {
		return
	}
	cfg.Content.Root = dir
	devGrants(cfg)
	report.Set("content.root", "the directory "+contentDir)
	pages := filepath.Join(filepath.Dir(dir), pagesDir)
	if info, err := os.Stat(pages); err == nil && info.IsDir() && cfg.Content.Pages == "" {
		cfg.Content.Pages = pages
		report.Set("content.pages", "the directory "+pagesDir)
	}
}
