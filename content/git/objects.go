package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/ropewalk/ropewalk/message"
)

const (
	objectCache = 8 * cache.MiByte
	maxEntries  = 1 << 19 // of trees that are remembered; some 40 MB
	maxCommits  = 16384   // remembered; some 3 MB
	maxTreeSize = 16 << 20
)

// commit is what walking the history needs of one.
type commit struct {
	hash    plumbing.Hash
	tree    plumbing.Hash
	parents []plumbing.Hash
	when    int64 // of the committer, Unix seconds
}

// objects reads and writes the objects of a repository. It may be used from any
// goroutine; reading is one at a time, because the library is not made for more.
type objects struct {
	dir     string // the git directory
	maxFile int64

	mu      sync.Mutex
	storage *filesystem.Storage
	opened  time.Time // storage
	packs   time.Time // when packs had come or gone last, then
	trees   map[plumbing.Hash][]object.TreeEntry
	kept    int // entries of them
	room    int // for these
	commits map[plumbing.Hash]*commit
}

func openStorage(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(disk{osfs.New(dir)}, cache.NewObjectLRU(objectCache), filesystem.Options{})
}

// disk is the git directory for the library.
type disk struct{ billy.Filesystem }

// ReadDir leaves out packs without an index: the git program places a pack before
// that, removes it after that, and may be killed between. The library would read no
// pack at all.
func (d disk) ReadDir(dir string) ([]fs.FileInfo, error) {
	files, err := d.Filesystem.ReadDir(dir)
	if filepath.Base(dir) != "pack" {
		return files, err
	}
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f.Name()] = true
	}
	return slices.DeleteFunc(files, func(f fs.FileInfo) bool {
		name, ok := strings.CutSuffix(f.Name(), ".pack")
		return ok && !there[name+".idx"]
	}), err
}

// Chmod implements [billy.Chmod]: packs that are fetched are for others, too.
func (d disk) Chmod(path string, mode fs.FileMode) error {
	return os.Chmod(filepath.Join(d.Root(), path), mode)
}

func openObjects(dir string, maxFile int64) *objects {
	o := &objects{
		dir: dir, maxFile: maxFile, room: maxEntries,
		trees: map[plumbing.Hash][]object.TreeEntry{}, commits: map[plumbing.Hash]*commit{},
	}
	o.open()
	return o
}

// open opens the storage, whose indexes are read when they are needed. The caller
// holds mu, or is alone.
func (o *objects) open() {
	o.packs, o.opened = o.packed(), time.Now()
	o.storage = openStorage(o.dir)
}

// packed returns when a pack has come or gone last.
func (o *objects) packed() time.Time {
	info, err := os.Stat(filepath.Join(o.dir, "objects", "pack"))
	if err != nil {
		return time.Time{} // there are none
	}
	return info.ModTime()
}

// racy is how soon after a change of a directory another one may leave its time as
// it is, at most, on any file system.
const racy = 2 * time.Second

// maxReads is how often is read again while packs come and go.
const maxReads = 5

// read has f read, again with fresh indexes if it fails and they may be old: another
// process may have packed the objects anew. The caller holds mu.
func (o *objects) read(f func(st *filesystem.Storage) error) error {
	err := f(o.storage)
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*message.Error](err); ours {
		return err
	}
	if now := o.packed(); now.Equal(o.packs) && o.opened.Sub(now) >= racy {
		return err
	}
	for range maxReads {
		was := o.packs
		_ = o.storage.Close()
		o.open()
		if err = f(o.storage); err == nil || o.packs.Equal(was) {
			break
		}
	}
	return err
}

