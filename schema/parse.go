package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"math/big"
	"strings"

	"github.com/ropewalk/ropewalk/message"
)

var errNotJSON = errors.New("it is not JSON, or nested deeper than 512 levels")

// number is a JSON number as it was written.
type number string

// parser turns JSON that is known to be valid, and not too deep for recursion,
// into nil, bool, number, string, []any and map[string]any. It tells what encoding/json does not: which name
// occurred twice.
type parser struct {
	rest  string
	path  []token
	twice []token // the path of a name that occurred twice; nil if none did
}

func parse(body []byte) (v any, twice []token, err error) {
	if !message.ValidJSON(body) {
		return nil, nil, errNotJSON
	}
	p := parser{rest: string(body)}
	v, err = p.value()
	return v, p.twice, err
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *parser) value() (any, error) {
	p.space()
	switch p.rest[0] {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.text()
	case 't':
		p.rest = p.rest[4:]
		return true, nil
	case 'f':
		p.rest = p.rest[5:]
		return false, nil
	case 'n':
		p.rest = p.rest[4:]
		return nil, nil //nolint:nilnil // null
	}
	end := strings.IndexAny(p.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	n := p.rest[:end]
	p.rest = p.rest[end:]
	return number(n), nil
}

// text reads a string. One without escapes is a part of the body.
func (p *parser) text() (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '"':
			s := p.rest[1:i]
			p.rest = p.rest[i+1:]
			return s, nil
		case '\\':
			return p.escaped(i)
		}
	}
	return "", errNotJSON
}

func (p *parser) escaped(i int) (string, error) {
	for ; p.rest[i] != '"'; i++ {
		if p.rest[i] == '\\' {
			i++
		}
	}
	var s string
	if err := json.Unmarshal([]byte(p.rest[:i+1]), &s); err != nil {
		return "", errNotJSON
	}
	p.rest = p.rest[i+1:]
	return s, nil
}

// open steps behind a bracket, and over the closing one if nothing is between.
func (p *parser) open(closing byte) (empty bool) {
	p.rest = p.rest[1:]
	p.space()
	if p.rest[0] != closing {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// more steps over a comma, or the closing bracket.
func (p *parser) more() bool {
	p.space()
	again := p.rest[0] == ','
	p.rest = p.rest[1:]
	return again
}

func (p *parser) array() (any, error) {
	out := []any{}
	if p.open(']') {
		return out, nil
	}
	for {
		p.path = append(p.path, token{index: len(out)})
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		if out = append(out, v); !p.more() {
			return out, nil
		}
	}
}

func (p *parser) object() (any, error) {
	out := map[string]any{}
	if p.open('}') {
		return out, nil
	}
	for {
		p.space()
		key, err := p.text()
		if err != nil {
			return nil, err
		}
		p.path = append(p.path, token{key: key, index: -1})
		if _, have := out[key]; have && p.twice == nil {
			p.twice = append(p.twice, p.path...)
		}
		p.space()
		p.rest = p.rest[1:] // the colon
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		if out[key] = v; !p.more() {
			return out, nil
		}
	}
}

// sane reports whether exact arithmetic on a number is cheap.
func sane(n string) bool {
	if len(n) > maxDigits {
		return false
	}
	i := strings.IndexAny(n, "eE")
	if i < 0 {
		return true
	}
	exp := 0
	for _, c := range strings.TrimLeft(n[i+1:], "+-") {
		if exp = exp*10 + int(c-'0'); exp > maxExponent {
			return false
		}
	}
	return true
}

// rat returns nil for a number that is not sane.
func (n number) rat() *big.Rat {
	if !sane(string(n)) {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	return r
}

// small returns a number that is written as a whole number and fits easily.
func (n number) small() (int64, bool) {
	digits := strings.TrimPrefix(string(n), "-")
	if len(digits) > 18 {
		return 0, false
	}
	var v int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	if len(digits) < len(n) {
		v = -v
	}
	return v, true
}

// integer reports whether the value is whole, as 1.0 and 1e2 are. A number
// that is not sane is not.
func (n number) integer() bool {
	if !strings.ContainsAny(string(n), ".eE") {
		return true
	}
	r := n.rat()
	return r != nil && r.IsInt()
}

// compare returns how n, which is sane, compares to a bound.
func (n number) compare(bound *big.Rat) int {
	if v, small := n.small(); small && bound.IsInt() && bound.Num().IsInt64() {
		return cmp.Compare(v, bound.Num().Int64())
	}
	return n.rat().Cmp(bound)
}
