package doc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc/gen"
)

const source = `package x

// Config is all of it.
type Config struct {
	// Name is what people call it. It is one word. Default: the host's name.
	Name string ` + "`json:\"name\"`" + `
	// Listeners are the addresses, by name.
	Listeners map[string]Listener ` + "`json:\"listeners,omitempty\"`" + `
	// Stages replaces the stages. Default: 30s. After it, more.
	Stages []*Stage ` + "`json:\"stages\"`" + `
	// Hidden is not for files.
	Hidden func() ` + "`json:\"-\"`" + `
	// Wait and CertFile belong together; see MaxTimeout.
	Wait Duration ` + "`json:\"wait\"`" + `
	inner int
}

type Listener struct {
	// CertFile is a | file.
	CertFile string ` + "`json:\"certFile\"`" + `
	// Origins are names.
	Origins []string ` + "`json:\"origins\"`" + `
}

type Stage struct {
	// Settings depend on it.
	Settings map[string]any ` + "`json:\"settings\"`" + `
	// Routes by name.
	Routes map[string]string ` + "`json:\"routes\"`" + `
	// Share of it.
	Share *float64 ` + "`json:\"share\"`" + `
	// N is a number.
	N uint8 ` + "`json:\"n\"`" + `
	// On is a switch.
	On bool ` + "`json:\"on\"`" + `
}
`

func fields(t *testing.T, source string) ([]doc.Field, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return gen.Fields(path, "Config")
}

func TestText(t *testing.T) {
	t.Parallel()
	list, err := fields(t, source)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := doc.Text(&b, list, 40); err != nil {
		t.Fatal(err)
	}
	const want = `name  (text; default: the host's name)
    What people call it. It is one word.
    ROPEWALK_NAME

listeners  (objects by name)
    The addresses, by name.
    ROPEWALK_LISTENERS

listeners.<name>.certFile  (text)
    A | file.
    ROPEWALK_LISTENERS_<NAME>_CERT_FILE

listeners.<name>.origins  (list of texts)
    Names.
    ROPEWALK_LISTENERS_<NAME>_ORIGINS

stages  (list of objects; default: 30s)
    Replaces the stages. After it, more.
    ROPEWALK_STAGES

stages[].settings  (object)
    Depend on it.

stages[].routes  (texts by name)
    routes by name.

stages[].share  (number)
    share of it.

stages[].n  (whole number)
    A number.

stages[].on  (true or false)
    A switch.

wait  (time)
    wait and certFile belong together;
    see MaxTimeout.
    ROPEWALK_WAIT
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	list, err := fields(t, source)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := doc.Markdown(&b, list); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\n## The file\n", "\n## `listeners.<name>`\n", "\n## `stages[]`\n",
		"| `certFile` | text |  | A \\| file. |\n",
		"| `name` | text | the host's name | What people call it. It is one word. |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	list, err := fields(t, source)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"name":                    "name",
		"listeners.main":          "listeners.<name>.certFile listeners.<name>.origins",
		"listeners.main.certFile": "listeners.<name>.certFile",
		"stages[2].n":             "stages[].n",
		"wait":                    "wait",
		"wait.more":               "",
		"nothing":                 "",
	} {
		var got []string
		for _, f := range doc.Find(list, path) {
			got = append(got, f.Path)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
	}
	if got := doc.Nearest(list, "limits.certfile"); got != "listeners.<name>.certFile" {
		t.Errorf("nearest: %q", got)
	}
	if got := doc.Nearest(list, "x"); got != "" {
		t.Errorf("nearest: %q", got)
	}
}

func TestBadSources(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"no Go":     "nothing",
		"no struct": "package x\ntype Other struct{}\n",
		"no text":   "package x\ntype Config struct {\n\tName string `json:\"name\"`\n}\n",
	} {
		if _, err := fields(t, source); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
