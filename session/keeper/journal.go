package keeper

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// compactAfter is how many lines beyond twice the list a file journal may have.
const compactAfter = 1000

// ErrLater is what a [Journal] that cannot be read yet fails with: the Keeper
// begins without it and reads it later.
var ErrLater = errors.New("the revocations cannot be read yet")

// Journal keeps revocations over a restart of all nodes. Its methods are called
// by one goroutine at a time and may block.
type Journal interface {
	// Load returns what was kept. Old revocations may be among it. It may fail
	// with ErrLater.
	Load(ctx context.Context) ([]Revocation, error)
	// Append keeps more; all returns the whole list, in case the journal wants to
	// be written anew.
	Append(ctx context.Context, news []Revocation, all func() []Revocation) error
}

// File is a [Journal] in a file of one node: a line of JSON for each revocation.
// Make one with [NewFile].
type File struct {
	path string

	mu    sync.Mutex
	lines int
}

// NewFile returns a journal in a file, which is made when there is something to
// keep. Its directory must exist.
func NewFile(path string) *File { return &File{path: path} }

// Load implements Journal. Lines that cannot be read are left out: the last one
// may be half written.
func (f *File) Load(context.Context) ([]Revocation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the revocations: %w", err)
	}
	var out []Revocation
	now := time.Now()
	for line := range bytes.Lines(b) {
		var r Revocation
		if json.Unmarshal(line, &r) == nil && now.Before(r.Until) {
			out = append(out, r)
		}
	}
	return out, f.write(out)
}

// Append implements Journal. It returns when the disk has it.
func (f *File) Append(_ context.Context, news []Revocation, all func() []Revocation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines += len(news)
	if f.lines > compactAfter {
		if a := all(); f.lines > compactAfter+2*len(a) {
			return f.write(a)
		}
	}
	w, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep revocations: %w", err)
	}
	if err := errors.Join(flush(w, news), w.Close()); err != nil {
		return fmt.Errorf("keep revocations: %w", err)
	}
	return nil
}

// write makes the file anew. f.mu is held.
func (f *File) write(all []Revocation) error {
	w, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*") // 0600
	if err != nil {
		return fmt.Errorf("write the revocations: %w", err)
	}
	defer os.Remove(w.Name()) //nolint:errcheck // it is not there after Rename
	err = flush(w, all)
	if err = errors.Join(err, w.Close()); err == nil {
		err = os.Rename(w.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write the revocations: %w", err)
	}
	f.lines = len(all)
	return nil
}

func flush(w *os.File, rs []Revocation) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for i := range rs {
		if err := enc.Encode(&rs[i]); err != nil {
			return err
		}
	}
	return errors.Join(buf.Flush(), w.Sync())
}

var _ Journal = (*File)(nil)
