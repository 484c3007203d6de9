// Package doc holds what there is to know about each field of a configuration,
// as package [github.com/ropewalk/ropewalk/cmd/ropewalk/doc/gen] takes it from the
// doc comments of the Go structs, and writes it down for people.
package doc

import (
	"fmt"
	"io"
	"strings"
)

// Field is one field of a configuration file.
type Field struct {
	// Path is where it stands, such as "limits.frame". <name> in it is a name
	// that the user chooses, [] each element of a list.
	Path string `json:"path"`
	// Type is text, true or false, number, whole number, time, object, list of …
	// or objects by name.
	Type string `json:"type"`
	// Default is what a field that is left out stands for; "" if the
	// documentation does not say it in a word.
	Default string `json:"default,omitempty"`
	// Text is the documentation without the default.
	Text string `json:"text"`
	// Variable is the one of the environment that sets the field; "" if the
	// field is within a list.
	Variable string `json:"variable,omitempty"`
	// Secret says that the value is never shown.
	Secret bool `json:"secret,omitempty"`
}

// Find returns the fields at path and below. A name in place of a <name>, and a
// number in place of [], fit.
func Find(fields []Field, path string) []Field {
	var found []Field
	want := split(path)
	for _, f := range fields {
		if fits(split(f.Path), want) {
			found = append(found, f)
		}
	}
	return found
}

func split(path string) []string {
	return strings.Split(strings.ReplaceAll(path, "[", ".["), ".")
}

func fits(have, want []string) bool {
	if len(want) > len(have) {
		return false
	}
	for i, w := range want {
		free := strings.HasPrefix(have[i], "<") || have[i] == "[]" && strings.HasPrefix(w, "[")
		if have[i] != w && !free {
			return false
		}
	}
	return true
}

// Nearest returns the path of the field whose last word is the one of path, to
// be suggested for a path that does not exist; "" if there is none.
func Nearest(fields []Field, path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, f := range fields {
		if strings.EqualFold(f.Path[strings.LastIndexByte(f.Path, '.')+1:], last) {
			return f.Path
		}
	}
	return ""
}

// Text writes fields for a terminal, lines no longer than width.
func Text(w io.Writer, fields []Field, width int) error {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s  (%s", f.Path, f.Type)
		if f.Default != "" {
			fmt.Fprintf(&b, "; default: %s", f.Default)
		}
		if f.Secret {
			b.WriteString("; secret")
		}
		b.WriteString(")\n")
		for _, line := range wrap(f.Text, width-4) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if f.Variable != "" {
			fmt.Fprintf(&b, "    %s\n", f.Variable)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks a text at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Markdown writes fields as tables, one for each object.
func Markdown(w io.Writer, fields []Field) error {
	var b strings.Builder
	groups := make(map[string][]Field)
	var order []string
	for _, f := range fields {
		at, _ := cut(f.Path)
		if _, ok := groups[at]; !ok {
			order = append(order, at)
		}
		groups[at] = append(groups[at], f)
	}
	for _, at := range order {
		title := "`" + at + "`"
		if at == "" {
			title = "The file"
		}
		fmt.Fprintf(&b, "\n## %s\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n", title)
		for _, f := range groups[at] {
			_, name := cut(f.Path)
			what := f.Type
			if f.Secret {
				what += ", secret"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, cell(what), cell(f.Default), cell(f.Text))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cut splits the last name off a path.
func cut(path string) (at, name string) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func cell(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", "\n", " ").Replace(s)
}