// tree returns the entries of a tree; none for zero. They must not be changed.
func (o *objects) tree(h plumbing.Hash) ([]object.TreeEntry, error) {
	if h.IsZero() {
		return nil, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if entries, ok := o.trees[h]; ok {
		return entries, nil
	}
	var t *object.Tree
	err := o.read(func(st *filesystem.Storage) error {
		if size, err := st.EncodedObjectSize(h); err != nil || size > maxTreeSize {
			return errors.Join(err, bigTree(size))
		}
		var err error
		t, err = object.GetTree(st, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", h, err)
	}
	if o.kept += len(t.Entries); o.kept > o.room {
		clear(o.trees)
		o.kept = len(t.Entries)
	}
	o.trees[h] = t.Entries
	return t.Entries, nil
}

func bigTree(size int64) error {
	if size <= maxTreeSize {
		return nil
	}
	return message.NewError(message.CodeLimitExceeded, "a directory is too large", "Put the files into several directories.")
}

// commit returns a commit.
func (o *objects) commit(h plumbing.Hash) (*commit, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.commits[h]; ok {
		return c, nil
	}
	full, err := o.loadCommit(h)
	if err != nil {
		return nil, err
	}
	c := &commit{hash: h, tree: full.TreeHash, parents: full.ParentHashes, when: full.Committer.When.Unix()}
	if len(o.commits) >= maxCommits {
		clear(o.commits)
	}
	o.commits[h] = c
	return c, nil
}

// fullCommit returns a commit with its text.
func (o *objects) fullCommit(h plumbing.Hash) (*object.Commit, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loadCommit(h)
}

func (o *objects) loadCommit(h plumbing.Hash) (*object.Commit, error) {
	var c *object.Commit
	err := o.read(func(st *filesystem.Storage) error {
		var err error
		c, err = object.GetCommit(st, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", h, err)
	}
	return c, nil
}

// treeOf returns the tree of a commit; zero for zero.
func (o *objects) treeOf(h plumbing.Hash) (plumbing.Hash, error) {
	if h.IsZero() {
		return h, nil
	}
	c, err := o.commit(h)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return c.tree, nil
}

// blob returns the bytes of a file. One over the limit is an error with
// CodeTooLarge.
func (o *objects) blob(h plumbing.Hash) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b []byte
	err := o.read(func(st *filesystem.Storage) error {
		size, err := st.EncodedObjectSize(h)
		if err != nil {
			return err
		}
		if size > o.maxFile {
			return tooLarge(size, o.maxFile)
		}
		found, err := st.EncodedObject(plumbing.BlobObject, h)
		if err != nil {
			return err
		}
		r, err := found.Reader()
		if err != nil {
			return err
		}
		defer r.Close() //nolint:errcheck // it was only read
		b = make([]byte, size)
		_, err = io.ReadFull(r, b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", h, err)
	}
	return b, nil
}

func tooLarge(size, most int64) *message.Error {
	return message.NewError(message.CodeTooLarge, fmt.Sprintf("the file has %d bytes, more than %d", size, most),
		"Keep large files elsewhere, or raise maxFile.")
}

// size returns the size of a file.
func (o *objects) size(h plumbing.Hash) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var size int64
	err := o.read(func(st *filesystem.Storage) error {
		var err error
		size, err = st.EncodedObjectSize(h)
		return err
	})
	return size, err
}

// expand returns the commit whose hash begins with a text of at least four
// digits.
func (o *objects) expand(prefix string) (plumbing.Hash, error) {
	if plumbing.IsHash(prefix) {
		return plumbing.NewHash(prefix), nil
	}
	raw, err := hex.DecodeString(prefix[:len(prefix)/2*2]) // half a byte is compared below
	if err != nil || len(prefix) < 4 || len(prefix) > 40 {
		return plumbing.ZeroHash, noRevision(prefix)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []plumbing.Hash
	err = o.read(func(st *filesystem.Storage) error {
		all, err := st.HashesWithPrefix(raw)
		if err != nil {
			return err
		}
		found = found[:0]
		for _, h := range all {
			if _, err := object.GetCommit(st, h); err == nil && h.String()[:len(prefix)] == prefix {
				found = append(found, h)
			}
		}
		if len(found) != 1 {
			return plumbing.ErrObjectNotFound
		}
		return nil
	})
	if err != nil {
		return plumbing.ZeroHash, noRevision(prefix)
	}
	return found[0], nil
}

func noRevision(text string) *message.Error {
	e := message.NewError(message.CodeNotFound, "there is no revision "+short(text),
		"Use the hash of a commit, as git:/log shows it, the name of the branch, or a workspace.")
	e.Path = "revision"
	return e
}

// batch collects objects and makes them last together.
type batch struct {
	o    *objects
	todo map[plumbing.Hash]loose
	// trees are those that were made, for who reads them before they are written.
	trees map[plumbing.Hash][]object.TreeEntry
}

type loose struct {
	kind plumbing.ObjectType
	data []byte
}

func (o *objects) batch() *batch {
	return &batch{o: o, todo: map[plumbing.Hash]loose{}, trees: map[plumbing.Hash][]object.TreeEntry{}}
}

func (b *batch) add(kind plumbing.ObjectType, data []byte) plumbing.Hash {
	h := plumbing.ComputeHash(kind, data)
	b.todo[h] = loose{kind, data}
	return h
}

func (b *batch) addTree(entries []object.TreeEntry) plumbing.Hash {
	var data []byte
	for _, e := range entries {
		data = fmt.Appendf(data, "%o %s\x00", uint32(e.Mode), e.Name)
		data = append(data, e.Hash[:]...)
	}
	h := b.add(plumbing.TreeObject, data)
	b.trees[h] = entries
	return h
}

func (b *batch) tree(h plumbing.Hash) ([]object.TreeEntry, error) {
	if entries, ok := b.trees[h]; ok {
		return entries, nil
	}
	return b.o.tree(h)
}

// write writes what was added, objects before those that name them not being
// needed: nothing names any of them yet. It lasts when write returns.
func (b *batch) write(ctx context.Context) error {
	dirs := map[string]bool{}
	z := zlib.NewWriter(io.Discard) // for all, because making one is dear
	for h, l := range b.todo {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir, made, err := b.o.writeLoose(z, h, l)
		if err != nil {
			return fmt.Errorf("write object: %w", err)
		}
		if dir != "" {
			dirs[dir] = true
		}
		if made {
			dirs[filepath.Dir(dir)] = true
		}
	}
	for dir := range dirs {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // else all in it has just been packed
			return err
		}
	}
	clear(b.todo)
	return nil
}

// writeLoose writes one object, and returns the directory to sync, or "" if it
// is there already, and whether that is new.
func (o *objects) writeLoose(z *zlib.Writer, h plumbing.Hash, l loose) (in string, made bool, err error) {
	name := h.String()
	dir := filepath.Join(o.dir, "objects", name[:2])
	path := filepath.Join(dir, name[2:])
	now := time.Now()
	if os.Chtimes(path, now, now) == nil { // fresh again, so that no gc takes it away
		return "", false, nil
	}
	var f *os.File
	for range 3 { // a gc may remove the empty directory at this moment
		err = os.Mkdir(dir, 0o755) //nolint:gosec // as git does: others may read
		if made = made || err == nil; err != nil && !errors.Is(err, fs.ErrExist) {
			return "", made, err
		}
		if f, err = os.CreateTemp(dir, "tmp_obj_"); !errors.Is(err, fs.ErrNotExist) { // git gc removes what is called so and old
			break
		}
	}
	if err != nil {
		return "", made, err
	}
	err = errors.Join(writeObject(z, f, l), f.Chmod(0o444), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", made, err
	}
	return dir, made, nil
}

func writeObject(z *zlib.Writer, w io.Writer, l loose) error {
	var b bytes.Buffer
	z.Reset(&b)
	fmt.Fprintf(z, "%s %d\x00", l.kind, len(l.data))
	if _, err := z.Write(l.data); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// isFile tells whether an entry of a tree is a content: no link, no submodule.
func isFile(m filemode.FileMode) bool {
	return m == filemode.Regular || m == filemode.Executable || m == filemode.Deprecated
}
