package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

const cliPage = "../../docs/reference/cli.md"

const cliIntro = "# The program\n" + `
    ropewalk dev

One program is the node and the tool to look at nodes and to talk to them. This page has the help of every verb, as
"ropewalk VERB --help" prints it.

## For scripts

| exit code | means |
| --- | --- |
| 0 | done |
| 1 | the call was answered with an error, or something else failed, such as listening |
| 2 | the command line, the configuration or the body is wrong: nothing was done |
| 3 | there is no connection to the node: none could be made, or it was lost |
| 4 | there was no answer in time |
| 130 | a Ctrl-C or SIGTERM ended it; for dev, serve and hello that is 0, after calls in flight were finished; for bench 0, too |

Results go to standard output. Errors, progress and the log go to standard error. An error is a line with what happened
and its [code](errors.md), and a line with what to do about it:

    $ ropewalk call math:/decimal/mull
    error: nobody serves math:/decimal/mull (no_service)
      Did you mean math:/decimal/mul? ` + "`ropewalk services`" + ` lists what is served.

With --json the result is JSON, a line for each where there are several, and an error is a line
` + "`" + `{"type":"error","error":{"code":…,"message":…,"hint":…}}` + "`" + ` on standard error.

` + "`ropewalk serve`" + ` prints exactly one line on standard output, when it accepts connections: ` + "`ready NAME http://HOST:PORT`" + `,
and behind that ` + "`cluster HOST:PORT`" + ` if other nodes can join it there. It may not have met other nodes yet.
On SIGTERM or SIGINT it accepts nothing new, lets calls in flight finish (at most the time of
` + "`shutdown`" + ` in the [configuration](config.md)) and exits with 0. A second signal ends it at once, with 1.

` + "`ropewalk call`" + ` prints one line for each part and for the reply, whether or not --json is given:

` + "```json" + `
{"type":"part","body":…}
{"type":"reply","body":…}
{"type":"error","error":{"code":…,"message":…,"hint":…}}
` + "```" + `

A body that is not JSON is base64, with its content type beside it as contentType; no body is no field. The last line is
a reply or an error.

| variable | does |
| --- | --- |
| ` + "`ROPEWALK_URL`" + ` | the node to talk to, if there is no --url; several are separated by commas |
| ` + "`ROPEWALK_TOKEN`" + ` | who you are for the node, if there is no --token |
| ` + "`ROPEWALK_AUTHORIZATION`" + ` | what is sent with each call, if there is no --authorization |
| ` + "`ROPEWALK_MESH_SECRET`" + ` | the secret that the nodes of a mesh share, for dev and serve |
| ` + "`NO_COLOR`" + ` | no colours; there are none anyway where the output is not a terminal |
| any other ` + "`ROPEWALK_…`" + ` | sets a field of the configuration of a node; see [config.md](config.md) |
`

// TestCLIPage compares the help of all verbs with the reference.
func TestCLIPage(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	page := bytes.NewBufferString(cliIntro)
	for _, words := range verbPaths(t) {
		o := try(t, nil, "", append(words, "--help")...)
		wantCode(t, o, exitOK)
		name := strings.Join(append([]string{"ropewalk"}, words...), " ")
		fmt.Fprintf(page, "\n## %s\n\n```\n%s```\n", name, o.out)
		for l := range strings.Lines(o.out) {
			if len([]rune(strings.TrimRight(l, "\n"))) > maxWidth+30 {
				t.Errorf("%s --help has a long line: %s", name, l)
			}
		}
	}
	if *update {
		if err := os.WriteFile(cliPage, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(cliPage); err != nil || !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s is stale (%v): run go generate ./cmd/ropewalk", cliPage, err)
	}
}

// verbPaths lists the program and all verbs, in the order of the grammar.
func verbPaths(t *testing.T) [][]string {
	t.Helper()
	var helped bool
	k, err := newParser(new(grammar), newWorld(nil, nil, nil, nil), &helped)
	if err != nil {
		t.Fatal(err)
	}
	var paths [][]string
	var walk func(n *kong.Node, at []string)
	walk = func(n *kong.Node, at []string) {
		paths = append(paths, at)
		for _, child := range n.Children {
			walk(child, append(slices.Clip(at), child.Name))
		}
	}
	walk(k.Model.Node, nil)
	return paths
}
