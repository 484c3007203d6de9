package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ropewalk/ropewalk/message"
)

// Limits of a schema. A remote server sends schemas too, so their cost is
// bounded when they are compiled and when they are used.
const (
	// MaxBytes is far above what people write by hand.
	MaxBytes = 64 << 10
	// MaxDepth bounds the recursion of the compiler.
	MaxDepth = 64
	// maxPattern bounds the program of a regular expression, in instructions:
	// matching takes time in proportion to it.
	maxPattern = 2000
	// maxDigits and maxExponent bound numbers in schemas and bodies. Exact
	// arithmetic on 1e999999 would take a megabyte; a float64 has at most
	// 17 digits and the exponent 308.
	maxDigits   = 400
	maxExponent = 400
)

// Schema is a compiled JSON Schema. It is immutable: all methods may be called
// from any goroutine. Make one with [Compile] or [CompileDerived].
type Schema struct {
	raw  json.RawMessage
	root *jsonschema.Schema
	keys map[*jsonschema.Schema][]string // sorted names of properties

	derived bool  // see CompileDerived
	fast    *fast // nil if the schema cannot be checked fast
}

// Compile compiles a schema, by default of draft 2020-12; $schema may name
// draft-07 or 2019-09. format and contentEncoding are checked, not only noted.
//
// It refuses with an *message.Error ([message.CodeBadMessage]) what is no
// schema, is larger than [MaxBytes] or nested deeper than [MaxDepth], refers to
// another document (nothing is ever loaded), refers to itself without end, has
// a regular expression that Go does not know or that is too large, or uses
// unevaluatedProperties, unevaluatedItems, $dynamicRef, $recursiveRef,
// contentMediaType with a contentSchema.
func Compile(raw json.RawMessage) (*Schema, error) {
	s, err := compile(raw)
	if err != nil {
		var e *message.Error
		if errors.As(err, &e) {
			return nil, e
		}
		e = message.NewError(message.CodeBadMessage, "the JSON Schema cannot be used: "+shorten(err.Error(), maxText),
			"Use a self-contained schema of draft 2020-12.")
		return nil, e
	}
	return s, nil
}

// CompileDerived compiles a schema that [Of] made, for bodies that will be
// decoded into the type by encoding/json. That takes {"Price":-1} for a field
// price, and merges objects of a name that occurs twice, neither of which the
// schema would have checked: both are refused.
func CompileDerived(raw json.RawMessage) (*Schema, error) {
	s, err := Compile(raw)
	if err == nil {
		s.derived = true
		s.fast = speedUp(s.root, true)
	}
	return s, err
}

// Raw is the schema as it was given. Nobody may change it.
func (s *Schema) Raw() json.RawMessage { return s.raw }

// Object reports whether the schema takes objects.
func (s *Schema) Object() bool {
	root := s.root
	for range MaxDepth { // through the forms that are derived from recursive types and pointers to them
		switch {
		case root.Types != nil:
		case root.Ref != nil:
			root = root.Ref
			continue
		case len(root.AnyOf) > 0:
			root = root.AnyOf[0]
			continue
		}
		break
	}
	return root.Types != nil && slices.Contains(root.Types.ToStrings(), "object")
}

const base = "https://schema.invalid/"

func compile(raw json.RawMessage) (s *Schema, err error) {
	defer func() { // the compiler meets schemas of strangers
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("compile: %v", p)
		}
	}()
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("it has more than %d bytes", MaxBytes)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if err := checkDocument(doc, 0); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(compilePattern)
	c.AssertFormat()
	c.AssertContent()
	if err := c.AddResource(base, doc); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	root, err := c.Compile(base)
	if err != nil {
		return nil, readable(err)
	}
	s = &Schema{raw: slices.Clone(raw), root: root, keys: map[*jsonschema.Schema][]string{}}
	if err := s.index(); err != nil {
		return nil, err
	}
	s.fast = speedUp(root, false)
	return s, nil
}

// checkDocument bounds depth and numbers before the compiler sees them.
func checkDocument(v any, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("it is nested deeper than %d levels", MaxDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if err := checkDocument(item, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := checkDocument(item, depth+1); err != nil {
				return err
			}
		}
	case json.Number:
		if !sane(string(v)) {
			return fmt.Errorf("the number %s is out of range", shorten(string(v), 32))
		}
	}
	return nil
}

