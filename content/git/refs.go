package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	packedRefs = "packed-refs"
	lockWait   = 5 * time.Second // the git program holds a lock for some milliseconds
	lockPause  = 5 * time.Millisecond
	// lockStale is when a lock is taken for one that a crash left behind: nobody
	// needs this long to write forty bytes.
	lockStale = 10 * time.Minute
)

// refs reads and writes the refs of a repository as the git program does: loose
// files over packed-refs, each replaced by renaming its lock file. It may be used
// from any goroutine.
type refs struct {
	dir string // the git directory
	log *slog.Logger

	mu     sync.Mutex
	packed map[string]plumbing.Hash // what packed-refs said when it was seen
	seen   os.FileInfo              // nil: there was none
}

func (r *refs) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// read returns what a ref names, and zero if it does not exist.
func (r *refs) read(name string) (plumbing.Hash, error) {
	for range 3 {
		b, err := os.ReadFile(r.path(name))
		switch {
		case err == nil:
			return parseHash(name, b)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EISDIR) && !errors.Is(err, syscall.ENOTDIR):
			return plumbing.ZeroHash, err
		}
		packed, err := r.readPacked()
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if h, ok := packed[name]; ok {
			return h, nil
		}
		if _, err := os.Stat(r.path(name)); err != nil {
			return plumbing.ZeroHash, nil //nolint:nilerr // it does not exist
		}
		// It was made while we looked into packed-refs, or it is a directory.
	}
	return plumbing.ZeroHash, nil
}

func parseHash(name string, b []byte) (plumbing.Hash, error) {
	text := string(bytes.TrimSpace(b))
	if !plumbing.IsHash(text) {
		return plumbing.ZeroHash, fmt.Errorf("ref %s is not the name of an object", name)
	}
	return plumbing.NewHash(text), nil
}

// readPacked returns what packed-refs says. The map must not be changed.
func (r *refs) readPacked() (map[string]plumbing.Hash, error) {
	path := r.path(packedRefs)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no refs
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen != nil && os.SameFile(r.seen, info) && r.seen.Size() == info.Size() && r.seen.ModTime().Equal(info.ModTime()) {
		return r.packed, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	packed := map[string]plumbing.Hash{}
	for line := range strings.Lines(string(b)) {
		hash, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && plumbing.IsHash(hash) {
			packed[name] = plumbing.NewHash(hash)
		}
	}
	r.packed, r.seen = packed, info
	return packed, nil
}

// list returns all refs whose names begin with prefix, which ends in a slash.
func (r *refs) list(prefix string) (map[string]plumbing.Hash, error) {
	packed, err := r.readPacked()
	if err != nil {
		return nil, err
	}
	found := map[string]plumbing.Hash{}
	for name, h := range packed {
		if strings.HasPrefix(name, prefix) {
			found[name] = h
		}
	}
	loose := map[string]plumbing.Hash{}
	err = filepath.WalkDir(r.path(prefix), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.Type().IsRegular() || strings.HasSuffix(path, ".lock"):
			return nil
		}
		rel, err := filepath.Rel(r.dir, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if h, err := r.read(name); err == nil && !h.IsZero() {
			loose[name] = h
		}
		return nil
	})
	maps.Copy(found, loose)
	return found, err
}

// update makes a ref name another object if it names old now, where zero means
// that it does not exist; else it returns errMoved. It is done for good when it
// returns.
func (r *refs) update(ctx context.Context, name string, old, to plumbing.Hash) error {
	lock, err := r.lock(ctx, name)
	if err != nil {
		return err
	}
	defer lock.release()
	if now, err := r.read(name); err != nil {
		return err
	} else if now != old {
		return errMoved
	}
	return lock.commit([]byte(to.String() + "\n"))
}

// set makes a ref name an object, whatever it named before.
func (r *refs) set(ctx context.Context, name string, to plumbing.Hash) error {
	lock, err := r.lock(ctx, name)
	if err != nil {
		return err
	}
	defer lock.release()
	return lock.commit([]byte(to.String() + "\n"))
}

