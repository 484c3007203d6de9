// Package arch_test keeps the plan of the house: who may know whom.
package arch_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ropewalk/ropewalk"

// floors lists the packages from the ground up. A package may import those of
// lower floors only; internal/ helpers know nobody and may be used by all.
var floors = [][]string{
	{"message", "sdk/ts", "content/script/types"},
	{"session"},
	{"session/token", "session/keeper"},
	{"session/keeper/keepertest", "session/natskv"},
	{"route", "schema", "topic/delta"},
	{"call", "service", "middleware", "audit", "policy"},
	{"login", "login/drivers"},
	{"content"},
	{"content/file", "content/web", "content/query/sqldb", "content/query/sqlfile", "content/script/engine"},
	{"content/query", "content/script", "content/git", "content/query/sqlite", "content/query/postgres", "content/query/mysql"},
	{"content/contenttest", "content/query/drivers"},
	{"otlp"},
	{"edge", "dialect/native", "exchange", "mesh"},
	{"nodeapi", "topic", "topic/natslog", "client", "mesh/natsplane", "mesh/line"},
	{"."},
	{"config", "console", "ropewalktest", "content/standard"},
	{"examples/hello/hello", "examples/internal/page"},
	{"examples/hello", "examples/login", "examples/departures", "cmd/ropewalk"},
}

// strangers must not meet although their floors would allow it.
var strangers = map[string][]string{
	"dialect/native": {"exchange", "edge", "route"},
	"edge":           {"route", "call", "service", "middleware", "exchange"},
	"client":         {"edge", "exchange", "nodeapi", "topic"},
	"exchange":       {"edge", "dialect/native", "mesh"},
	"mesh":           {"edge", "dialect/native", "exchange", "call", "service", "middleware"},
	"mesh/natsplane": {"route", "exchange"},
	"mesh/line":      {"route", "exchange"},
	"topic":          {"content", "edge", "dialect/native", "mesh", "nodeapi"},
	".":              {"mesh/natsplane", "login/drivers"}, // who needs no mesh does not link a NATS server, nor databases
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// room returns the path of a package below the module, "." for the root.
func room(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func floorOf(name string) int {
	return slices.IndexFunc(floors, func(f []string) bool { return slices.Contains(f, name) })
}

func isHelper(name string) bool { return strings.HasPrefix(name, "internal/") }

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		from, _ := room(p.ImportPath)
		at := floorOf(from)
		if at < 0 && !isHelper(from) && !strings.HasPrefix(from, "cmd/ropewalk/") {
			t.Errorf("package %s has no floor; give it one in this test", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := room(imported)
			if !ours || isHelper(to) || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, "cmd/ropewalk") {
				continue
			}
			switch {
			case isHelper(from):
				t.Errorf("%s is a helper and must not know %s", from, to)
			case floorOf(to) > at:
				t.Errorf("%s imports %s, which is on a higher floor", from, to)
			case slices.Contains(strangers[from], to):
				t.Errorf("%s must not know %s", from, to)
			}
		}
	}
}
