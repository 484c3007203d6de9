package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
)

// configShowCmd prints what a node would work with.
type configShowCmd struct {
	Path string `arg:"" optional:"" help:"Only this field and those within it, such as limits or listeners.main.address."`
	nodeFlags
	configFlag
	Given bool `help:"Only what was given by the file, a variable or a flag."`
}

// Help is printed below the flags.
func (*configShowCmd) Help() string {
	return `Reads the file, the environment and the flags as "ropewalk serve" with the same flags does, and asks no node. FROM is the
place in the file, the variable or the flag, or "default". Secrets are not shown.

Examples:

  ropewalk config show --config ropewalk.jsonc
  ropewalk config show limits --given --config ropewalk.jsonc
  ROPEWALK_LOG_LEVEL=debug ropewalk config show log`
}

// byDefault is the origin of what nobody has given.
const byDefault = "default"

// setting is one value of a configuration and where it comes from. Value is
// absent where a default is more than a value: Default then says it in words.
type setting struct {
	Path    string `json:"path"`
	Value   any    `json:"value,omitempty"`
	Default string `json:"default,omitempty"`
	Origin  string `json:"origin"`
	Secret  bool   `json:"secret,omitempty"`
}

// Run prints.
func (c *configShowCmd) Run(w *world) error {
	cfg, report, err := c.load(w, c.source(w))
	if err != nil {
		return err
	}
	var fields []doc.Field
	if err := json.Unmarshal(referenceJSON, &fields); err != nil {
		return err
	}
	list := []setting{}
	for _, s := range settings(&cfg, report, fields) {
		if within(s.Path, c.Path) && (!c.Given || s.Origin != byDefault) {
			list = append(list, s)
		}
	}
	if len(list) == 0 && c.Path != "" && len(doc.Find(fields, c.Path)) == 0 {
		hint := `"ropewalk config doc" prints all fields.`
		if filepath.Ext(c.Path) == ".jsonc" || filepath.Ext(c.Path) == ".json" {
			hint = "To read a file, say --config " + c.Path + "."
		} else if s := doc.Nearest(fields, c.Path); s != "" {
			hint = fmt.Sprintf("Did you mean %s?", s)
		}
		return usage("there is no field "+c.Path, hint)
	}
	if w.json {
		return w.line(list)
	}
	return printSettings(w, list)
}

// within tells whether path is at or below a field.
func within(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (field == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// settings lists the values of a configuration, with the defaults that the
// reference has in words.
func settings(cfg *standard.Config, report *config.Report, fields []doc.Field) []setting {
	values := config.Values(cfg, report)
	list := make([]setting, 0, len(values))
	for _, v := range values {
		s := setting{Path: v.Path, Value: v.Value, Origin: v.Origin, Secret: v.Secret}
		if s.Origin == "" {
			s.Origin = byDefault
			if isZero(v.Value) {
				s.Value, s.Default = nil, defaultOf(fields, v.Path)
			}
		}
		list = append(list, s)
	}
	return list
}

// isZero tells whether a value stands for its default.
func isZero(v any) bool {
	switch v {
	case nil, "", "0s", false, 0, int64(0), 0.0:
		return true
	}
	return false
}

func defaultOf(fields []doc.Field, path string) string {
	if found := doc.Find(fields, path); len(found) > 0 && strings.Count(found[0].Path, ".") == strings.Count(path, ".") {
		return found[0].Default
	}
	return ""
}

// printSettings prints a table.
func printSettings(w *world, list []setting) error {
	t := newTable("FIELD", "VALUE", "FROM")
	for _, s := range list {
		text, err := s.text()
		if err != nil {
			return err
		}
		t.add(s.Path, text, s.Origin)
	}
	return t.print(w)
}

func (s *setting) text() (string, error) {
	switch {
	case s.Value == nil && s.Default == "":
		return "–", nil
	case s.Value == nil:
		return s.Default, nil
	case s.Secret:
		return fmt.Sprint(s.Value), nil
	}
	var b strings.Builder
	err := writeJSON(&b, s.Value)
	return strings.TrimSuffix(b.String(), "\n"), err
}
