package schema

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func (c *check) object(s *jsonschema.Schema, v map[string]any) bool {
	ok := true
	if s.MinProperties != nil && len(v) < *s.MinProperties {
		ok = c.fail(problem{text: atLeast(*s.MinProperties, "field")})
	}
	if s.MaxProperties != nil && len(v) > *s.MaxProperties {
		ok = c.fail(problem{text: atMost(*s.MaxProperties, "field")})
	}
	ok = c.required(s.Required, v, "") && ok
	for _, name := range c.schema.keys[s] {
		if !ok && c.enough() {
			return false
		}
		if item, have := v[name]; have {
			ok = c.at(token{name, -1}, s.Properties[name], item) && ok
		}
	}
	if s.PatternProperties != nil || s.AdditionalProperties != nil || s.PropertyNames != nil ||
		c.schema.derived && len(s.Properties) > 0 {
		ok = c.names(s, v) && ok
	}
	return c.dependent(s, v) && ok
}

func (c *check) required(names []string, v map[string]any, because string) bool {
	ok := true
	for _, name := range names {
		if _, have := v[name]; !have {
			ok = c.failAt(token{name, -1}, problem{text: "is missing" + because})
			if c.enough() {
				return false
			}
		}
	}
	return ok
}

// names checks what depends on the names that are there. They are taken in
// order when it matters which problem comes first.
func (c *check) names(s *jsonschema.Schema, v map[string]any) bool {
	if !c.spend(len(v)) {
		return false
	}
	ok := true
	each := maps.Keys(v)
	if c.quiet == 0 {
		each = slices.Values(slices.Sorted(each))
	}
	for name := range each {
		if !ok && c.enough() {
			return false
		}
		ok = c.name(s, name, v[name]) && ok
	}
	return ok
}

func (c *check) name(s *jsonschema.Schema, name string, item any) bool {
	ok := true
	if s.PropertyNames != nil && !c.test(s.PropertyNames, name) {
		ok = c.failAt(token{name, -1}, problem{text: "is not allowed as a name"})
	}
	_, known := s.Properties[name]
	for re, sub := range s.PatternProperties {
		if c.matches(re, name) {
			known = true
			ok = c.at(token{name, -1}, sub, item) && ok
		}
	}
	if known {
		return ok
	}
	if c.schema.derived {
		for have := range s.Properties {
			if strings.EqualFold(have, name) {
				return c.failAt(token{name, -1}, problem{text: "is not a known field; write it as " + have})
			}
		}
	}
	switch sub := s.AdditionalProperties.(type) {
	case bool:
		if !sub {
			return c.failAt(token{name, -1}, problem{text: "is not a known field"})
		}
	case *jsonschema.Schema:
		return c.at(token{name, -1}, sub, item) && ok
	}
	return ok
}

func (c *check) dependent(s *jsonschema.Schema, v map[string]any) bool {
	ok := true
	for name, need := range s.DependentRequired {
		if _, have := v[name]; have {
			ok = c.required(need, v, ", which "+name+" needs") && ok
		}
	}
	for name, sub := range s.DependentSchemas {
		if _, have := v[name]; have {
			ok = c.value(sub, v) && ok
		}
	}
	for name, dep := range s.Dependencies {
		if _, have := v[name]; !have {
			continue
		}
		switch dep := dep.(type) {
		case []string:
			ok = c.required(dep, v, ", which "+name+" needs") && ok
		case *jsonschema.Schema:
			ok = c.value(dep, v) && ok
		}
	}
	return ok
}

// equal compares a value of the body with one of the schema, where numbers are
// json.Number.
func (c *check) equal(a, b any) bool {
	if !c.spend(1) {
		return false
	}
	switch a := a.(type) {
	case number:
		n, ok := numberOf(b)
		return ok && sameNumber(a, n)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, c.equal)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, c.equal)
	case string:
		b, ok := b.(string)
		return ok && a == b
	}
	return a == b // null and booleans; b may be a map, which is another type
}

// numberOf returns a number of the schema.
func numberOf(v any) (number, bool) {
	n, ok := v.(json.Number)
	return number(n), ok
}

func sameNumber(a, b number) bool {
	if a == b {
		return true
	}
	r := b.rat()
	return r != nil && sane(string(a)) && a.compare(r) == 0
}

// canonical writes v so that equal values are written alike.
func (c *check) canonical(out *strings.Builder, v any) bool {
	if !c.spend(1) {
		return false
	}
	switch v := v.(type) {
	case nil:
		out.WriteByte('n')
	case bool:
		out.WriteString(strconv.FormatBool(v))
	case string:
		out.WriteString(strconv.Itoa(len(v)))
		out.WriteByte('"')
		out.WriteString(v)
	case number:
		if n, ok := v.small(); ok {
			v = number(strconv.FormatInt(n, 10)) // -0 is 0
		} else if r := v.rat(); r != nil {
			v = number(r.RatString())
		}
		out.WriteString(string(v))
	case []any:
		out.WriteByte('[')
		for _, item := range v {
			if !c.canonical(out, item) {
				return false
			}
			out.WriteByte(',')
		}
		out.WriteByte(']')
	case map[string]any:
		out.WriteByte('{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !c.canonical(out, name) || !c.canonical(out, v[name]) {
				return false
			}
			out.WriteByte(',')
		}
		out.WriteByte('}')
	}
	return true
}

// ratText writes a bound as a person would.
func ratText(r *big.Rat) string {
	if r.IsInt() {
		return shorten(r.Num().String(), 32)
	}
	return strings.TrimRight(r.FloatString(12), "0")
}
