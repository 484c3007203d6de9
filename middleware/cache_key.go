package middleware

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// maxKeyParts is how many parts a key may have: all that a call consists of.
const maxKeyParts = 32

// cacheKey says what calls must have in common to get the same answer.
type cacheKey struct {
	parts  []keyPart
	public bool
	claims []string // nil: all
}

// keyPart is one part of a key.
type keyPart struct {
	kind string
	name string
	path []string // of body:name.name
}

// partKinds are the kinds of parts, and whether they need a name, may have one
// or have none.
var partKinds = map[string]string{
	"path": "", "query": "may", "param": "must", "body": "may", "header": "must", "session": "", "claim": "must",
}

func parseKey(r CacheRoute) (cacheKey, *message.Error) {
	k := cacheKey{public: r.Public, claims: r.Claims}
	words := r.Key
	if len(words) == 0 {
		words = []string{"path", "query", "body"}
	}
	if len(words) > maxKeyParts {
		return k, invalid("key", fmt.Sprintf("the key has more than %d parts", maxKeyParts), "Use body or query for all of their fields.")
	}
	for _, w := range words {
		kind, name, named := strings.Cut(w, ":")
		need, known := partKinds[kind]
		if !known || named != (name != "") || need == "must" && !named || need == "" && named {
			return k, invalid("key", fmt.Sprintf("a key has no part %q", w),
				"Use path, query, query:name, param:name, body, body:name.name, header:name, session or claim:name.")
		}
		p := keyPart{kind: kind, name: name}
		if kind == "body" && named {
			p.path = strings.Split(name, ".")
		}
		k.parts = append(k.parts, p)
	}
	if r.Public && len(r.Claims) > 0 {
		return k, invalid("claims", "a public route does not depend on claims", "Take public or claims out.")
	}
	return k, nil
}

// text appends a text so that no other list of texts gives the same bytes.
func text[T ~string | ~[]byte](b []byte, t T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(t))), t...)
}

// of returns the key of a call. ok is false for a call whose answer may not be
// kept.
func (k *cacheKey) of(req *route.Request) (id digest, ok bool) {
	var room [512]byte
	a, m := &req.Address, &req.Message
	b := text(room[:0], req.Route)
	for _, t := range []string{a.Method, a.Instance, a.Sub} {
		b = text(b, t)
	}
	b = text(b, m.Strategy) // servers of another version may answer otherwise
	b = text(b, m.ContentType)
	if to := req.Match().Endpoints; len(to) == 1 {
		b = text(b, to[0].ID()) // each server of a gather is asked for itself
	}
	for i := range k.parts {
		if b, ok = k.parts[i].appendTo(b, req); !ok {
			return id, false
		}
	}
	if !k.public {
		if b, ok = k.who(b, req); !ok {
			return id, false
		}
	}
	return sha256.Sum256(b), true
}

// who appends who calls, and what is known of them.
func (k *cacheKey) who(b []byte, req *route.Request) ([]byte, bool) {
	s := req.Session()
	switch {
	case s.Authenticated():
		b = text(text(text(b, "user"), s.Issuer), s.Subject)
	case !s.Anonymous():
		b = text(text(text(b, "session"), s.ID), req.Message.Authorization)
	default:
		return text(text(b, "token"), req.Message.Authorization), true
	}
	if k.claims != nil {
		for _, name := range k.claims {
			var ok bool
			if b, ok = claim(b, s, name); !ok {
				return b, false
			}
		}
		return b, true
	}
	for _, c := range [...]session.Claims{s.Public, s.Secret} {
		if len(c) == 0 {
			b = text(b, "")
			continue
		}
		j, err := json.Marshal(c) // in the order of names
		if err != nil {
			return b, false
		}
		b = text(b, j)
	}
	return b, true
}

func claim(b []byte, s *session.Session, name string) ([]byte, bool) {
	v, there := s.Claim(name)
	if !there {
		return text(b, ""), true
	}
	j, err := json.Marshal(v)
	return text(b, j), err == nil
}

func (p *keyPart) appendTo(b []byte, req *route.Request) ([]byte, bool) {
	b = append(b, p.kind[0], p.kind[1])
	switch p.kind {
	case "path":
		return text(b, req.Address.Path), true
	case "param":
		return text(b, req.Param(p.name)), true
	case "header":
		return text(b, req.Message.Header(p.name)), true
	case "session":
		return text(b, req.Session().ID), true
	case "claim":
		return claim(b, req.Session(), p.name)
	case "query":
		return p.query(b, req.Address.Query)
	}
	if p.name == "" {
		sum := sha256.Sum256(req.Message.Body)
		return text(b, sum[:]), true
	}
	if req.Message.ContentType != nil {
		return b, false
	}
	raw, ok := field(req.Message.Body, p.path)
	return text(b, raw), ok
}

func (p *keyPart) query(b []byte, query string) ([]byte, bool) {
	if p.name == "" {
		return text(b, query), true
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return b, false
	}
	b = binary.AppendUvarint(b, uint64(len(values[p.name])))
	for _, v := range values[p.name] {
		b = text(b, v)
	}
	return b, true
}

// field returns the field of a JSON object, nil if it is not there. ok is false
// if there is no such object, or readers may disagree on which field it is:
// names that differ in no more than case are the same to some, and of two that
// are the same some take the first.
func field(body []byte, path []string) (raw []byte, ok bool) {
	for _, name := range path {
		var found [][]byte
		d := json.NewDecoder(bytes.NewReader(body))
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return nil, false
		}
		for d.More() {
			key, err := d.Token()
			var v json.RawMessage
			if err != nil || d.Decode(&v) != nil {
				return nil, false
			}
			if s, _ := key.(string); strings.EqualFold(s, name) {
				found = append(found, v)
			}
		}
		if _, err := d.Token(); err != nil || len(found) > 1 {
			return nil, false
		}
		if len(found) == 0 {
			return nil, true
		}
		body = found[0]
	}
	return slices.Clone(body), true
}

// pathOf is the address of a call as the store knows it.
func pathOf(req *route.Request) string {
	return req.Address.Name + ":" + bare(req.Address.Path)
}
