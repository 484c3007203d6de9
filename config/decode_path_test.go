package config_test

import (
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ropewalk/ropewalk/config"
)

type paths struct {
	File string            `json:"file" path:"file"`
	Name string            `json:"name"`
	Many map[string]string `json:"many" path:"file"`
	DSN  string            `json:"dsn" path:"dsn"`
	In   struct {
		Dir  string `json:"dir" path:"file"`
		Text string `json:"text"`
	} `json:"in"`
	List []struct {
		File string `json:"file" path:"file"`
	} `json:"list"`
}

// What a file says of paths is relative to where it is, what a variable says is
// not.
func TestPathsAreBelowTheFile(t *testing.T) {
	t.Parallel()
	at := filepath.FromSlash("/etc/site/node.jsonc")
	below := func(name string) string { return filepath.FromSlash("/etc/site/" + name) }
	read := func(text string, environ ...string) paths {
		t.Helper()
		var p paths
		if _, err := (config.Source{Path: at, Text: []byte(text), Environ: environ}).Read(&p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	got := read(`{"file":"a","name":"b","many":{"x":"c/d","y":"`+filepath.ToSlash(below("e"))+`"},"in":{"dir":"../f","text":"g"},"list":[{"file":"h"}]}`,
		"ROPEWALK_IN_DIR=here", "ROPEWALK_MANY_Z=there")
	want := paths{File: below("a"), Name: "b", Many: map[string]string{"x": below("c/d"), "y": below("e"), "z": "there"}}
	want.In.Dir, want.In.Text = "here", "g"
	want.List = append(want.List, struct {
		File string `json:"file" path:"file"`
	}{below("h")})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := read(`{"in":{"dir":"../f"},"file":""}`); got.In.Dir != filepath.FromSlash("/etc/f") || got.File != "" {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{
		"users.db": below("users.db"), "data/users.db?mode=ro": below("data/users.db?mode=ro"), "file:users.db": "file:users.db", ":memory:": ":memory:",
		"postgres://anna:secret@db/users": "postgres://anna:secret@db/users", "host=db user=anna": "host=db user=anna",
	} {
		if got := read(`{"dsn":"` + text + `"}`).DSN; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
