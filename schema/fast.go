package schema

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// fast is a schema that can say yes while it reads the bytes of a body, without
// taking them apart: most bodies are good, and most schemas use few keywords.
// It never says no. When it is not sure, check looks again, which also finds
// the words for what is wrong.
type fast struct {
	types      typeSet
	props      []fastProp
	required   uint64 // bits of props
	fold       bool   // see Schema.derived
	closed     bool   // no other names
	rest       *fast  // of other names; nil for anything
	items      *fast  // nil for anything
	minItems   int
	maxItems   int
	minLen     int
	maxLen     int
	texts      []string // of an enum; nil for any
	format     *jsonschema.Format
	pattern    *pattern
	min, max   int64
	lower, top bool // min, max are set
}

type fastProp struct {
	name string
	of   *fast
}

// typeSet is a set of JSON types.
type typeSet uint8

const (
	isNull typeSet = 1 << iota
	isBool
	isNumber
	isInteger
	isString
	isArray
	isObject

	isAny = isNull | isBool | isNumber | isInteger | isString | isArray | isObject
)

var typeSets = map[string]typeSet{
	"null": isNull, "boolean": isBool, "number": isNumber | isInteger, "integer": isInteger,
	"string": isString, "array": isArray, "object": isObject,
}

const (
	// unbounded is more than a body can have.
	unbounded = 1 << 40
	// maxFastDepth bounds the recursion; deeper bodies are rare.
	maxFastDepth = 200
	// maxFastMatch is the text times the program of a regular expression that
	// may be matched without counting.
	maxFastMatch = 1 << 14
	// exact is the largest number up to which every whole one is a float64.
	exact = 1 << 53
)

// speeder makes fast schemas. bad says that there is a keyword that only check
// knows; the whole schema is then left to it.
type speeder struct {
	derived bool
	made    map[*jsonschema.Schema]*fast
	bad     bool
}

// speedUp returns nil for a schema that cannot be checked fast.
func speedUp(root *jsonschema.Schema, derived bool) *fast {
	b := speeder{derived: derived, made: map[*jsonschema.Schema]*fast{}}
	if f := b.make(root); !b.bad {
		return f
	}
	return nil
}

func (b *speeder) make(s *jsonschema.Schema) *fast {
	if s == nil || b.bad {
		return nil
	}
	if f := b.made[s]; f != nil {
		return f
	}
	f := &fast{types: isAny, maxItems: unbounded, maxLen: unbounded, fold: b.derived}
	b.made[s] = f
	switch {
	case s.Bool != nil:
		b.bad = !*s.Bool
		return f
	case strange(s):
		b.bad = true
		return f
	case s.Ref != nil || len(s.AnyOf) > 0:
		b.through(f, s)
		return f
	}
	if s.Types != nil {
		f.types = 0
		for _, name := range s.Types.ToStrings() {
			f.types |= typeSets[name]
		}
	}
	f.minItems, f.maxItems = orElse(s.MinItems, 0), orElse(s.MaxItems, unbounded)
	f.minLen, f.maxLen = orElse(s.MinLength, 0), orElse(s.MaxLength, unbounded)
	f.items = b.make(s.Items2020)
	f.format = s.Format
	if s.Pattern != nil {
		f.pattern, _ = s.Pattern.(*pattern)
	}
	b.bounds(f, s)
	b.values(f, s)
	b.names(f, s)
	return f
}

// strange reports whether s has a keyword that only check knows. Schemas of
// older drafts are left to it too.
func strange(s *jsonschema.Schema) bool {
	return s.DraftVersion < 2020 || s.Const != nil || s.Not != nil || len(s.AllOf)+len(s.OneOf) > 0 || s.If != nil ||
		s.MinProperties != nil || s.MaxProperties != nil || s.PropertyNames != nil || s.PatternProperties != nil ||
		s.DependentRequired != nil || s.DependentSchemas != nil || s.UniqueItems || s.Contains != nil || s.PrefixItems != nil ||
		s.ContentEncoding != nil || s.ContentMediaType != nil || s.MultipleOf != nil ||
		s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil
}

// through handles a reference on its own, and one that may be null: the forms
// that are derived from Go types.
func (b *speeder) through(f *fast, s *jsonschema.Schema) {
	target, null := s.Ref, false
	if len(s.AnyOf) == 2 && s.Ref == nil {
		target = s.AnyOf[0]
		null = onlyNull(s.AnyOf[1])
	}
	if target == nil || s.Types != nil || s.Enum != nil || s.Format != nil || s.Pattern != nil || s.Properties != nil ||
		s.Required != nil || s.AdditionalProperties != nil || s.Items2020 != nil || s.MinItems != nil || s.MaxItems != nil ||
		s.MinLength != nil || s.MaxLength != nil || s.Minimum != nil || s.Maximum != nil || len(s.AnyOf) > 0 && !null {
		b.bad = true
		return
	}
	// The target may be the schema that is being made, so it cannot be copied
	// yet: of leads there.
	f.items, f.types = b.make(target), 0
	if null {
		f.types = isNull
	}
	f.texts = through
}

// through marks a fast schema that stands for that in its items, or null.
var through = []string{"\x00"}

func (f *fast) isThrough() bool { return len(f.texts) == 1 && &f.texts[0] == &through[0] }

func onlyNull(s *jsonschema.Schema) bool {
	return s.Types != nil && slices.Equal(s.Types.ToStrings(), []string{"null"}) && !strange(s) && s.Enum == nil && s.Ref == nil && len(s.AnyOf) == 0
}

func orElse(n *int, other int) int {
	if n == nil {
		return other
	}
	return *n
}

