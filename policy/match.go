package policy

import (
	"strings"
	"unicode"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// fit is how far a pattern matches an address.
type fit uint8

const (
	apart fit = iota // it matches nothing of it
	part             // of what the address stands for it matches some, or what it matches is not known
	whole            // it matches all of it
)

// target is an address that is compared with patterns, in one reading.
type target struct {
	message.Address

	session *session.Session
	path    string
	wild    bool // it stands for several addresses
}

// reserved are names of the node itself. No claim can stand for them: a tenant
// that is called so would get hold of the node.
func reserved(name string) bool { return name == "node" || name == "client" || name == wildOne }

// match compares a pattern with an address. A claim that cannot be a segment is
// part of everything: a rule that allows does not match then, and one that
// denies does. One that is missing is apart.
func (p *pattern) match(t *target) fit {
	f := p.name.match(t, t.Name, t.Name == wildOne)
	if p.name.kind > one && f != apart && reserved(t.Name) {
		return apart
	}
	path := t.path
	if path == "" || path[0] != '/' {
		return apart
	}
	rest := strings.TrimSuffix(path, "/")
	for i := 0; f != apart; i++ {
		if rest == "" {
			if i < len(p.path) {
				return apart
			}
			return f
		}
		if i == len(p.path) && p.rest {
			return f
		}
		var seg string
		seg, rest = cutSegment(rest)
		switch {
		case seg == "" || i == len(p.path):
			return apart
		case t.wild && seg == wildRest: // one or more segments
			return part
		}
		f = min(f, p.path[i].match(t, seg, t.wild && isWild(seg)))
	}
	return apart
}

// match compares one segment; wild says that of the address stands for any.
func (s segment) match(t *target, seg string, wild bool) fit {
	switch s.kind {
	case literal:
		return same(s.text, seg, wild)
	case one:
		return whole
	default:
		v, state := s.value(t.session)
		switch state {
		case missing:
			return apart
		case unusable:
			return part
		default:
			return same(v, seg, wild)
		}
	}
}

func same(text, seg string, wild bool) fit {
	switch {
	case wild:
		return part
	case text == seg:
		return whole
	}
	return apart
}

// state is what there is of a value.
type state uint8

const (
	usable state = iota
	missing
	unusable
)

// value returns what a segment stands for in a session.
func (s segment) value(of *session.Session) (string, state) {
	var v any
	switch s.kind {
	case subject:
		v = of.Subject
	default:
		var ok bool
		if v, ok = of.Claim(s.text); !ok {
			return "", missing
		}
	}
	text, ok := v.(string)
	switch {
	case !ok:
		return "", unusable
	case text == "":
		return "", missing
	case !fitsSegment(text):
		return "", unusable
	}
	return text, usable
}

// fitsSegment tells whether a text can be a segment, and can be read in one way
// only.
func fitsSegment(text string) bool {
	return text != "." && text != ".." && !strings.ContainsAny(text, `/\*{}%?`) &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

// isWild tells whether a segment of an address stands for any.
func isWild(seg string) bool {
	return seg == wildOne || seg == wildRest || len(seg) > 1 && seg[0] == '{' && seg[len(seg)-1] == '}'
}

// hasWild tells whether an address stands for several.
func hasWild(a *message.Address) bool {
	if a.Name == wildOne {
		return true
	}
	if strings.IndexByte(a.Path, '*') < 0 && strings.IndexByte(a.Path, '{') < 0 {
		return false
	}
	for seg := range strings.SplitSeq(a.Path, "/") {
		if isWild(seg) {
			return true
		}
	}
	return false
}

// cutSegment takes the first segment off a path that begins with a slash.
func cutSegment(path string) (seg, rest string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// params are the values of the parameters of a pattern that matches.
func (p *pattern) params(t *target) map[string]string {
	var m map[string]string
	rest := strings.TrimSuffix(t.path, "/")
	for i := 0; rest != "" && i < len(p.path); i++ {
		var seg string
		seg, rest = cutSegment(rest)
		if p.path[i].kind == one && p.path[i].text != "" {
			if m == nil {
				m = make(map[string]string)
			}
			m[p.path[i].text] = seg
		}
	}
	if p.rest {
		if m == nil {
			m = make(map[string]string)
		}
		m[wildRest] = strings.TrimPrefix(rest, "/")
	}
	return m
}
