package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"

	"github.com/ropewalk/ropewalk/message"
)

const (
	compactEvery = 10 * time.Minute
	// usualLoose and usualPacks are somewhat less than what "git gc --auto" waits for.
	usualLoose = 5000
	usualPacks = 40
	// usualBatch is how many bytes of objects are compared with each other, and held
	// in memory.
	usualBatch = 16 << 20
	// window is with how many others an object is compared, as git does.
	window = 10
	// usualAge is how old an object has to be. A younger one may be of a commit that no
	// ref names yet, and "git repack -ad" removes such from packs, not loose ones.
	usualAge = time.Hour
	// forgotten is how old a temporary file is that a crash has left.
	forgotten = 24 * time.Hour
)

// compactor keeps a repository small to which is committed again and again: it
// packs loose objects, and makes one pack of many. It removes no object: what
// nobody names is a matter for "git gc", which may run at the same time.
type compactor struct {
	objects *objects
	dir     string // of the objects
	loose   int    // how many may be loose
	packs   int    // how many packs there may be
	batch   int64
	age     time.Duration
	alive   func() // says that it is still at work
	// turn waits until it may remove what has another place now.
	turn func(context.Context) (give func(), err error)
}

func newCompactor(o *objects) *compactor {
	return &compactor{
		objects: o, dir: filepath.Join(o.dir, "objects"),
		loose: usualLoose, packs: usualPacks, batch: usualBatch, age: usualAge, alive: func() {},
		turn: func(context.Context) (func(), error) { return func() {}, nil },
	}
}

