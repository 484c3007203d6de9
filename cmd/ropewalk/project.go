package main

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

// configName is the file that makes a directory a project.
const configName = "ropewalk.jsonc"

//go:embed project
var projectFiles embed.FS

// project is the directory that "ropewalk dev" works in.
type project struct {
	config  string   // path of the configuration; "" if there is no project
	written []string // files and directories that were made just now
}

// openProject finds the project in dir, and makes one if dir is empty or does
// not exist. In the current directory, which nobody named, it makes one only if
// that is empty, and does without otherwise.
func openProject(dir string) (project, error) {
	named := dir != ""
	if !named {
		dir = "."
	}
	path := filepath.Join(dir, configName)
	switch _, err := os.Stat(path); {
	case err == nil:
		return project{config: path}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return project{}, usage(err.Error(), "Name a directory that can be read.")
	}
	empty, err := isEmpty(dir)
	switch {
	case err != nil:
		return project{}, usage(err.Error(), "Name a directory, or a name for a new one.")
	case !empty && named:
		return project{}, fail(exitUsage, message.NewError(message.CodeConflict,
			fmt.Sprintf("the directory %s is not empty and has no %s", dir, configName),
			"Name a new directory, as in: ropewalk dev my-project"))
	case !empty:
		return project{}, nil
	}
	p, err := makeProject(dir)
	if err != nil {
		return p, usage("cannot make a project: "+err.Error(), "Name a directory that you may write to, as in: ropewalk dev my-project")
	}
	return p, nil
}

// isEmpty passes over what begins with a dot, such as .git. A directory that
// does not exist is empty.
func isEmpty(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			return false, nil
		}
	}
	return err == nil, err
}

func makeProject(dir string) (project, error) {
	p := project{config: filepath.Join(dir, configName)}
	const from = "project"
	err := fs.WalkDir(projectFiles, from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(name, from)))
		if strings.Count(name, "/") == 1 { // of a directory it is said once
			p.written = append(p.written, path)
		}
		if d.IsDir() {
			return os.MkdirAll(path, 0o755) //nolint:gosec // a project has no secrets, and is read by others
		}
		text, err := projectFiles.ReadFile(name)
		if err != nil {
			return err
		}
		return writeFile(path, text)
	})
	return p, err
}

// writeFile writes a file that did not exist.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // the same
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
