package schema

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of one check.
const (
	// maxProblems is how many problems are collected: enough to correct a form
	// at once, and a body full of errors costs no more than one with ten.
	maxProblems = 10
	// freeSteps and stepsPerByte bound the work of one check. A value takes at
	// least two bytes, so that many schemas may be applied to each on average.
	// Without a bound a schema of a few lines doubles the work at each level.
	freeSteps    = 10_000
	stepsPerByte = 8
	// visitsPerStep is how many visits of a regular expression's instructions
	// count as a step. In the worst case a match visits each at every byte.
	visitsPerStep = 8
	// maxCalls bounds the recursion.
	maxCalls = 10_000
)

// check applies a schema to one body. It interprets what the library compiled
// instead of using its validator, because that one has no bound on time and
// collects every error there is.
type check struct {
	schema *Schema
	steps  int
	calls  int
	gaveUp bool // steps or calls were used up; the result means nothing

	// quiet is above 0 when only the result counts, not what is wrong.
	quiet    int
	path     []token
	problems []problem
}

// token is one step of the path to a value: a key, or an index if that is not
// negative.
type token struct {
	key   string
	index int
}

// spend counts n steps.
func (c *check) spend(n int) bool {
	c.steps -= n
	c.gaveUp = c.gaveUp || c.steps < 0
	return !c.gaveUp
}

// enough reports whether nothing more needs to be found out once something is
// wrong.
func (c *check) enough() bool { return c.quiet > 0 || len(c.problems) >= maxProblems || c.gaveUp }

// test applies s without saying what is wrong.
func (c *check) test(s *jsonschema.Schema, v any) bool {
	c.quiet++
	ok := c.value(s, v)
	c.quiet--
	return ok
}

// at applies s to a part of the value.
func (c *check) at(t token, s *jsonschema.Schema, v any) bool {
	c.path = append(c.path, t)
	ok := c.value(s, v)
	c.path = c.path[:len(c.path)-1]
	return ok
}

// value reports whether v fits s. Unless the check is quiet it also notes what
// is wrong, and finds as much as it can.
func (c *check) value(s *jsonschema.Schema, v any) bool {
	if c.calls++; c.calls > maxCalls {
		c.gaveUp = true
	}
	ok := c.spend(1) && c.apply(s, v)
	c.calls--
	return ok
}

func (c *check) apply(s *jsonschema.Schema, v any) bool {
	if s.Bool != nil {
		return *s.Bool || c.fail(problem{text: "is not allowed"})
	}
	if s.DraftVersion < 2019 && s.Ref != nil { // what stands beside $ref did not count then
		return c.value(s.Ref, v)
	}
	if !c.general(s, v) {
		return false
	}
	ok := s.Ref == nil || c.value(s.Ref, v)
	if !ok && c.enough() {
		return false
	}
	switch v := v.(type) {
	case string:
		ok = c.text(s, v) && ok
	case number:
		ok = c.number(s, v) && ok
	case []any:
		ok = c.array(s, v) && ok
	case map[string]any:
		ok = c.object(s, v) && ok
	}
	if !ok && c.enough() {
		return false
	}
	return c.combined(s, v) && ok
}

// general checks what does not depend on the type of v. When that is wrong
// nothing else is worth saying.
func (c *check) general(s *jsonschema.Schema, v any) bool {
	if s.Types != nil && !s.Types.IsEmpty() && !fitsType(s.Types, v) {
		return c.fail(problem{kind: wrongType, want: s.Types.ToStrings(), got: typeOf(v)})
	}
	if s.Const != nil && !c.equal(v, *s.Const) {
		return c.fail(problem{kind: wrongConst, values: []any{*s.Const}})
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum.Values, func(w any) bool { return c.equal(v, w) }) {
		return c.fail(problem{kind: wrongConst, values: s.Enum.Values})
	}
	if text, ok := v.(string); ok && s.Format != nil && (!c.spend(len(text)/64) || s.Format.Validate(text) != nil) {
		return c.fail(problem{text: formatText(s.Format.Name)})
	}
	return true
}

// typeOf is the name of v's JSON type.
func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "number"
}

// masks of the types, as the library has them behind jsonschema.Types.
var masks = func() map[string]jsonschema.Types {
	out := map[string]jsonschema.Types{}
	for _, name := range []string{"null", "boolean", "string", "array", "object", "number", "integer"} {
		var t jsonschema.Types
		t.Add(name)
		out[name] = t
	}
	return out
}()

func fitsType(types *jsonschema.Types, v any) bool {
	if *types&masks[typeOf(v)] != 0 {
		return true
	}
	n, ok := v.(number)
	return ok && *types&masks["integer"] != 0 && n.integer()
}

