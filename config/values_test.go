package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/internal/duration"
)

// shown is a configuration with a field of each form.
type shown struct {
	Name    string             `json:"name"`
	Secret  string             `json:"secret" secret:"true"`
	PIN     int                `json:"pin" secret:"true"`
	Wait    duration.Duration  `json:"wait"`
	Held    duration.Duration  `json:"held" secret:"true"`
	Share   *float64           `json:"share"`
	URLs    []string           `json:"urls"`
	Headers map[string]string  `json:"headers" secret:"true"`
	Parts   []shownPart        `json:"parts"`
	ByName  map[string]partial `json:"byName"`
}

type shownPart struct {
	Kind     string         `json:"kind"`
	Settings map[string]any `json:"settings"`
}

type partial struct {
	N int `json:"n"`
}

const planted = "hunter2-planted"

func TestValues(t *testing.T) {
	t.Parallel()
	var cfg shown
	report, err := config.Source{
		Path: "c.jsonc", Text: []byte(`{
	"name": "n", "urls": ["nats://u:` + planted + `@h:1/x", "plain"], "parts": [{"kind": "secret", "settings": {"secrets": ["` + planted + `"], "n": 1,
	"dsn": "host=h password=` + planted + ` user=u", "deep": {"apiKey": "` + planted + `", "x": null}}}],
	"byName": {"b": {"n": 2}, "a": {"n": 1}}, "secret": "` + planted + `"}`),
		Environ: []string{"ROPEWALK_WAIT=3s", "ROPEWALK_HEADERS={\"a\":\"" + planted + "\"}"},
	}.Read(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, v := range config.Values(&cfg, report) {
		got[v.Path] = fmt.Sprintf("%v|%s", v.Value, v.Origin)
	}
	for path, want := range map[string]string{
		"name": "n|c.jsonc:2:10", "secret": config.Hidden + "|c.jsonc:4:54", "pin": "0|", "wait": "3s|ROPEWALK_WAIT", "held": "0s|", "share": "<nil>|",
		"urls": "[nats://***@h:1/x plain]|c.jsonc:2:23", "headers.a": config.Hidden + "|ROPEWALK_HEADERS",
		"parts[0].settings.secrets": config.Hidden + "|", "parts[0].settings.n": "1|", "parts[0].settings.deep.apiKey": config.Hidden + "|",
		"parts[0].settings.dsn": "host=h password=*** user=u|", "byName.a.n": "1|", "byName.b.n": "2|",
	} {
		if have, ok := got[path]; !ok || have != want && (!strings.HasSuffix(want, "|") || !strings.HasPrefix(have, want)) {
			t.Errorf("%s: %q, want %q", path, have, want)
		}
	}
	if text := fmt.Sprint(got); strings.Contains(text, planted) {
		t.Errorf("a secret is shown: %s", text)
	}
	if n := len(config.Values(shown{}, nil)); n != 10 {
		t.Errorf("an empty configuration has %d values", n)
	}
}

func TestProblemsDoNotShowSecrets(t *testing.T) {
	t.Parallel()
	for _, s := range []config.Source{
		{Text: []byte(`{"pin": "` + planted + `"}`)},
		{Text: []byte(`{"headers": {"a": ["` + planted + `"], "b": 4711}}`)},
		{Text: []byte(`{"headers": "` + planted + `"}`)},
		{Text: []byte(`{"secret": 4711}`)},
		{Text: []byte(`{"held": "` + planted + `"}`)},
		{Text: []byte(`{"pin": 4711471147114711471147114711}`)},
		{Environ: []string{"ROPEWALK_PIN=" + planted}},
		{Environ: []string{"ROPEWALK_HELD=" + planted}},
		{Environ: []string{"ROPEWALK_HEADERS=" + planted}},
		{Environ: []string{"ROPEWALK_HEADERS=[\"" + planted + "\"]"}},
	} {
		_, err := s.Read(new(shown))
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s %v: %v", s.Text, s.Environ, err)
			continue
		}
		if text := fmt.Sprintf("%+v %v", e.Problems, e.Unwrap()); strings.Contains(text, planted) || strings.Contains(text, "4711") {
			t.Errorf("a secret is shown: %s", text)
		}
	}
	if _, err := (config.Source{Text: []byte(`{"secret": 1, "wait": "abc"}`)}).Read(new(shown)); err == nil || !strings.Contains(err.Error(), `"abc"`) {
		t.Errorf("what is no secret is not shown: %v", err)
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                               "",
		"nats://host:4222":               "nats://host:4222",
		"nats://me@host:4222":            "nats://***@host:4222",
		"postgres://a:p@ss@h/db?x=1":     "postgres://***@h/db?x=1",
		"u:pw at http://a:b@c https://d": "u:pw at http://***@c https://d",
		"host=h PASSWORD='a b' user=u":   "host=h PASSWORD=*** user=u",
		"https://h/p?token=abc&x=1":      "https://h/p?token=***&x=1",
		"/path/a@b":                      "/path/a@b",
		"https://h/path@x":               "https://h/path@x",
	} {
		if got := config.Mask(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzValues(f *testing.F) {
	f.Add(`{"parts": [{"settings": {"a": [1, {"password": "x"}]}}]}`)
	f.Fuzz(func(_ *testing.T, text string) {
		var cfg shown
		report, _ := config.Source{Text: []byte(text)}.Read(&cfg)
		start := time.Now()
		config.Values(&cfg, report)
		_ = time.Since(start)
	})
}
