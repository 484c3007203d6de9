package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
)

type settings struct {
	Name      string              `json:"name,omitempty"`
	Listeners map[string]listener `json:"listeners,omitempty"`
	Limits    limits              `json:"limits,omitzero"`
	Stages    []stage             `json:"stages,omitempty"`
	Sample    *float64            `json:"sample,omitempty"`
	Routes    map[string]string   `json:"routes,omitempty"`
	Hidden    int                 `json:"-"`
	inner     int                 //nolint:unused // must not be reached
}

type listener struct {
	Address  string   `json:"address"`
	Origins  []string `json:"origins,omitempty"`
	Compress bool     `json:"compress,omitempty"`
}

type limits struct {
	Frame      int               `json:"frame,omitempty"`
	PerIP      int               `json:"connectionsPerIP,omitempty"`
	Small      uint8             `json:"small,omitempty"`
	Handshake  duration.Duration `json:"handshake,omitzero"`
	Share      float64           `json:"share,omitempty"`
	Frames     int               `json:"frames,omitempty"`
	FrameCount int               `json:"frameCount,omitempty"`
}

type stage struct {
	Kind     string         `json:"kind"`
	Settings map[string]any `json:"settings,omitempty"`
}

const good = `// A node.
{
	"name": "dev", // what people call it
	"listeners": {"main": {"address": "127.0.0.1:7420", "origins": ["*"]}},
	/* bounds */
	"limits": {"frame": 2048, "small": 255, "handshake": "5s", "share": 0.5, "connectionsPerIP": null},
	"stages": [{"kind": "log", "settings": {"slow": "1s", "n": 3,},}],
	"sample": 0.25,
}`

