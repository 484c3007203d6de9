package git_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/content/git"
	"github.com/ropewalk/ropewalk/message"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("no file system can be mounted: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, o := reopen(t, git.Settings{Repository: filepath.Join(dir, "site.git")})
	publish(t, s.JSON(), "/a.json", "1")
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i*i>>3 ^ i>>7)
	}
	var err error
	for i := 0; err == nil && i < 100; i++ {
		_, err = s.Files(true).(content.Publisher).Publish(t.Context(), request(fmt.Sprintf("/f%d", i)),
			content.Content{Body: append(big[i:], byte(i)), ContentType: "x/y"})
	}
	fails(t, err, message.CodeStorageFull)
	wants(t, s.JSON(), "/a.json", "1")
	run(t, o.dir, "fsck", "--strict")
	left, err := filepath.Glob(filepath.Join(o.dir, "objects", "*", "tmp_obj_*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
