package schema

import (
	"reflect"
	"slices"
	"strings"
)

// field is a struct field as encoding/json sees it.
type field struct {
	name     string
	typ      reflect.Type
	tag      string // jsonschema
	required bool
	quoted   bool // json:",string"

	depth int
	named bool // has a name in its json tag, which wins over those that have none
}

// fieldsOf lists the fields of t that take part in JSON, in order, by the
// rules of encoding/json: of several with one name the shallowest, of those
// the one with a tag, else none.
func fieldsOf(t reflect.Type) []field {
	all := collect(t, 0, false, nil)
	out := all[:0:0]
	for i, f := range all {
		if wins(all, i) {
			out = append(out, f)
		}
	}
	return out
}

func wins(all []field, i int) bool {
	f := all[i]
	for j, other := range all {
		if j == i || other.name != f.name {
			continue
		}
		if other.depth < f.depth || other.depth == f.depth && (other.named || !f.named) {
			return false
		}
	}
	return true
}

// collect walks t and its embedded structs. path holds the structs on the way
// here: one that embeds itself ends there.
func collect(t reflect.Type, depth int, optional bool, path []reflect.Type) []field {
	if slices.Contains(path, t) {
		return nil
	}
	path = append(path, t)
	var out []field
	for sf := range t.Fields() {
		tag := sf.Tag.Get("json")
		if tag == "-" || !sf.IsExported() && !sf.Anonymous {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if sf.Anonymous && name == "" {
			inner, ptr := sf.Type, sf.Type.Kind() == reflect.Pointer
			if ptr {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && !leaf(inner) {
				out = append(out, collect(inner, depth+1, optional || ptr, path)...)
				continue
			}
		}
		if !sf.IsExported() || name == "" && fromAddress(sf) {
			continue
		}
		f := field{name: name, typ: sf.Type, tag: sf.Tag.Get("jsonschema"), depth: depth, named: name != ""}
		if name == "" {
			f.name = sf.Name
		}
		f.required = !optional && sf.Type.Kind() != reflect.Pointer
		for opt := range strings.SplitSeq(opts, ",") {
			f.quoted = f.quoted || opt == "string" && quotable(sf.Type)
			f.required = f.required && opt != "omitempty" && opt != "omitzero"
		}
		out = append(out, f)
	}
	return out
}

// fromAddress reports whether the field is filled from the path or query of
// the address instead of the body.
func fromAddress(sf reflect.StructField) bool {
	return sf.Tag.Get("path") != "" || sf.Tag.Get("query") != ""
}

// quotable reports whether encoding/json heeds the option string for t.
func quotable(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	k := t.Kind()
	return k == reflect.Bool || k == reflect.String || k >= reflect.Int && k <= reflect.Float64
}
