package audit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	f, err := openFile(filepath.Join(t.TempDir(), "audit.jsonl"), DefaultMaxSize, 1)
	if err != nil {
		t.Fatal(err)
	}
	good := f.f
	f.f = full
	f.buf.Reset(full)
	if err := f.write([]byte("1\n")); err != nil {
		t.Fatal(err) // it is in the buffer
	}
	if err := f.flush(); err == nil {
		t.Error("a full disk was no error")
	}
	f.f = good
	f.buf.Reset(good)
	if err := f.write([]byte("2\n")); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	// What went before may be half a line, so this one begins with an end.
	if text, err := os.ReadFile(f.path); err != nil || string(text) != "\n2\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := full.Close(); err != nil {
		t.Error(err)
	}
}