func (b *speeder) bounds(f *fast, s *jsonschema.Schema) {
	for _, bound := range []struct {
		have bool
		to   *int64
	}{{s.Minimum != nil, &f.min}, {s.Maximum != nil, &f.max}} {
		if !bound.have {
			continue
		}
		r := s.Minimum
		if bound.to == &f.max {
			r = s.Maximum
		}
		if !r.IsInt() || !r.Num().IsInt64() || r.Num().Int64() > exact || r.Num().Int64() < -exact {
			b.bad = true
			return
		}
		*bound.to = r.Num().Int64()
	}
	f.lower, f.top = s.Minimum != nil, s.Maximum != nil
}

func (b *speeder) values(f *fast, s *jsonschema.Schema) {
	if s.Enum == nil {
		return
	}
	null := false
	f.texts = []string{}
	for _, v := range s.Enum.Values {
		switch v := v.(type) {
		case string:
			f.texts = append(f.texts, v)
		case nil:
			null = true
		default:
			b.bad = true
		}
	}
	f.types &= isString | isNull
	if !null {
		f.types &^= isNull
	}
}

func (b *speeder) names(f *fast, s *jsonschema.Schema) {
	if len(s.Properties) > 64 {
		b.bad = true
		return
	}
	for name, sub := range s.Properties {
		f.props = append(f.props, fastProp{name, b.make(sub)})
	}
	slices.SortFunc(f.props, func(x, y fastProp) int { return strings.Compare(x.name, y.name) })
	for _, name := range s.Required {
		i := slices.IndexFunc(f.props, func(p fastProp) bool { return p.name == name })
		if i < 0 {
			b.bad = true
			return
		}
		f.required |= 1 << i
	}
	switch rest := s.AdditionalProperties.(type) {
	case bool:
		f.closed = !rest
	case *jsonschema.Schema:
		f.rest = b.make(rest)
	}
}

// accepts reports whether the next value surely fits, and steps behind it.
func (f *fast) accepts(r *reader, depth int) bool {
	if depth > maxFastDepth {
		return false
	}
	if f == nil {
		return r.skip()
	}
	for f.isThrough() {
		if f.types&isNull != 0 && r.peek() == 'n' {
			return r.skip()
		}
		f = f.items
		if f == nil {
			return r.skip()
		}
	}
	switch c := r.peek(); c {
	case 'n':
		return f.types&isNull != 0 && r.skip()
	case 't', 'f':
		return f.types&isBool != 0 && r.skip()
	case '"':
		return f.types&isString != 0 && f.acceptsText(r)
	case '[':
		return f.types&isArray != 0 && f.acceptsArray(r, depth)
	case '{':
		return f.types&isObject != 0 && f.acceptsObject(r, depth)
	default:
		return f.types&isInteger != 0 && f.acceptsNumber(r)
	}
}

func (f *fast) acceptsText(r *reader) bool {
	raw, plain := r.text()
	if f.texts == nil && f.format == nil && f.pattern == nil && f.minLen == 0 && f.maxLen == unbounded {
		return true
	}
	if !plain || !utf8.Valid(raw) {
		return false
	}
	text := unsafe.String(unsafe.SliceData(raw), len(raw)) // nothing below keeps it
	if f.minLen > 0 || f.maxLen < unbounded {
		if n := utf8.RuneCountInString(text); n < f.minLen || n > f.maxLen {
			return false
		}
	}
	if f.texts != nil && !slices.Contains(f.texts, text) {
		return false
	}
	if f.pattern != nil && (len(text)*f.pattern.size > maxFastMatch || !f.pattern.MatchString(text)) {
		return false
	}
	return f.format == nil || f.format.Validate(text) == nil
}

func (f *fast) acceptsNumber(r *reader) bool {
	n := number(r.number())
	if f.types&isNumber == 0 && strings.ContainsAny(string(n), ".eE") {
		return false
	}
	if !f.lower && !f.top {
		return true
	}
	if v, ok := n.small(); ok {
		return (!f.lower || v >= f.min) && (!f.top || v <= f.max)
	}
	// Rounding keeps the order, so what is beyond a bound after rounding was
	// beyond it before.
	v, err := strconv.ParseFloat(string(n), 64)
	return err == nil && (!f.lower || v > float64(f.min)) && (!f.top || v < float64(f.max))
}

func (f *fast) acceptsArray(r *reader, depth int) bool {
	n := 0
	for more := r.open(']'); more; more = r.more() {
		if n++; n > f.maxItems || !f.items.accepts(r, depth+1) {
			return false
		}
	}
	return n >= f.minItems
}

func (f *fast) acceptsObject(r *reader, depth int) bool {
	var seen uint64
	guess := 0
	for more := r.open('}'); more; more = r.more() {
		name, plain := r.name()
		if !plain {
			return false
		}
		i := f.find(name, guess)
		if i >= 0 {
			if seen&(1<<i) != 0 {
				return false // twice: check knows what to make of it
			}
			seen |= 1 << i
			guess = i + 1
			if !f.props[i].of.accepts(r, depth+1) {
				return false
			}
			continue
		}
		if f.closed || f.fold && f.folds(name) || !f.rest.accepts(r, depth+1) {
			return false
		}
	}
	return bits.OnesCount64(f.required&^seen) == 0
}

// find returns the index of a property, first looking where it should be when
// names come in the order of the alphabet.
func (f *fast) find(name []byte, guess int) int {
	if guess < len(f.props) && f.props[guess].name == string(name) {
		return guess
	}
	for i := range f.props {
		if f.props[i].name == string(name) {
			return i
		}
	}
	return -1
}

func (f *fast) folds(name []byte) bool {
	for i := range f.props {
		if strings.EqualFold(f.props[i].name, unsafe.String(unsafe.SliceData(name), len(name))) {
			return true
		}
	}
	return false
}
