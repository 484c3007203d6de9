package git

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	fdiff "github.com/go-git/go-git/v5/plumbing/format/diff"
	linediff "github.com/go-git/go-git/v5/utils/diff"
	"github.com/sergi/go-diff/diffmatchpatch"
)

// diffTime bounds how long two texts are compared for the smallest difference.
const diffTime = 2 * time.Second

// isText tells whether bytes are a text that can be compared by lines.
func isText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// hunk says that lines from a up to b of a text have become others.
type hunk struct {
	a, b  int
	lines []string
}

// hunks returns what makes to of from.
func hunks(from, to string) []hunk {
	var list []hunk
	at := 0
	open := false
	for _, d := range linediff.DoWithTimeout(from, to, diffTime) {
		lines := splitLines(d.Text)
		if d.Type == diffmatchpatch.DiffEqual {
			at += len(lines)
			open = false
			continue
		}
		if !open {
			list = append(list, hunk{a: at, b: at})
			open = true
		}
		h := &list[len(list)-1]
		if d.Type == diffmatchpatch.DiffDelete {
			at += len(lines)
			h.b = at
		} else {
			h.lines = append(h.lines, lines...)
		}
	}
	return list
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// mergeText merges what two sides have changed in a text. It reports false if
// both have changed the same lines, or lines side by side, in different ways.
func mergeText(base, ours, theirs string) (string, bool) {
	lines := splitLines(base)
	a, b := hunks(base, ours), hunks(base, theirs)
	var out strings.Builder
	at := 0
	keep := func(to int) {
		for ; at < to; at++ {
			out.WriteString(lines[at])
		}
	}
	take := func(h hunk) {
		keep(h.a)
		for _, line := range h.lines {
			out.WriteString(line)
		}
		at = h.b
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].b < b[0].a:
			take(a[0])
			a = a[1:]
		case len(a) == 0 || b[0].b < a[0].a:
			take(b[0])
			b = b[1:]
		case same(a[0], b[0]):
			take(a[0])
			a, b = a[1:], b[1:]
		default:
			return "", false
		}
	}
	keep(len(lines))
	return out.String(), true
}

func same(a, b hunk) bool {
	return a.a == b.a && a.b == b.b && strings.Join(a.lines, "") == strings.Join(b.lines, "")
}

// unified returns the difference of two versions of a file as "git diff" prints
// it.
func unified(at string, from, to leaf, before, after []byte) (string, error) {
	p := &filePatch{binary: !isText(before) || !isText(after)}
	if isFile(from.mode) {
		p.from = &patchFile{from, at}
	}
	if isFile(to.mode) {
		p.to = &patchFile{to, at}
	}
	if !p.binary {
		for _, d := range linediff.DoWithTimeout(string(before), string(after), diffTime) {
			p.chunks = append(p.chunks, chunk{d})
		}
	}
	const context = 3
	var out bytes.Buffer
	err := fdiff.NewUnifiedEncoder(&out, context).Encode(p)
	return out.String(), err
}

// filePatch is the form in which the library takes a difference.
type filePatch struct {
	from, to *patchFile
	binary   bool
	chunks   []fdiff.Chunk
}

// FilePatches implements diff.Patch.
func (p *filePatch) FilePatches() []fdiff.FilePatch { return []fdiff.FilePatch{p} }

// Message implements diff.Patch.
func (p *filePatch) Message() string { return "" }

// IsBinary implements diff.FilePatch.
func (p *filePatch) IsBinary() bool { return p.binary }

// Files implements diff.FilePatch.
func (p *filePatch) Files() (from, to fdiff.File) {
	if p.from != nil {
		from = p.from
	}
	if p.to != nil {
		to = p.to
	}
	return from, to
}

// Chunks implements diff.FilePatch.
func (p *filePatch) Chunks() []fdiff.Chunk { return p.chunks }

type patchFile struct {
	leaf leaf
	path string
}

// Hash implements diff.File.
func (f *patchFile) Hash() plumbing.Hash { return f.leaf.hash }

// Mode implements diff.File.
func (f *patchFile) Mode() filemode.FileMode { return f.leaf.mode }

// Path implements diff.File.
func (f *patchFile) Path() string { return f.path }

type chunk struct{ d diffmatchpatch.Diff }

// Content implements diff.Chunk.
func (c chunk) Content() string { return c.d.Text }

// Type implements diff.Chunk.
func (c chunk) Type() fdiff.Operation {
	switch c.d.Type {
	case diffmatchpatch.DiffDelete:
		return fdiff.Delete
	case diffmatchpatch.DiffInsert:
		return fdiff.Add
	default:
		return fdiff.Equal
	}
}