func TestRead(t *testing.T) {
	t.Parallel()
	cfg := settings{Hidden: 7, Limits: limits{PerIP: 9}}
	r, err := config.Source{Path: "ropewalk.jsonc", Text: []byte(good)}.Read(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	sample := 0.25
	want := settings{
		Name:      "dev",
		Listeners: map[string]listener{"main": {Address: "127.0.0.1:7420", Origins: []string{"*"}}},
		Limits:    limits{Frame: 2048, Small: 255, Handshake: duration.Duration(5 * time.Second), Share: 0.5, PerIP: 9},
		Stages:    []stage{{Kind: "log", Settings: map[string]any{"slow": "1s", "n": 3.0}}},
		Sample:    &sample,
		Hidden:    7,
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	for path, origin := range map[string]string{
		"name":                    "ropewalk.jsonc:3:10",
		"listeners.main.address":  "ropewalk.jsonc:4:36",
		"limits.handshake":        "ropewalk.jsonc:6:55",
		"stages[0].settings.deep": "ropewalk.jsonc:7:41",
		"limits.frames":           "",
	} {
		if got := r.Origin(path); got != origin {
			t.Errorf("origin of %s is %q, want %q", path, got, origin)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"empty", ``, "1:1: parsing value: the text ends too early"},
		{"no object", `[]`, "1:1: an object is expected, this is a list (Write it like {…}.)"},
		{"syntax", "{\n\"name\": \"x\"\n\"limits\": {}}", "3:1: invalid character '\"' after object value (expecting ',' or '}')"},
		{"two values", `{} {}`, "1:4: invalid character '{' after top-level value"},
		{"not UTF-8", "{\"name\": \"\xff\"}", "the text is not UTF-8"},
		{"unknown", "{\n  \"limtis\": {}}", `2:3: limtis: there is no such field (Did you mean "limits"?)`},
		{"case", `{"Name": "x"}`, `1:2: Name: there is no such field (Did you mean "name"?)`},
		{"hidden", `{"hidden": 1}`, `1:2: hidden: there is no such field (There is limits, listeners, name, routes, sample, stages.)`},
		{"deep", `{"listeners": {"a": {"addresss": "x"}}}`, `1:22: listeners.a.addresss: there is no such field (Did you mean "address"?)`},
		{"twice", `{"name": "x", "name": "y"}`, `1:15: name: this is given twice (Remove one of the two.)`},
		{"number as text", `{"limits": {"frame": "30"}}`, `1:22: limits.frame: a whole number is expected, this is the text "30" (Write it like 100.)`},
		{"text as number", `{"name": 30}`, `1:10: name: a text is expected, this is the number 30 (Write it like "…".)`},
		{"fraction", `{"limits": {"frame": 1.5}}`, `1:22: limits.frame: a whole number is expected, this is "1.5"`},
		{"too large", `{"limits": {"small": 256}}`, `1:22: limits.small: the number 256 is too large`},
		{"negative", `{"limits": {"small": -1}}`, `1:22: limits.small: a whole number is expected, this is "-1"`},
		{"time as number", `{"limits": {"handshake": 30}}`, `1:26: limits.handshake: a time is expected, this is the number 30 (Write it like "30s" or "1h30m".)`},
		{"bad time", `{"limits": {"handshake": "30"}}`, `1:26: limits.handshake: "30" is not a time; write it like 500ms, 30s or 1h30m`},
		{"bool", `{"listeners": {"a": {"compress": "yes"}}}`, `1:34: listeners.a.compress: true or false is expected, this is the text "yes"`},
		{"list", `{"listeners": {"a": {"origins": "*"}}}`, `1:33: listeners.a.origins: a list is expected, this is the text "*" (Write it like […].)`},
		{"element", `{"stages": [{"kind": true}]}`, `1:22: stages[0].kind: a text is expected, this is true (Write it like "…".)`},
		{"umlauts before", `{"name": "äöü", "x": 1}`, `1:17: x: there is no such field (There is limits, listeners, name, routes, sample, stages.)`},
		{"too deep", strings.Repeat("[", 200), "1:101: more than 100 brackets within each other"},
		{"several", "{\"nam\": 1,\n \"limits\": {\"frame\": true}}", "1:2: nam: there is no such field (Did you mean \"name\"?)\n2:22: limits.frame: a whole number is expected, this is true (Write it like 100.)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Source{Path: "f", Text: []byte(tt.text)}.Read(new(settings))
			var e *config.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *config.Error", err)
			}
			if message.CodeOf(err) != message.CodeInvalidInput {
				t.Errorf("code is %s", message.CodeOf(err))
			}
			var got []string
			for _, p := range e.Problems {
				s := strings.TrimPrefix(strings.TrimPrefix(p.String(), "f:"), " ")
				if p.Hint != "" && !strings.HasPrefix(p.Hint, "JSON with comments") && !strings.HasPrefix(p.Hint, "Save") {
					s += " (" + p.Hint + ")"
				}
				got = append(got, s)
			}
			if g := strings.Join(got, "\n"); g != tt.want {
				t.Errorf("got\n%s\nwant\n%s", g, tt.want)
			}
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := config.Source{Text: []byte(`{"routes": {` + strings.Repeat(`"a": 1,`, 1000) + `}}`)}.Read(new(settings))
	var e *config.Error
	if !errors.As(err, &e) || len(e.Problems) > 20 {
		t.Fatalf("got %v", err)
	}
}

func TestEnviron(t *testing.T) {
	t.Parallel()
	cfg := settings{Listeners: map[string]listener{"my-Main": {Address: "a:1", Compress: true}}}
	r, err := config.Source{
		Text: []byte(`{"name": "file", "routes": {"a:/": "first"}}`), Path: "f",
		Environ: []string{
			"HOME=/x", "ROPEWALK_URL=ws://x", "ROPEWALK_SERVICE_HOST=10.0.0.1", "ROPEWALK_", "ROPEWALK_LISTENERS_=",
			"ROPEWALK_NAME=env",
			"ROPEWALK_LISTENERS_MY_MAIN_ADDRESS=b:2",
			"ROPEWALK_LISTENERS_SIDE_ORIGINS=a, b,",
			"ROPEWALK_LIMITS_FRAMES=4", "ROPEWALK_LIMITS_FRAME=3", "ROPEWALK_LIMITS_FRAME_COUNT=5",
			"ROPEWALK_LIMITS_CONNECTIONS_PER_IP=6",
			"ROPEWALK_LIMITS_HANDSHAKE=7s",
			"ROPEWALK_SAMPLE=0.5",
			`ROPEWALK_STAGES=[{"kind": "log"}] // all`,
			`ROPEWALK_ROUTES={"b:/": "random"}`,
		},
		Ignore: []string{"ROPEWALK_URL"},
	}.Read(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	sample := 0.5
	want := settings{
		Name: "env",
		Listeners: map[string]listener{
			"my-Main": {Address: "b:2", Compress: true},
			"side":    {Origins: []string{"a", "b"}},
		},
		Limits: limits{Frame: 3, Frames: 4, FrameCount: 5, PerIP: 6, Handshake: duration.Duration(7 * time.Second)},
		Stages: []stage{{Kind: "log"}},
		Sample: &sample,
		Routes: map[string]string{"a:/": "first", "b:/": "random"},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	if got := strings.Join(r.Unused, " "); got != "ROPEWALK_LISTENERS_ ROPEWALK_SERVICE_HOST" {
		t.Errorf("unused: %s", got)
	}
	if got := r.Origin("listeners.side.origins"); got != "ROPEWALK_LISTENERS_SIDE_ORIGINS" {
		t.Errorf("origin: %s", got)
	}
	r.Set("name", "--name")
	if r.Origin("name") != "--name" || r.Paths()[0] != "limits.connectionsPerIP" {
		t.Error("Set and Paths", r.Origins)
	}
}

func TestEnvironProblems(t *testing.T) {
	t.Parallel()
	_, err := config.Source{Path: "f", Text: []byte(`{"nam": 1}`), Environ: []string{
		"ROPEWALK_LIMITS_FRAME=many",
		"ROPEWALK_LIMITS_HANDSHAKE=soon",
		"ROPEWALK_LISTENERS_A_COMPRESS=maybe",
		"ROPEWALK_STAGES=[{",
	}}.Read(new(settings))
	want := `f:1:2: nam: there is no such field
ROPEWALK_LIMITS_FRAME: limits.frame: a whole number is expected, this is "many"
ROPEWALK_LIMITS_HANDSHAKE: limits.handshake: "soon" is not a time; write it like 500ms, 30s or 1h30m
ROPEWALK_LISTENERS_A_COMPRESS: listeners.a.compress: true or false is expected, this is "maybe"
ROPEWALK_STAGES: stages: parsing value: the text ends too early`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if got := message.AsError(err).Message; !strings.HasPrefix(got, "the configuration has 5 problems; the first is at f:1:2") {
		t.Error(got)
	}
}

func TestVariable(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"name":                    "ROPEWALK_NAME",
		"limits.connectionsPerIP": "ROPEWALK_LIMITS_CONNECTIONS_PER_IP",
		"listeners.my-main.x":     "ROPEWALK_LISTENERS_MY_MAIN_X",
		"tls.httpURLPath":         "ROPEWALK_TLS_HTTP_URL_PATH",
	} {
		if got := config.Variable(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var cfg settings
	if err := config.Load(write("ok.jsonc", []byte(good)), &cfg); err != nil || cfg.Name != "dev" {
		t.Fatal(err, cfg)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"missing":   {filepath.Join(dir, "none.jsonc"), "there is no such file"},
		"directory": {dir, "this is a directory"},
		"too large": {write("large", make([]byte, config.MaxFile+1)), "a configuration may have 1048576"},
	} {
		if err := config.Load(tt.path, &cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNotAStruct(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = config.Load("", settings{})
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		good, `{}`, `[`, `{"limits": {"frame": 1e999}}`, `{"stages": [{"settings": {"a": [1, {"b": null}]}}, null]}`,
		`{"listeners": null, "sample": null}`, "{\"name\": \"\\ud800\"}", `{"routes": {"": "x", "": "y"}}`,
	} {
		f.Add([]byte(s), "ROPEWALK_LISTENERS_A_B_ADDRESS", s)
	}
	f.Fuzz(func(t *testing.T, text []byte, name, value string) {
		var cfg settings
		r, err := config.Source{Path: "f", Text: text, Environ: []string{name + "=" + value}}.Read(&cfg)
		if r == nil {
			t.Fatal("no report")
		}
		var e *config.Error
		if err != nil && (!errors.As(err, &e) || len(e.Problems) == 0 || message.AsError(err).Message == "") {
			t.Fatalf("not a good error: %v", err)
		}
	})
}