func (c *check) text(s *jsonschema.Schema, v string) bool {
	ok := true
	if s.MinLength != nil || s.MaxLength != nil {
		n := utf8.RuneCountInString(v)
		if s.MinLength != nil && n < *s.MinLength {
			ok = c.fail(problem{text: atLeast(*s.MinLength, "character")})
		}
		if s.MaxLength != nil && n > *s.MaxLength {
			ok = c.fail(problem{text: atMost(*s.MaxLength, "character")})
		}
	}
	if s.Pattern != nil && !c.matches(s.Pattern, v) {
		ok = c.fail(problem{text: "must match the pattern " + shorten(s.Pattern.String(), maxText)})
	}
	if s.ContentEncoding != nil && c.spend(len(v)/64) {
		decoded, err := s.ContentEncoding.Decode(v)
		if err != nil {
			return c.fail(problem{text: "must be encoded in " + s.ContentEncoding.Name})
		}
		if s.ContentMediaType != nil && s.ContentMediaType.Validate(decoded) != nil {
			return c.fail(problem{text: "must contain " + s.ContentMediaType.Name})
		}
	} else if s.ContentMediaType != nil && s.ContentMediaType.Validate([]byte(v)) != nil {
		return c.fail(problem{text: "must be " + s.ContentMediaType.Name})
	}
	return ok
}

// matches charges for the size of the expression times that of the text, which
// is what matching may take.
func (c *check) matches(re jsonschema.Regexp, v string) bool {
	if p, ok := re.(*pattern); ok && !c.spend(len(v)*p.size/visitsPerStep) {
		return false
	}
	return re.MatchString(v)
}

func (c *check) number(s *jsonschema.Schema, v number) bool {
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil {
		return true
	}
	if !sane(string(v)) {
		return c.fail(problem{text: "is out of range"})
	}
	ok := true
	if s.Minimum != nil && v.compare(s.Minimum) < 0 {
		ok = c.fail(problem{text: "must be at least " + ratText(s.Minimum)})
	}
	if s.Maximum != nil && v.compare(s.Maximum) > 0 {
		ok = c.fail(problem{text: "must be at most " + ratText(s.Maximum)})
	}
	if s.ExclusiveMinimum != nil && v.compare(s.ExclusiveMinimum) <= 0 {
		ok = c.fail(problem{text: "must be more than " + ratText(s.ExclusiveMinimum)})
	}
	if s.ExclusiveMaximum != nil && v.compare(s.ExclusiveMaximum) >= 0 {
		ok = c.fail(problem{text: "must be less than " + ratText(s.ExclusiveMaximum)})
	}
	if s.MultipleOf != nil {
		if r := v.rat(); !r.Quo(r, s.MultipleOf).IsInt() {
			ok = c.fail(problem{text: "must be a multiple of " + ratText(s.MultipleOf)})
		}
	}
	return ok
}

func (c *check) array(s *jsonschema.Schema, v []any) bool {
	ok := true
	if s.MinItems != nil && len(v) < *s.MinItems {
		ok = c.fail(problem{text: atLeast(*s.MinItems, "item")})
	}
	if s.MaxItems != nil && len(v) > *s.MaxItems {
		ok = c.fail(problem{text: atMost(*s.MaxItems, "item")})
	}
	if s.UniqueItems && len(v) > 1 {
		if i, j := c.duplicate(v); j > 0 {
			ok = c.fail(problem{text: sameItems(i, j)})
		}
	}
	if s.Contains != nil {
		ok = c.contains(s, v) && ok
	}
	for i, item := range v {
		if !ok && c.enough() {
			return false
		}
		sub, allowed := itemSchema(s, i)
		switch {
		case !allowed:
			return c.fail(problem{text: atMost(i, "item")})
		case sub != nil:
			ok = c.at(token{index: i}, sub, item) && ok
		}
	}
	return ok
}

// itemSchema returns what item i has to fit, nil for anything.
func itemSchema(s *jsonschema.Schema, i int) (sub *jsonschema.Schema, allowed bool) {
	if s.DraftVersion >= 2020 {
		if i < len(s.PrefixItems) {
			return s.PrefixItems[i], true
		}
		return s.Items2020, true
	}
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		return items, true
	case []*jsonschema.Schema:
		if i < len(items) {
			return items[i], true
		}
	}
	switch rest := s.AdditionalItems.(type) {
	case bool:
		return nil, rest
	case *jsonschema.Schema:
		return rest, true
	}
	return nil, true
}

func (c *check) contains(s *jsonschema.Schema, v []any) bool {
	n := 0
	for _, item := range v {
		if c.test(s.Contains, item) {
			n++
		}
	}
	least := 1
	if s.MinContains != nil {
		least = *s.MinContains
	}
	switch {
	case n < least:
		return c.fail(problem{text: atLeast(least, "item") + " of a certain form"})
	case s.MaxContains != nil && n > *s.MaxContains:
		return c.fail(problem{text: atMost(*s.MaxContains, "item") + " of a certain form"})
	}
	return true
}

// duplicate finds two equal items.
func (c *check) duplicate(v []any) (first, second int) {
	seen := make(map[string]int, len(v))
	var key strings.Builder
	for i, item := range v {
		key.Reset()
		if !c.canonical(&key, item) {
			return 0, 0
		}
		if j, have := seen[key.String()]; have {
			return j, i
		}
		seen[key.String()] = i
	}
	return 0, 0
}
