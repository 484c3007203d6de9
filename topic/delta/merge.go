package delta

// Merge returns the JSON Merge Patch that makes after of before. It is not ok
// if there is none, because a member becomes null or one of the two is no
// object, or if it is not smaller than after. The patch has whole arrays.
func Merge(before, after []byte) (patch []byte, ok bool) {
	o, n, ok := parseBoth(before, after)
	if !ok {
		return nil, false
	}
	defer o.free()
	defer n.free()
	if o.nodes[0].kind != object || n.nodes[0].kind != object {
		return nil, false
	}
	m := merger{o: o, n: n, limit: len(after)}
	if !m.object(0, 0) || len(m.dst) >= len(after) {
		return nil, false
	}
	return m.dst, true
}

// merger writes a merge patch.
type merger struct {
	o, n  *doc
	dst   []byte
	limit int // of dst, beyond which it is not worth it
}

// object writes the change of an object, and reports whether there is one.
func (m *merger) object(a, b int32) bool {
	old := m.o.finder(a)
	m.dst = append(m.dst, '{')
	empty := len(m.dst)
	kept := int32(0)
	for k := b + 1; k < m.n.nodes[b].next; k = m.n.after(k) {
		v := old.find(m.n, k)
		if v != 0 {
			kept++
		}
		if !m.member(v, k, empty) || len(m.dst) >= m.limit {
			return false
		}
	}
	if kept < m.o.nodes[a].n {
		now := m.n.finder(b)
		for k := a + 1; k < m.o.nodes[a].next; k = m.o.after(k) {
			if now.find(m.o, k) == 0 {
				m.key(m.o, k, empty)
				m.dst = append(m.dst, "null"...)
			}
		}
	}
	m.dst = append(m.dst, '}')
	return true
}

func (m *merger) key(d *doc, k int32, empty int) {
	if len(m.dst) > empty {
		m.dst = append(m.dst, ',')
	}
	m.dst = append(append(m.dst, d.raw(k)...), ':')
}

// member writes the change of the member with key k, whose old value is v or
// does not exist if v is 0.
func (m *merger) member(v, k int32, empty int) bool {
	now := &m.n.nodes[k+1]
	if v != 0 && str(m.o.raw(v)) == str(m.n.raw(k+1)) {
		return true
	}
	if v != 0 && now.kind == object && m.o.nodes[v].kind == object {
		start := len(m.dst)
		m.key(m.n, k, empty)
		inner := len(m.dst)
		if !m.object(v, k+1) {
			return false
		}
		if len(m.dst) == inner+len("{}") {
			m.dst = m.dst[:start]
		}
		return true
	}
	if v != 0 && m.o.equal(v, m.n, k+1, false) {
		return true
	}
	if m.n.hasNull(k + 1) {
		return false
	}
	m.key(m.n, k, empty)
	m.dst = append(m.dst, m.n.raw(k+1)...)
	return true
}

// hasNull reports whether a merge patch with this value would remove something:
// it is null, or has one as a member. What is within arrays is kept as it is.
func (d *doc) hasNull(id int32) bool {
	if d.nodes[id].kind == object {
		for k := id + 1; k < d.nodes[id].next; k = d.after(k) {
			if d.hasNull(k + 1) {
				return true
			}
		}
	}
	return d.nodes[id].kind == null
}

// ApplyMerge applies a JSON Merge Patch as RFC 7396 says. The error wraps
// [ErrInvalid].
func ApplyMerge(content, patch []byte) ([]byte, error) {
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
	a := applier{t: t, p: p, dst: make([]byte, 0, len(content)+len(patch))}
	if t.nodes[0].kind != object {
		a.added(0)
	} else {
		a.value(0, 0)
	}
	return a.dst, nil
}

// applier writes what a merge patch p makes of a target t.
type applier struct {
	t, p *doc
	dst  []byte
}

func (a *applier) value(t, p int32) {
	if a.p.nodes[p].kind != object || a.t.nodes[t].kind != object {
		a.added(p)
		return
	}
	a.dst = append(a.dst, '{')
	empty := len(a.dst)
	patch := a.p.finder(p)
	used := int32(0)
	for k := t + 1; k < a.t.nodes[t].next; k = a.t.after(k) {
		v := patch.find(a.t, k)
		if v == 0 {
			a.key(a.t, k, empty)
			a.dst = append(a.dst, a.t.raw(k+1)...)
			continue
		}
		used++
		if a.p.nodes[v].kind != null {
			a.key(a.t, k, empty)
			a.value(k+1, v)
		}
	}
	if used < a.p.nodes[p].n {
		target := a.t.finder(t)
		for k := p + 1; k < a.p.nodes[p].next; k = a.p.after(k) {
			if a.p.nodes[k+1].kind != null && target.find(a.p, k) == 0 {
				a.key(a.p, k, empty)
				a.added(k + 1)
			}
		}
	}
	a.dst = append(a.dst, '}')
}

func (a *applier) key(d *doc, k int32, empty int) {
	if len(a.dst) > empty {
		a.dst = append(a.dst, ',')
	}
	a.dst = append(append(a.dst, d.raw(k)...), ':')
}

// added writes a value of the patch that takes no old one's place.
func (a *applier) added(p int32) {
	if a.p.nodes[p].kind != object {
		a.dst = append(a.dst, a.p.raw(p)...)
		return
	}
	a.dst = append(a.dst, '{')
	empty := len(a.dst)
	for k := p + 1; k < a.p.nodes[p].next; k = a.p.after(k) {
		if a.p.nodes[k+1].kind != null {
			a.key(a.p, k, empty)
			a.added(k + 1)
		}
	}
	a.dst = append(a.dst, '}')
}
