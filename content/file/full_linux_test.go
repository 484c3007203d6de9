package file_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/content/file"
	"github.com/ropewalk/ropewalk/message"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("a file system cannot be mounted here: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	tr := open(t, file.Settings{Root: dir})
	p := tr.Files(true)
	if _, err := publish(t.Context(), p, "/a.txt", "", "old"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, p, request("/a.txt"))
	for _, query := range []string{"", "noOverwrite=true"} {
		_, err := publish(t.Context(), p, "/a.txt", query, strings.Repeat("x", 100_000))
		fails(t, err, message.CodeStorageFull, dir)
	}
	leftovers(t, dir)
	if text(t, dir, "a.txt") != "old" {
		t.Error("the old content is gone")
	}
	if found, _ := os.ReadDir(dir); len(found) != 1 {
		t.Errorf("there are %v", found)
	}
	if _, err := publish(t.Context(), p, "/a.txt", "", "new"); err != nil {
		t.Errorf("after that: %v", err)
	}
	w.sees(t, "new")
}
