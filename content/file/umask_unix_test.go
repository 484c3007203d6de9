//go:build unix

package file_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/content/file"
)

// The umask of the node is about files that are made, and takes nothing away from
// who could read a file so far. It is one for all of the process, so this test runs
// alone.
func TestModeIsKeptWhateverTheUmask(t *testing.T) { //nolint:paralleltest // see there
	tr, dir := tree(t, file.Settings{})
	put(t, dir, "a.txt", "1")
	path := filepath.Join(dir, "a.txt")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	was := syscall.Umask(0o077)
	defer syscall.Umask(was)
	for name, want := range map[string]os.FileMode{"a.txt": 0o644, "b.txt": 0o600} {
		if _, err := publish(t.Context(), tr.Files(true), "/"+name, "", "2"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: the mode is %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}