// noLoader keeps a schema from reading files or the network.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("refers to %s: only references inside the schema are allowed", shorten(url, 128))
}

// pattern is a regular expression with the cost of a match.
type pattern struct {
	*regexp.Regexp

	size int // instructions
}

func compilePattern(text string) (jsonschema.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	if len(prog.Inst) > maxPattern {
		return nil, fmt.Errorf("regular expression: it is too large (%d instructions, at most %d)", len(prog.Inst), maxPattern)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return &pattern{re, len(prog.Inst)}, nil
}

// readable takes the innermost reason out of the compiler's error.
func readable(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var load *jsonschema.LoadURLError
	var verr *jsonschema.ValidationError
	switch {
	case errors.As(err, &load):
		return load.Err
	case errors.As(err, &invalid) && errors.As(invalid.Err, &verr):
		for len(verr.Causes) > 0 {
			verr = verr.Causes[0]
		}
		return fmt.Errorf("at %s: %s", pointer(verr.InstanceLocation), verr.ErrorKind.LocalizedString(printer))
	}
	return errors.New(strings.ReplaceAll(err.Error(), base, ""))
}

// index lists every schema that can be reached, refuses what check does not
// know, and references that come back to the same value.
func (s *Schema) index() error {
	all, seen := []*jsonschema.Schema{s.root}, map[*jsonschema.Schema]bool{s.root: true}
	for i := 0; i < len(all); i++ {
		at := all[i]
		if err := unsupported(at); err != nil {
			return err
		}
		s.keys[at] = slices.Sorted(maps.Keys(at.Properties))
		for _, sub := range append(inPlace(at), inside(at)...) {
			if !seen[sub] {
				seen[sub] = true
				all = append(all, sub)
			}
		}
	}
	state := map[*jsonschema.Schema]int{}
	for _, at := range all {
		if err := findLoop(at, state); err != nil {
			return err
		}
	}
	return nil
}

const (
	entered = iota + 1
	left
)

func findLoop(s *jsonschema.Schema, state map[*jsonschema.Schema]int) error {
	switch state[s] {
	case entered:
		return fmt.Errorf("%s refers to itself without end", where(s))
	case left:
		return nil
	}
	state[s] = entered
	for _, sub := range inPlace(s) {
		if err := findLoop(sub, state); err != nil {
			return err
		}
	}
	state[s] = left
	return nil
}

func where(s *jsonschema.Schema) string {
	_, at, _ := strings.Cut(s.Location, "#")
	if at == "" {
		return "the schema"
	}
	return at
}

func unsupported(s *jsonschema.Schema) error {
	var word string
	switch {
	case s.UnevaluatedProperties != nil:
		word = "unevaluatedProperties"
	case s.UnevaluatedItems != nil:
		word = "unevaluatedItems"
	case s.DynamicRef != nil:
		word = "$dynamicRef"
	case s.RecursiveRef != nil:
		word = "$recursiveRef"
	case s.ContentMediaType != nil && s.ContentSchema != nil:
		word = "contentSchema"
	default:
		return nil
	}
	return fmt.Errorf("%s uses %s, which is not supported", where(s), word)
}

// inPlace lists the schemas that s applies to the value that it is applied to.
func inPlace(s *jsonschema.Schema) []*jsonschema.Schema {
	out := slices.Concat(s.AllOf, s.AnyOf, s.OneOf)
	out = append(out, s.Ref, s.Not, s.If, s.Then, s.Else)
	for _, sub := range s.DependentSchemas {
		out = append(out, sub)
	}
	for _, dep := range s.Dependencies {
		if sub, ok := dep.(*jsonschema.Schema); ok {
			out = append(out, sub)
		}
	}
	return slices.DeleteFunc(out, isNil)
}

// inside lists the schemas that s applies to parts of the value.
func inside(s *jsonschema.Schema) []*jsonschema.Schema {
	out := slices.Clone(s.PrefixItems)
	out = append(out, s.Items2020, s.Contains, s.PropertyNames)
	for _, sub := range s.Properties {
		out = append(out, sub)
	}
	for _, sub := range s.PatternProperties {
		out = append(out, sub)
	}
	for _, v := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch v := v.(type) {
		case *jsonschema.Schema:
			out = append(out, v)
		case []*jsonschema.Schema:
			out = append(out, v...)
		}
	}
	return slices.DeleteFunc(out, isNil)
}

func isNil(s *jsonschema.Schema) bool { return s == nil }
