package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/content/standard"
)

// demoSetup is the file that makes the table of the live view. A project that
// is made has it; to publish to it runs it.
const demoSetup = "query:/demo_app/Database/setup.sql"

// fillDemo makes the table of a project that was made just now.
func fillDemo(ctx context.Context, n *runningNode, p project) error {
	if n.contents == nil || !slices.Contains(p.written, filepath.Join(filepath.Dir(p.config), contentDir)) {
		return nil
	}
	if _, err := n.Publish(ctx, demoSetup, map[string]any{}); err != nil {
		return fmt.Errorf("make the table of the demo: %w", err)
	}
	return nil
}

// devGrants lets the scripts of a project read and write its databases and read
// its contents where everybody may do that anyway.
func devGrants(cfg *standard.Config) {
	if set := &cfg.Content.Script; len(set.Grants) == 0 && cfg.Permissions.Preset == presetDev {
		set.Grants = []script.Grant{{Paths: []string{"/**"}, Query: []string{"*"}, Exec: []string{"*"}, Get: []string{"*:/**"}}}
	}
}
