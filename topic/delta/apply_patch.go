package delta

import (
	"slices"
	"strings"
)

// ApplyPatch applies a JSON Patch as RFC 6902 says, with all six operations: all
// or none. The error wraps [ErrInvalid] or [ErrMismatch], the latter also if a
// test fails. A patch whose result is beyond all measure, which copy can make
// from a few bytes, is refused.
func ApplyPatch(content, patch []byte) ([]byte, error) {
	p, err := parse(patch)
	if err != nil {
		return nil, err
	}
	defer p.free()
	t, err := parse(content)
	if err != nil {
		return nil, err
	}
	defer t.free()
	if p.nodes[0].kind != array {
		return nil, invalidf("a JSON Patch is an array")
	}
	w := worker{root: t.tree(0), p: p, limit: len(content) + len(patch) + copyRoom, work: maxWork}
	for op := int32(1); op < p.nodes[0].next; op = p.nodes[op].next {
		if err := w.op(op); err != nil {
			return nil, err
		}
	}
	dst, ok := w.root.appendTo(make([]byte, 0, len(content)+len(patch)), 0, w.limit)
	if !ok {
		return nil, invalidf("the result is too large or nested too deeply")
	}
	return dst, nil
}

const (
	// copyRoom is how much larger than content and patch the result may be.
	copyRoom = 4 << 20
	// maxWork bounds what a patch has done: about a second.
	maxWork = 1 << 28
)

// worker carries out operations.
type worker struct {
	root    *tree
	p       *doc
	limit   int // of the size of a content
	work    int // that is left: elements moved and bytes copied
	scratch []byte
}

// operation is one of a patch, read.
type operation struct {
	op, path, from string
	hasPath        bool
	hasFrom        bool
	value          int32 // 0 if there is none
}

func (w *worker) read(id int32) (operation, error) {
	var o operation
	if w.p.nodes[id].kind != object {
		return o, invalidf("an operation is an object")
	}
	for k := id + 1; k < w.p.nodes[id].next; k = w.p.after(k) {
		v := k + 1
		isText := w.p.nodes[v].kind == text
		switch name := str(w.p.text8(k)); {
		case name == "op" && isText:
			o.op = str(w.p.text8(v))
		case name == "path" && isText:
			o.path, o.hasPath = str(w.p.text8(v)), true
		case name == "from" && isText:
			o.from, o.hasFrom = str(w.p.text8(v)), true
		case name == "value":
			o.value = v
		}
	}
	needsValue := o.op == "add" || o.op == "replace" || o.op == "test"
	needsFrom := o.op == "move" || o.op == "copy"
	switch {
	case !needsValue && !needsFrom && o.op != "remove":
		return o, invalidf("unknown operation %.40q", o.op)
	case !o.hasPath || needsFrom && !o.hasFrom || needsValue && o.value == 0:
		return o, invalidf("the operation %s has no path, from or value", o.op)
	}
	return o, nil
}

func (w *worker) op(id int32) error {
	o, err := w.read(id)
	if err != nil {
		return err
	}
	switch o.op {
	case "add":
		return w.add(o.path, w.p.tree(o.value))
	case "remove":
		_, err := w.remove(o.path)
		return err
	case "replace":
		return w.replace(o.path, w.p.tree(o.value))
	case "test":
		return w.test(o.path, o.value)
	case "move":
		if o.from == o.path {
			_, err := w.get(o.from)
			return err
		}
		if strings.HasPrefix(o.path, o.from+"/") {
			return invalidf("a value cannot be moved into itself")
		}
		v, err := w.remove(o.from)
		if err != nil {
			return err
		}
		return w.add(o.path, v)
	default:
		v, err := w.get(o.from)
		if err != nil {
			return err
		}
		if v, err = w.clone(v); err != nil {
			return err
		}
		return w.add(o.path, v)
	}
}

func (w *worker) spend(n int) error {
	if w.work -= n; w.work < 0 {
		return invalidf("the patch is too much work")
	}
	return nil
}

// write writes a value to the scratch.
func (w *worker) write(v *tree) ([]byte, error) {
	b, ok := v.appendTo(w.scratch[:0], 0, w.limit)
	w.scratch = b
	if !ok {
		return nil, invalidf("the result is too large or nested too deeply")
	}
	return b, w.spend(len(b))
}

