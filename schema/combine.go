package schema

import (
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// combined checks the keywords that put schemas together.
func (c *check) combined(s *jsonschema.Schema, v any) bool {
	ok := true
	for _, sub := range s.AllOf {
		if !c.value(sub, v) {
			if ok = false; c.enough() {
				return false
			}
		}
	}
	if s.Not != nil && c.test(s.Not, v) {
		ok = c.fail(problem{text: "has a form that is not allowed"})
	}
	if s.If != nil {
		sub := s.Else
		if c.test(s.If, v) {
			sub = s.Then
		}
		ok = (sub == nil || c.value(sub, v)) && ok
	}
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(sub *jsonschema.Schema) bool { return c.test(sub, v) }) {
		ok = c.noneFits(s.AnyOf, v)
	}
	if len(s.OneOf) > 0 {
		ok = c.oneOf(s, v) && ok
	}
	return ok
}

func (c *check) oneOf(s *jsonschema.Schema, v any) bool {
	fits := 0
	for _, sub := range s.OneOf {
		if c.test(sub, v) {
			if fits++; fits > 1 {
				return c.fail(problem{text: "fits more than one of the allowed forms"})
			}
		}
	}
	return fits == 1 || c.noneFits(s.OneOf, v)
}

// noneFits says what is wrong with a value that fits none of several forms. If
// all but one are clearly not meant, because they are of another type or have
// another constant, as a discriminator does, what is wrong with that one says
// more than that none fits.
func (c *check) noneFits(forms []*jsonschema.Schema, v any) bool {
	if c.quiet > 0 {
		return false
	}
	var meant [][]problem
	var types []string
	before, depth := c.problems, len(c.path)
	for _, form := range forms {
		c.problems = nil
		c.value(form, v)
		switch found := c.problems; {
		case len(found) == 1 && found[0].kind == wrongType && found[0].depth == depth:
			types = append(types, found[0].want...)
		case slices.ContainsFunc(found, func(p problem) bool { return p.kind == wrongConst && p.depth <= depth+1 }):
		default:
			meant = append(meant, found)
		}
	}
	c.problems = before
	switch {
	case len(meant) == 1:
		c.problems = append(c.problems, meant[0][:min(len(meant[0]), maxProblems-len(c.problems))]...)
		return false
	case len(meant) == 0 && len(types) > 0:
		slices.Sort(types)
		return c.fail(problem{kind: wrongType, want: slices.Compact(types), got: typeOf(v)})
	}
	return c.fail(problem{text: "fits none of the allowed forms"})
}
