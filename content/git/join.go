package git

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // it is what packs have
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
)

const (
	packHead = 12 // bytes: "PACK", the version, how many objects
	packTail = sha1.Size
	// maxParts and maxJoined are how many packs, and bytes of them, become one at once.
	maxParts  = 256
	maxJoined = 1 << 29
)

// packed is a pack with its index.
type packed struct {
	base string // path without extension
	size int64
}

// listPacks returns the packs, the smallest first, but those that somebody wants to
// be left as they are.
func (c *compactor) listPacks() ([]packed, error) {
	dir := filepath.Join(c.dir, "pack")
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(files))
	for _, f := range files {
		there[f.Name()] = true
	}
	for _, f := range files {
		sweep(filepath.Join(dir, f.Name()))
		if name, ok := strings.CutSuffix(f.Name(), ".idx"); ok && !there[name+".pack"] && older(filepath.Join(dir, f.Name()), forgotten) {
			_ = os.Remove(filepath.Join(dir, f.Name())) // of a crash, too
		}
	}
	var list []packed
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".pack")
		info, err := f.Info()
		if !ok || err != nil || !there[name+".idx"] || there[name+".keep"] || there[name+".promisor"] || there[name+".mtimes"] {
			continue
		}
		list = append(list, packed{filepath.Join(dir, name), info.Size()})
	}
	slices.SortFunc(list, func(a, b packed) int {
		return cmp.Or(cmp.Compare(a.size, b.size), cmp.Compare(a.base, b.base))
	})
	return list, nil
}

// index returns the index of a pack.
func (p *packed) index() (*idxfile.MemoryIndex, error) {
	f, err := os.Open(p.base + ".idx")
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(f).Decode(index); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(f.Name()), err)
	}
	return index, nil
}

