package script

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/message"
)

// program is a script that can be run, or what is wrong with it, made of some
// files. It never changes.
type program struct {
	code     string
	ready    *engine.Code // the code as it is run; copies of a program share it
	classic  bool
	who      bool   // it may look at who wants it
	schedule string // the text of its export "schedule"
	places   *sourceMap
	sources  []source // at least the script itself
	err      *message.Error
}

const (
	// head stands in one line before the code of a module. What it hands its
	// exports to is called main.
	head = "(async (" + mainName + ") => { \"use strict\";\n"
	tail = "\n})"

	mainName = "__ropewalk_main"
	// entry is how the first file is imported.
	entry = "entry"
	space = "script"
	// start hands on what can be run, and nothing else: what no export needs is then
	// left out, and not made anew in each run.
	start = `import * as all from "` + entry + `"; ` + mainName + `({ ` +
		engine.ExportTopic + `: all.` + engine.ExportTopic + `, ` + engine.ExportCall + `: all.` + engine.ExportCall + `, ` +
		engine.ExportPublish + `: all.` + engine.ExportPublish + `, ` + engine.ExportTick + `: all.` + engine.ExportTick + `, ` +
		engine.ExportEvent + `: all.` + engine.ExportEvent + ` })`

	// maxFiles is how many files a script may be made of.
	maxFiles = 500
)

var (
	// commentOrText finds comments, and texts, in which what looks like a comment is
	// none: "prices:/**".
	commentOrText = regexp.MustCompile("(?s)/\\*.*?\\*/|//[^\n]*|\"(?:[^\"\\\\\n]|\\\\.)*\"|'(?:[^'\\\\\n]|\\\\.)*'|`(?:[^`\\\\]|\\\\.)*`")
	// moduleWord finds what makes a file a module.
	moduleWord = regexp.MustCompile(`(?m)(?:^|[;}])[ \t]*(export[\s{*]|import[\s{*"'])`)
	// whoWord finds mention of who wants the content; nothing else gives it.
	whoWord = regexp.MustCompile(`\b(session|username)\b`)
	// scheduleLine finds the schedule without running the script.
	scheduleLine = regexp.MustCompile("(?m)(?:^|[;}])[ \t]*export\\s+const\\s+schedule\\s*(?::\\s*string\\s*)?=\\s*" +
		"(?:\"([^\"\\n]*)\"|'([^'\\n]*)'|`([^`\\n$]*)`)")
)

// uncommented returns a text without its block comments.
func uncommented(text string) string {
	return commentOrText.ReplaceAllStringFunc(text, func(s string) string {
		if strings.HasPrefix(s, "/*") {
			return ""
		}
		return s
	})
}

// build is one making of a program. The bundler reads several files at a time.
type build struct {
	tree  *tree
	limit int

	mu      sync.Mutex
	sources []source
	fault   error // a file that cannot be read
}

// compile makes the program of a script. It reads files.
func compile(t *tree, p string, limit int) *program {
	b := &build{tree: t, limit: limit}
	text, src, err := t.read(p, limit)
	b.sources = []source{src}
	prog := &program{}
	switch {
	case err != nil:
		prog.err = message.AsError(err)
	case src.stamp == stamp{}:
		prog.err = notFound(p)
	case moduleWord.MatchString(uncommented(text)):
		b.module(prog, p, text)
	default:
		b.classic(prog, p, text)
	}
	prog.who = whoWord.MatchString(prog.code)
	prog.ready = engine.NewCode(prog.code, prog.classic)
	prog.sources = b.sources
	return prog
}

func notFound(p string) *message.Error {
	e := message.NewError(message.CodeNotFound, "there is no script "+p, "Look at the path; scripts end with .js or .ts.")
	e.Path = p
	return e
}

// classic makes a program whose last value is the result. It stays as it is, but
// for TypeScript.
func (b *build) classic(prog *program, p, text string) {
	prog.classic = true
	out := api.Transform(text, api.TransformOptions{
		Loader: loader(p), LogLevel: api.LogLevelSilent, Target: api.ES2023, Sourcefile: p, Sourcemap: api.SourceMapExternal,
		SourcesContent: api.SourcesContentExclude, Charset: api.CharsetUTF8, TsconfigRaw: "{}",
	})
	if len(out.Errors) > 0 {
		prog.err = badScript(p, out.Errors)
		return
	}
	if loader(p) == api.LoaderJS {
		prog.code, prog.places = text, plainMap(p)
		return
	}
	prog.code, prog.places = string(out.Code), readSourceMap(out.Map, 0)
}

// module makes a program of a file and all that it imports.
func (b *build) module(prog *program, p, text string) {
	if m := scheduleLine.FindStringSubmatch(text); m != nil {
		prog.schedule = m[1] + m[2] + m[3]
	}
	out := api.Build(api.BuildOptions{
		Stdin: &api.StdinOptions{
			Contents: start, Sourcefile: "start", Loader: api.LoaderJS,
		},
		Bundle: true, Write: false, Outfile: "/script.js", AbsWorkingDir: "/",
		Format: api.FormatESModule, Platform: api.PlatformNeutral, Target: api.ES2023, Charset: api.CharsetUTF8,
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude, LegalComments: api.LegalCommentsNone,
		TsconfigRaw: "{}", LogLevel: api.LogLevelSilent, LogLimit: 10, Define: map[string]string{"import.meta": "{}"},
		Plugins: []api.Plugin{{Name: space, Setup: func(pb api.PluginBuild) {
			pb.OnResolve(api.OnResolveOptions{Filter: ".*"}, func(a api.OnResolveArgs) (api.OnResolveResult, error) { return b.find(p, a) })
			pb.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: space}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				if a.Path == p {
					return api.OnLoadResult{Contents: &text, Loader: loader(p)}, nil
				}
				return b.load(a.Path)
			})
		}}},
	})
	switch {
	case b.fault != nil:
		prog.err = message.AsError(b.fault)
		return
	case len(out.Errors) > 0:
		prog.err = badScript(p, out.Errors)
		return
	}
	for _, f := range out.OutputFiles {
		if strings.HasSuffix(f.Path, ".map") {
			prog.places = readSourceMap(f.Contents, strings.Count(head, "\n"))
		} else {
			prog.code = head + string(f.Contents) + tail
		}
	}
}

