// Package console is the page that "ropewalk dev" shows in a browser: it calls
// services, gathers, runs a long report, sends messages between tabs and shows
// the nodes and what passes them, all over one WebSocket to the node that served
// it or, when that one is lost, to another of its mesh.
//
// The page is written in TypeScript in web/ and built by "npm run build"; what
// comes out is committed in dist/ and compiled in, so that a Go tool chain is
// all that is needed. It asks no other server for anything.
package console

import (
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"net/http"
	"strings"
)

// placeholder stands in a [Command] for the WebSocket URL of the node.
const placeholder = "{url}"

//go:embed all:dist
var dist embed.FS

// Config is what the page cannot find out by asking the node. The zero value
// is a page that works.
type Config struct {
	// Node is the name of the node, shown until there is a connection. It may
	// be empty.
	Node string `json:"node,omitempty"`
	// Commands start a second service process; the page shows them to be
	// copied. Empty: "ropewalk hello --url {url}".
	Commands []Command `json:"commands,omitempty"`
	// Join is the command that starts another node of the mesh, shown by a node
	// that others can join. The page replaces {cluster} in it by the address at
	// which they do. Empty: "ropewalk serve --join {cluster}".
	Join string `json:"join,omitempty"`
}

// Command is a command line that starts another server.
type Command struct {
	// Label names the command in a word or two, such as "Go" or "TypeScript".
	Label string `json:"label"`
	// Line is the command. The page replaces {url} by the WebSocket URL of the
	// node, because only the browser knows the name by which it got there.
	Line string `json:"line"`
}

// DefaultCommand works wherever the program is installed.
const DefaultCommand = "ropewalk hello --url " + placeholder

// DefaultJoin does, too.
const DefaultJoin = "ropewalk serve --join {cluster}"

// Handler returns a handler that serves the page at / and its files. It never
// blocks, and may be used by many requests at once. It panics if the page was
// not built, which a test of this package would have found.
func Handler(cfg Config) http.Handler {
	if len(cfg.Commands) == 0 {
		cfg.Commands = []Command{{Label: "ropewalk", Line: DefaultCommand}}
	}
	if cfg.Join == "" {
		cfg.Join = DefaultJoin
	}
	files, err := load(dist, cfg)
	if err != nil {
		panic("console: " + err.Error()) //nolint:forbidigo // the program was built wrong; any test of this package finds it
	}
	return files
}

// load reads the built page and puts cfg into it.
func load(built fs.FS, cfg Config) (site, error) {
	root, err := fs.Sub(built, "dist")
	if err != nil {
		return nil, fmt.Errorf("open dist: %w", err)
	}
	out := make(site)
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		path := "/" + name
		if name == index {
			path = "/"
			if data, err = configured(data, cfg); err != nil {
				return err
			}
		}
		out[path], err = newFile(name, data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read dist: %w", err)
	}
	return out, nil
}

// configured puts cfg into the page as the content of a meta element: a script
// would need an exception in the content security policy.
func configured(page []byte, cfg Config) ([]byte, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	const empty = `<meta name="ropewalk" content="" />`
	before, after, ok := strings.Cut(string(page), empty)
	if !ok {
		return nil, fmt.Errorf("%s has no %s", index, empty)
	}
	return []byte(before + `<meta name="ropewalk" content="` + html.EscapeString(string(text)) + `" />` + after), nil
}