// entries returns what is in a pack.
func (p *packed) entries() ([]*idxfile.Entry, error) {
	index, err := p.index()
	if err != nil {
		return nil, err
	}
	iter, err := index.Entries()
	if err != nil {
		return nil, err
	}
	defer iter.Close() //nolint:errcheck // it was only read
	var all []*idxfile.Entry
	for {
		e, err := iter.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
}

// join makes one pack of small ones. It copies them one after the other: what is in
// a pack refers to what is before it in the same one, by how far that is.
func (c *compactor) join(ctx context.Context, packs []packed) error {
	if c.indexed() {
		return nil // somebody else sees to them
	}
	j := joiner{seen: map[plumbing.Hash]bool{}}
	defer j.close()
	// The largest first: objects only go from a pack to larger ones, so that two
	// processes at once never remove what the other one counts on.
	for _, p := range slices.Backward(packs[:c.few(packs)]) {
		if err := j.take(p); err != nil {
			return err
		}
	}
	gone := j.spare
	switch {
	case len(j.parts) > 1:
		f, err := c.temp("tmp_pack_")
		if err != nil {
			return err
		}
		defer f.discard()
		sum, index, err := j.copy(ctx, f, c.alive)
		if err != nil {
			return err
		}
		if err := c.save(f, sum, index); err != nil {
			return err
		}
		for _, p := range j.parts {
			gone = append(gone, p.packed)
		}
	case len(gone) > 0: // all of them are in one, which has to be whole
		if _, _, err := j.copy(ctx, io.Discard, c.alive); err != nil {
			return err
		}
	default:
		return nil
	}
	give, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer give()
	if c.indexed() {
		return nil
	}
	c.objects.without(gone)
	return nil
}

// indexed tells whether there is an index of many packs, which names them.
func (c *compactor) indexed() bool {
	_, err := os.Stat(filepath.Join(c.dir, "pack", "multi-pack-index"))
	return err == nil
}

// few returns how many of the packs to join: at least as many as bring their number
// down to a half, and all that are small against those together, so a byte is not
// copied often. It takes neither too many files nor too much of the disk at once.
func (c *compactor) few(packs []packed) int {
	sum := int64(0)
	for i, p := range packs {
		if i >= maxParts || sum+p.size > maxJoined || i >= len(packs)-c.packs/2 && p.size > sum {
			return i
		}
		sum += p.size
	}
	return len(packs)
}

// joiner joins packs.
type joiner struct {
	parts []*part
	spare []packed // all of which is in parts, if there is anything in them
	seen  map[plumbing.Hash]bool
}

// part is a pack that becomes part of another.
type part struct {
	packed

	file    *os.File
	head    [packHead]byte
	entries []*idxfile.Entry
}

// take adds a pack, unless an object would be there twice: its index has each once.
func (j *joiner) take(p packed) error {
	entries, err := p.entries()
	if errors.Is(err, os.ErrNotExist) {
		return nil // another process was faster
	}
	if err != nil {
		return err
	}
	twice := 0
	for _, e := range entries {
		if j.seen[e.Hash] {
			twice++
		}
	}
	switch {
	case twice == len(entries):
		j.spare = append(j.spare, p)
		return nil
	case twice > 0:
		return nil
	}
	one := &part{packed: p, entries: entries}
	one.file, err = os.Open(p.base + ".pack")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	j.parts = append(j.parts, one)
	if _, err := io.ReadFull(one.file, one.head[:]); err != nil {
		return err
	}
	if string(one.head[:8]) != "PACK\x00\x00\x00\x02" || int(binary.BigEndian.Uint32(one.head[8:])) != len(entries) {
		j.parts = j.parts[:len(j.parts)-1] // it is of another kind
		return one.file.Close()
	}
	for _, e := range entries {
		j.seen[e.Hash] = true
	}
	return nil
}

func (j *joiner) close() {
	for _, p := range j.parts {
		_ = p.file.Close()
	}
}

// copy writes the packs as one.
func (j *joiner) copy(ctx context.Context, f io.Writer, alive func()) (sum plumbing.Hash, made *idxfile.MemoryIndex, err error) {
	count := uint32(0)
	for _, p := range j.parts {
		count += uint32(len(p.entries)) //nolint:gosec // each was read from 32 bits
	}
	digest := sha1.New() //nolint:gosec // it is what packs have
	w := io.MultiWriter(f, digest)
	index := &idxfile.Writer{}
	if err := index.OnHeader(count); err != nil {
		return sum, nil, err
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)); err != nil {
		return sum, nil, err
	}
	moved := uint64(0) // how far what is in a part is behind where it was
	for _, p := range j.parts {
		alive()
		if err := ctx.Err(); err != nil {
			return sum, nil, err
		}
		n, err := p.copy(w)
		if err != nil {
			return sum, nil, fmt.Errorf("%s.pack: %w", filepath.Base(p.base), err)
		}
		for _, e := range p.entries {
			index.Add(e.Hash, e.Offset+moved, e.CRC32)
		}
		moved += uint64(n) //nolint:gosec // it is not negative
	}
	sum = plumbing.Hash(digest.Sum(nil))
	if _, err := f.Write(sum[:]); err != nil {
		return sum, nil, err
	}
	if err := index.OnFooter(sum); err != nil {
		return sum, nil, err
	}
	made, err = index.Index()
	return sum, made, err
}

// copy copies what is between head and tail, and checks it.
func (p *part) copy(w io.Writer) (int64, error) {
	digest := sha1.New() //nolint:gosec // it is what packs have
	digest.Write(p.head[:])
	n, err := io.Copy(w, io.TeeReader(io.LimitReader(p.file, p.size-packHead-packTail), digest))
	if err != nil {
		return n, err
	}
	tail, err := io.ReadAll(p.file)
	if err == nil && string(tail) != string(digest.Sum(nil)) {
		err = errors.New("its checksum is wrong")
	}
	return n, err
}

// reopen has what was packed meanwhile found at once.
func (o *objects) reopen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.storage.Close()
	o.open()
}

// without removes packs of which all is in another one.
func (o *objects) without(packs []packed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range packs {
		// A pack is none without its index, which therefore goes last.
		for _, ext := range []string{".bitmap", ".rev", ".pack", ".idx"} {
			if err := os.Remove(p.base + ext); err != nil && !errors.Is(err, os.ErrNotExist) {
				break // it is open, on some systems: the next time
			}
		}
	}
	_ = o.storage.Close()
	o.open()
}