// find says which file an import means.
func (b *build) find(start string, a api.OnResolveArgs) (api.OnResolveResult, error) {
	if a.Namespace != space {
		if a.Path == entry {
			return api.OnResolveResult{Path: start, Namespace: space}, nil
		}
		return api.OnResolveResult{}, errors.New("nothing else can be imported")
	}
	p, why := b.tree.resolve(a.Importer, a.Path)
	if why != "" {
		return api.OnResolveResult{}, fmt.Errorf("%s: %s", a.Path, why)
	}
	for _, c := range candidates(p) {
		s := b.tree.stat(c)
		if (s != stamp{}) {
			return api.OnResolveResult{Path: c, Namespace: space}, nil
		}
		b.note(source{path: c}) // when it comes, the script is made again
	}
	return api.OnResolveResult{}, fmt.Errorf("there is no file %s", p)
}

// load reads an imported file.
func (b *build) load(p string) (api.OnLoadResult, error) {
	text, src, err := b.tree.read(p, b.limit)
	n := b.note(src)
	if err != nil {
		b.mu.Lock()
		b.fault = err
		b.mu.Unlock()
		return api.OnLoadResult{}, err
	}
	if n > maxFiles {
		return api.OnLoadResult{}, fmt.Errorf("the script is made of more than %d files", maxFiles)
	}
	return api.OnLoadResult{Contents: &text, Loader: loader(p)}, nil
}

func loader(p string) api.Loader {
	switch path.Ext(p) {
	case ".ts", ".mts":
		return api.LoaderTS
	case ".json":
		return api.LoaderJSON
	}
	return api.LoaderJS
}

// badScript returns the error of a script that cannot be read.
func badScript(p string, list []api.Message) *message.Error {
	first := list[0]
	at := place{File: p}
	if l := first.Location; l != nil {
		at = place{File: strings.TrimPrefix(l.File, space+":"), Line: l.Line, Column: l.Column + 1}
	}
	return broken(p, at, first.Text)
}

// broken returns the error of a script that cannot be read, with the place.
func broken(p string, at place, text string) *message.Error {
	e := message.NewError(message.CodeBadContent, fmt.Sprintf("%s: %s", at, clip(text)), "Correct the script.")
	e.Path = p
	e.Details = details{place: at}.json()
	return e
}

// fail makes the error that users see of what an engine said.
func (prog *program) fail(p string, err error) error {
	f, ok := errors.AsType[*engine.Failure](err)
	if !ok {
		return err
	}
	stack := prog.places.stack(f.Stack)
	d := details{Stack: stack, Name: f.Name, Limit: f.Limit, Code: f.Code, Details: f.Details}
	at := ""
	if len(stack) > 0 {
		d.place = stack[0].place
		at = d.place.String() + ": "
	}
	var e *message.Error
	switch {
	case f.Kind == engine.Syntax:
		return broken(p, d.place, f.Message)
	case f.Kind == engine.Missing:
		e = message.NewError(message.CodeUnimplemented, f.Message, "Export a function of that name from the script.")
	case f.Kind == engine.Limit:
		e = message.NewError(message.CodeLimitExceeded, f.Message, "Have the script do less, or allow it more in the configuration.")
	case f.Name == "ScriptError" && ownCodes[message.Code(f.Code)]:
		e = message.NewError(message.Code(f.Code), f.Message, f.Hint)
		e.Path, e.Details = p, f.Details
		return e
	case f.Name == "HostError" && message.Code(f.Code) == message.CodeSourceDown:
		e = message.NewError(message.CodeSourceDown, f.Message, f.Hint)
	default:
		text := f.Message
		if f.Name != "" && f.Name != "Error" && f.Name != "HostError" && f.Name != "ScriptError" {
			text = f.Name + ": " + text
		}
		e = message.NewError(message.CodeScriptFailed, at+text, f.Hint)
	}
	e.Path = p
	e.Details = d.json()
	return e
}

// ownCodes are the codes that a script may choose for its errors.
var ownCodes = map[message.Code]bool{
	message.CodeInvalidInput: true, message.CodeNotFound: true, message.CodeConflict: true, message.CodeForbidden: true,
	message.CodeUnauthenticated: true, message.CodeSourceDown: true, message.CodeUnimplemented: true,
}

// note keeps a file that the program depends on, and returns how many there are.
func (b *build) note(s source) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.sources {
		if b.sources[i].path == s.path {
			if (s.stamp != stamp{}) {
				b.sources[i] = s
			}
			return len(b.sources)
		}
	}
	b.sources = append(b.sources, s)
	return len(b.sources)
}