// clone returns a copy of v, which shares nothing with it that can change.
func (w *worker) clone(v *tree) (*tree, error) {
	if !v.open {
		// The bytes count at each place where they are.
		return &tree{d: v.d, id: v.id, kind: v.kind}, w.spend(len(v.d.raw(v.id)))
	}
	b, err := w.write(v)
	if err != nil {
		return nil, err
	}
	d, err := parse(slices.Clone(b))
	if err != nil {
		return nil, err
	}
	// It is left to the garbage collector: the tree refers to it.
	return d.tree(0), nil
}

func (w *worker) test(path string, value int32) error {
	v, err := w.get(path)
	if err != nil {
		return err
	}
	if !v.open {
		if err := w.spend(len(v.d.raw(v.id))); err != nil {
			return err
		}
		if !v.d.equal(v.id, w.p, value, true) {
			return mismatchf("the test of %.80q failed", path)
		}
		return nil
	}
	b, err := w.write(v)
	if err != nil {
		return err
	}
	d, err := parse(b)
	if err != nil {
		return err
	}
	defer d.free()
	if !d.equal(0, w.p, value, true) {
		return mismatchf("the test of %.80q failed", path)
	}
	return nil
}

// split takes a path apart: the value that holds what the path means, and the
// last part of the path.
func (w *worker) split(path string) (holder *tree, last string, err error) {
	if path[0] != '/' {
		return nil, "", invalidf("the path %.80q does not begin with /", path)
	}
	v := w.root
	rest := path[1:]
	for {
		part, more, ok := strings.Cut(rest, "/")
		if part, err = unpoint(part); err != nil {
			return nil, "", err
		}
		if v.kind < array {
			return nil, "", mismatchf("there is no %.80q", path)
		}
		if err := w.spend(1); err != nil {
			return nil, "", err
		}
		v.expand()
		if !ok {
			return v, part, nil
		}
		if v, err = v.child(part, path); err != nil {
			return nil, "", err
		}
		rest = more
	}
}

// unpoint takes back the escapes of a part of a JSON Pointer.
func unpoint(part string) (string, error) {
	i := strings.IndexByte(part, '~')
	if i < 0 {
		return part, nil
	}
	for ; i < len(part); i++ {
		if part[i] == '~' && (i+1 == len(part) || part[i+1] != '0' && part[i+1] != '1') {
			return "", invalidf("the path has a ~ that is neither ~0 nor ~1")
		}
	}
	return strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~"), nil
}

// child returns an element or the value of a member.
func (t *tree) child(part, path string) (*tree, error) {
	if t.kind == object {
		if m := t.find(part); m != nil {
			return m.value, nil
		}
	} else if i, ok := place(part, len(t.elems)-1); ok {
		return t.elems[i], nil
	}
	return nil, mismatchf("there is no %.80q", path)
}

// place reads the number of an element, at most last.
func place(part string, last int) (int, bool) {
	if part == "" || len(part) > 10 || part[0] == '0' && len(part) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(part) {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, n <= last
}

func (w *worker) get(path string) (*tree, error) {
	if path == "" {
		return w.root, nil
	}
	in, last, err := w.split(path)
	if err != nil {
		return nil, err
	}
	return in.child(last, path)
}

func (w *worker) add(path string, v *tree) error {
	if path == "" {
		w.root = v
		return nil
	}
	in, last, err := w.split(path)
	if err != nil {
		return err
	}
	if in.kind == object {
		in.put(last, quoted(last), v)
		return nil
	}
	i, ok := place(last, len(in.elems))
	if last == "-" {
		i, ok = len(in.elems), true
	}
	if !ok {
		return mismatchf("there is no %.80q", path)
	}
	in.insert(i, v)
	return w.spend(len(in.elems) - i)
}

func (w *worker) remove(path string) (*tree, error) {
	if path == "" {
		return nil, mismatchf("the whole content cannot be removed")
	}
	in, last, err := w.split(path)
	if err != nil {
		return nil, err
	}
	v, err := in.child(last, path)
	if err != nil {
		return nil, err
	}
	if in.kind == object {
		in.drop(in.find(last))
		return v, nil
	}
	i, _ := place(last, len(in.elems)-1)
	in.elems = slices.Delete(in.elems, i, i+1)
	return v, w.spend(len(in.elems) - i)
}

func (w *worker) replace(path string, v *tree) error {
	if path == "" {
		w.root = v
		return nil
	}
	in, last, err := w.split(path)
	if err != nil {
		return err
	}
	if _, err := in.child(last, path); err != nil {
		return err
	}
	if in.kind == object {
		in.find(last).value = v
		return nil
	}
	i, _ := place(last, len(in.elems)-1)
	in.elems[i] = v
	return nil
}