// remove deletes a ref if it names old; else it returns errMoved.
func (r *refs) remove(ctx context.Context, name string, old plumbing.Hash) error {
	lock, err := r.lock(ctx, name)
	if err != nil {
		return err
	}
	defer lock.release()
	now, err := r.read(name)
	if err != nil {
		return err
	}
	if now != old {
		return errMoved
	}
	if err := r.unpack(ctx, name); err != nil {
		return err
	}
	if err := os.Remove(r.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(r.path(name)))
}

// unpack takes a ref out of packed-refs, lest an old value comes back.
func (r *refs) unpack(ctx context.Context, name string) error {
	if packed, err := r.readPacked(); err != nil {
		return err
	} else if _, ok := packed[name]; !ok {
		return nil
	}
	lock, err := r.lock(ctx, packedRefs)
	if err != nil {
		return err
	}
	defer lock.release()
	b, err := os.ReadFile(r.path(packedRefs))
	if err != nil {
		return err
	}
	var kept []byte
	skip := false
	for line := range bytes.Lines(b) {
		if line[0] == '^' { // what the tag of the line above names
			if skip {
				continue
			}
		} else {
			_, of, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
			skip = of == name
		}
		if !skip {
			kept = append(kept, line...)
		}
	}
	return lock.commit(kept)
}

// lockFile is a lock that this process holds.
type lockFile struct {
	file *os.File
	path string // of what is locked
}

func (r *refs) lock(ctx context.Context, name string) (*lockFile, error) {
	path := r.path(name)
	end := time.Now().Add(lockWait)
	for {
		f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as git does: others may read refs
		switch {
		case err == nil:
			return &lockFile{f, path}, nil
		case errors.Is(err, fs.ErrNotExist):
			if err := r.makeDir(filepath.Dir(path)); err != nil {
				return nil, err
			}
			continue
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		case time.Now().After(end):
			return nil, conflict("another process holds the lock of "+name,
				"Try again; if no git program is running, remove the file "+name+".lock in the repository.")
		}
		r.breakStale(path + ".lock")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// makeDir makes a directory of refs, and those above it, so that they last.
func (r *refs) makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as git does
		return err
	}
	for d := dir; len(d) > len(r.dir); {
		d = filepath.Dir(d)
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// breakStale removes a lock that a crash left behind.
func (r *refs) breakStale(lock string) {
	info, err := os.Stat(lock)
	if err != nil || time.Since(info.ModTime()) < lockStale {
		return
	}
	// Renamed first: another process may have done the same, and made its own
	// lock in the meantime.
	aside := fmt.Sprintf("%s.%d", lock, os.Getpid())
	if os.Rename(lock, aside) != nil {
		return
	}
	if moved, err := os.Stat(aside); err == nil && !os.SameFile(info, moved) {
		_ = os.Rename(aside, lock)
		return
	}
	_ = os.Remove(aside)
	r.log.Warn("a lock that a crash left behind was removed", "lock", filepath.Base(lock))
}

// commit makes b what the locked file holds.
func (l *lockFile) commit(b []byte) error {
	if _, err := l.file.Write(b); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	l.file = nil
	err := os.Rename(l.path+".lock", l.path)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.EISDIR) {
		removeEmpty(l.path) // a directory that refs below it have left behind
		err = os.Rename(l.path+".lock", l.path)
	}
	if err != nil {
		_ = os.Remove(l.path + ".lock")
		return err
	}
	return syncDir(filepath.Dir(l.path))
}

// removeEmpty removes a directory and those below it, if there is no file.
func removeEmpty(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeEmpty(filepath.Join(dir, e.Name()))
		}
	}
	_ = os.Remove(dir)
}

// touch says that who holds the lock is still at work.
func (l *lockFile) touch() {
	now := time.Now()
	_ = os.Chtimes(l.path+".lock", now, now) // what that is for fails later, too
}

// release gives the lock back, if it was not committed.
func (l *lockFile) release() {
	if l.file == nil {
		return
	}
	_ = l.file.Close()
	_ = os.Remove(l.path + ".lock")
}

// syncDir makes what was renamed in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}