// compact runs until the store is closed.
func (s *Store) compact(ctx context.Context) {
	c := newCompactor(s.objects)
	every := time.NewTicker(compactEvery)
	defer every.Stop()
	for {
		if err := s.compactOnce(ctx, c); err != nil && ctx.Err() == nil {
			s.log.Warn("the objects of the repository could not be packed; see git fsck", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// compactOnce does what there is to do, unless another node is at it.
func (s *Store) compactOnce(ctx context.Context, c *compactor) error {
	lock, err := s.refs.lock(ctx, "ropewalk-compact")
	if message.CodeOf(err) == message.CodeConflict {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.release()
	c.alive = lock.touch
	if s.remote != nil { // which reads with a storage of its own
		c.turn = s.remote.take
	}
	return c.run(ctx)
}

// run does what there is to do.
func (c *compactor) run(ctx context.Context) error {
	all, err := c.list(ctx)
	if err != nil {
		return err
	}
	var failed error
	if len(all) > c.loose {
		if err := c.packLoose(ctx, all); err != nil {
			failed = fmt.Errorf("pack loose objects: %w", err)
		}
	}
	packs, err := c.listPacks()
	if err == nil && len(packs) > c.packs {
		if err = c.join(ctx, packs); err != nil {
			err = fmt.Errorf("join packs: %w", err)
		}
	}
	return errors.Join(failed, err)
}

// looseObject is an object in a file of its own.
type looseObject struct {
	hash plumbing.Hash
	path string
	size int64 // when it was measured
}

// list returns the loose objects that are old enough.
func (c *compactor) list(ctx context.Context) ([]looseObject, error) {
	var all []looseObject
	for n := range 256 {
		c.alive()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := fmt.Sprintf("%02x", n)
		dir := filepath.Join(c.dir, part)
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch name := part + e.Name(); {
			case !plumbing.IsHash(name):
				sweep(path)
			case older(path, c.age):
				all = append(all, looseObject{hash: plumbing.NewHash(name), path: path})
			}
		}
	}
	return all, nil
}

// sweep removes a temporary file that a crash has left.
func sweep(path string) {
	if strings.HasPrefix(filepath.Base(path), "tmp_") && older(path, forgotten) {
		_ = os.Remove(path)
	}
}

func older(path string, age time.Duration) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) >= age
}

// packLoose packs loose objects. Those that cannot be read stay as they are, and are
// what the error is about when all others are packed.
func (c *compactor) packLoose(ctx context.Context, all []looseObject) error {
	done, todo, err := c.part(all)
	if err != nil {
		return err
	}
	todo, broken := c.measure(ctx, todo)
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := c.first(todo)
		if err := c.pack(todo[:n]); err != nil {
			return err
		}
		done = append(done, todo[:n]...)
		todo = todo[n:]
	}
	if len(done) == 0 {
		return broken
	}
	give, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer give()
	c.objects.reopen() // it finds them in their packs
	for _, one := range done {
		if older(one.path, c.age) { // else somebody counts on it again
			_ = os.Remove(one.path) // if another process was faster, all the better
		}
	}
	return broken
}

// measure returns the objects that can be packed: those that are larger than a batch
// stay loose, because each would be held in memory. The error is of the first that
// cannot be read.
func (c *compactor) measure(ctx context.Context, list []looseObject) (fit []looseObject, broken error) {
	st := openStorage(c.objects.dir)
	defer st.Close() //nolint:errcheck // it was only read
	for _, one := range list {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var err error
		switch one.size, err = st.EncodedObjectSize(one.hash); {
		case errors.Is(err, plumbing.ErrObjectNotFound): // it was pruned
		case err != nil:
			broken = cmp.Or(broken, fmt.Errorf("object %s: %w", one.hash, err))
		case one.size <= c.batch:
			fit = append(fit, one)
		}
	}
	return fit, broken
}

// first returns how many of the first objects are packed together.
func (c *compactor) first(list []looseObject) int {
	size := int64(0)
	for n, one := range list {
		if size += one.size; size > c.batch && n > 0 {
			return n
		}
	}
	return len(list)
}

// pack writes a pack of loose objects.
func (c *compactor) pack(list []looseObject) error {
	st := openStorage(c.objects.dir)
	defer st.Close() //nolint:errcheck // it was only read
	hashes := make([]plumbing.Hash, len(list))
	for i, one := range list {
		hashes[i] = one.hash
	}
	f, err := c.temp("tmp_pack_")
	if err != nil {
		return err
	}
	defer f.discard()
	sum, err := packfile.NewEncoder(f, st, false).Encode(hashes, window)
	if err != nil {
		return err
	}
	// What was written is read for the index: nothing is removed for what cannot be.
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	index := &idxfile.Writer{}
	parser, err := packfile.NewParser(packfile.NewScanner(f.File), index)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil {
		return err
	}
	made, err := index.Index()
	if err != nil {
		return err
	}
	for _, h := range hashes {
		if ok, err := made.Contains(h); err != nil || !ok {
			return fmt.Errorf("object %s is not in the pack that was made of it: %w", h, err)
		}
	}
	return c.save(f, sum, made)
}

// part parts the objects that are in a pack, too, from those that are in none.
func (c *compactor) part(all []looseObject) (packed, loose []looseObject, err error) {
	packs, err := c.listPacks()
	if err != nil {
		return nil, nil, err
	}
	loose = slices.Clone(all)
	for _, p := range packs {
		index, err := p.index()
		if errors.Is(err, fs.ErrNotExist) {
			continue // the git program has packed anew
		}
		if err != nil {
			return nil, nil, err
		}
		loose = slices.DeleteFunc(loose, func(one looseObject) bool {
			ok, err := index.Contains(one.hash)
			if ok = ok && err == nil; ok {
				packed = append(packed, one)
			}
			return ok
		})
	}
	return packed, loose, nil
}

// tempFile is a file without a name of its own yet.
type tempFile struct{ *os.File }

func (c *compactor) temp(prefix string) (tempFile, error) {
	f, err := os.CreateTemp(filepath.Join(c.dir, "pack"), prefix)
	return tempFile{f}, err
}

func (f tempFile) discard() {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// last makes what is in the file last.
func (f tempFile) last() error { return errors.Join(f.Chmod(0o444), f.Sync()) }

// place gives the file a name, unless one is called so.
func (f tempFile) place(path string) error {
	err := os.Link(f.Name(), path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return os.Rename(f.Name(), path) // there are no links on this file system
}

// save puts a pack into place: its index first, without which it cannot be used. What
// is called so already has the same in it, and is of a process that has done the same,
// or was killed at it.
func (c *compactor) save(pack tempFile, sum plumbing.Hash, index *idxfile.MemoryIndex) error {
	f, err := c.temp("tmp_idx_")
	if err != nil {
		return err
	}
	defer f.discard()
	if _, err := idxfile.NewEncoder(f).Encode(index); err != nil {
		return err
	}
	if err := errors.Join(f.last(), pack.last()); err != nil {
		return err
	}
	base := filepath.Join(c.dir, "pack", "pack-"+sum.String())
	if err := f.place(base + ".idx"); err != nil {
		return err
	}
	if err := pack.place(base + ".pack"); err != nil {
		return err
	}
	c.alive()
	return syncDir(filepath.Join(c.dir, "pack"))
}
