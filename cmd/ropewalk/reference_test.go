package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc/gen"
)

var update = flag.Bool("update", false, "write the generated files in place of comparing them")

const configPage = "../../docs/reference/config.md"

const configIntro = `# Configuration

    ropewalk config check ropewalk.jsonc

A configuration is a file of JSON with comments and trailing commas. A verb reads the one that --config names, and none
without that, also if there is a ropewalk.jsonc in the directory; it says so then. Only "ropewalk dev" is about a
directory, and reads the ropewalk.jsonc in it. All fields are optional; a field that does not exist is an error. Times are texts such as "500ms", "30s" and
"1h30m".

` + "```jsonc" + `
{
	"name": "shop-1", // one word
	"listeners": {"main": {"address": "127.0.0.1:7420"}},
	"limits": {"connections": 1000},
	"services": {"echo": {"kind": "echo"}},
}
` + "```" + `

A variable of the environment replaces what the file says, and a flag what the variable says. The variable is
` + "`ROPEWALK_`" + ` and the path of the field in capitals: ` + "`limits.connectionsPerIP`" + ` is
` + "`ROPEWALK_LIMITS_CONNECTIONS_PER_IP`" + `, ` + "`listeners.main.address`" + ` is ` + "`ROPEWALK_LISTENERS_MAIN_ADDRESS`" + `. In a variable a
list of texts is separated by commas, and whole objects are JSON. "ropewalk config check FILE" prints what was given,
and where. Variables that name no field are pointed out, and otherwise ignored.

In the tables, ` + "`<name>`" + ` is a name that you choose and ` + "`[]`" + ` an element of a list. They are generated from the doc comments
of ropewalk.Config and content/standard, which "ropewalk config doc" prints too.
`

// TestReference compares what is generated from the doc comments of
// standard.Config with what is committed.
func TestReference(t *testing.T) {
	t.Parallel()
	fields, err := gen.Fields("../../content/standard/settings.go", "Config")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(fields, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	page := bytes.NewBufferString(configIntro)
	if err := doc.Markdown(page, fields); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{"reference.json": append(text, '\n'), configPage: page.Bytes()} {
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): run go generate ./cmd/ropewalk", path, err)
		}
	}
}
