// Package config fills a struct from a configuration file, from the
// environment and from flags, in this order: what comes later wins.
//
// A file is JSON with comments and trailing commas. The struct's json tags name
// the fields. Nothing is passed over in silence: a field that the struct does
// not have, a value of the wrong type and a name given twice are problems, and
// all problems of a file are reported together, each with its line and column.
//
// A variable of the environment is named after the field: the prefix
// ROPEWALK_, then the path in capitals, so that limits.pendingBytes is
// ROPEWALK_LIMITS_PENDING_BYTES and listeners.main.address is
// ROPEWALK_LISTENERS_MAIN_ADDRESS. Lists of words are separated by commas;
// everything else that is no single value is written as JSON.
//
// A field with the tag secret:"true" is shown nowhere: neither in problems nor by
// [Values]. One with the tag path:"file" is the path of a file or directory, or has
// such by name: what a configuration file says there is relative to the directory
// of that file, what a variable says to where the program was started. With
// path:"dsn" that is so unless it names a server, or fields.
package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
)

const (
	// Prefix starts the name of each variable of the environment.
	Prefix = "ROPEWALK_"
	// MaxFile is the size of the largest file that is read, in bytes. People
	// write configuration; a file over this is something else.
	MaxFile = 1 << 20
)

// Load reads the file at path, unless path is "", and then the environment of
// this process into cfg, which is a pointer to a struct and holds the defaults.
// Errors are *[Error]. When there is one, cfg holds what could be read.
func Load(path string, cfg any) error {
	_, err := Source{Path: path, Environ: os.Environ()}.Read(cfg)
	return err
}

// Source is where configuration comes from. The zero Source is empty.
type Source struct {
	// Path of the file; "" for none.
	Path string
	// Text stands for the content of the file if it is not nil; Path is then
	// only its name.
	Text []byte
	// Environ is the environment as [os.Environ] returns it; nil for none.
	Environ []string
	// Ignore are variables that begin with [Prefix] but are no configuration.
	Ignore []string
}

// Report tells what was read.
type Report struct {
	// File is the file that was read; "" if there was none.
	File string
	// Origins tells for each field that was given where its value comes from:
	// "ropewalk.jsonc:3:5", "ROPEWALK_NAME" or what [Report.Set] was told. The
	// keys are paths, such as "listeners.main.address".
	Origins map[string]string
	// Unused are the variables of the environment that begin with [Prefix] and
	// name no field. They are not an error: others may have put them there, as
	// Kubernetes does for a service that is called ropewalk.
	Unused []string
}

// Read fills cfg as [Load] does. The Report is never nil.
func (s Source) Read(cfg any) (*Report, error) {
	rv := reflect.ValueOf(cfg)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: %T is not a pointer to a struct", cfg)) //nolint:forbidigo // the caller is wrong at every start
	}
	r := &Report{File: s.Path, Origins: make(map[string]string)}
	var problems []Problem
	if s.Path != "" || s.Text != nil {
		problems = s.file(rv.Elem(), r)
	}
	problems = append(problems, s.environ(rv.Elem(), r)...)
	if len(problems) > 0 {
		return r, &Error{Problems: problems}
	}
	return r, nil
}

// Set notes that a field was set by something else, such as a flag.
func (r *Report) Set(path, origin string) { r.Origins[path] = origin }

// Origin returns where the value of a field comes from; if the field was not
// given itself, where the nearest thing around it was. "" means nowhere.
func (r *Report) Origin(path string) string {
	for {
		if o, ok := r.Origins[path]; ok {
			return o
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return ""
		}
		path = path[:i]
	}
}

// Paths returns the paths of all fields that were given, sorted.
func (r *Report) Paths() []string { return slices.Sorted(maps.Keys(r.Origins)) }

func (s Source) file(rv reflect.Value, r *Report) []Problem {
	text := s.Text
	if text == nil {
		var p *Problem
		if text, p = readFile(s.Path); p != nil {
			return []Problem{*p}
		}
	}
	d := decoder{name: s.Path, origins: r.Origins}
	d.decode(text, "", rv)
	return d.problems
}

// readFile reads a file of at most MaxFile bytes.
func readFile(path string) ([]byte, *Problem) {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return nil, &Problem{File: path, Message: "there is no such file", Hint: "Check the path."}
	case err != nil:
		return nil, &Problem{File: path, Message: cause(err), Hint: "Check the path and its permissions."}
	case info.IsDir():
		return nil, &Problem{File: path, Message: "this is a directory", Hint: "Name the file, such as ropewalk.jsonc."}
	case info.Size() > MaxFile:
		return nil, &Problem{
			File: path, Message: fmt.Sprintf("the file has %d bytes; a configuration may have %d", info.Size(), MaxFile),
			Hint: "Check the path: this is hardly a configuration.",
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &Problem{File: path, Message: cause(err), Hint: "Check the path and its permissions."}
	}
	return text, nil
}
