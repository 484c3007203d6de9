package main

import (
	"runtime"
	"runtime/debug"

	"github.com/ropewalk/ropewalk"
)

// versionCmd prints the version.
type versionCmd struct{}

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Run prints.
func (*versionCmd) Run(w *world) error {
	v := versionInfo{Version: ropewalk.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = short(s.Value, 13)
			}
		}
	}
	if w.json {
		return w.line(v)
	}
	text := "ropewalk " + v.Version
	if v.Revision != "" {
		text += " (" + v.Revision + ")"
	}
	return w.printf("%s, %s, %s\n", text, v.Go, v.Platform)
}
