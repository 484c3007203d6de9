// Package schema derives JSON Schema (draft 2020-12) from Go types and checks
// bodies against a schema, with errors that name the field in plain words.
//
// # What is derived
//
//	bool, string, numbers     their JSON type; bounds for int8 … int32 and unsigned
//	struct                    object; embedded structs and json tags as in encoding/json
//	pointer                   the type or null; the field may be left out
//	slice, array, map         array or object; a slice or map may be null
//	[]byte                    base64 string
//	time.Time                 string, format date-time
//	time.Duration             integer, nanoseconds
//	json.Number               number
//	any, json.RawMessage      anything
//	json.Marshaler            anything, unless it is a [Schemer]
//	encoding.TextMarshaler    string
//
// A field is required unless it is a pointer, has omitempty or omitzero in its
// json tag, or belongs to an embedded pointer. Fields that are filled from the
// address (tags path and query, see package service) are not part of the body.
// Named structs that occur more than once, and recursive ones, are put into
// $defs. Fields that are unknown are allowed.
//
// # The tag
//
// The tag jsonschema holds keywords separated by commas:
//
//	Price int    `json:"price" jsonschema:"minimum=0,description=In cents, with tax."`
//	Size  string `json:"size,omitempty" jsonschema:"enum=s|m|l,default=m"`
//
// minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, minLength,
// maxLength, minItems, maxItems, minProperties, maxProperties take numbers;
// pattern, format and title take text; default takes JSON or, for a string,
// text; enum takes values separated by |; uniqueItems, deprecated, readOnly
// and writeOnly take nothing; required and optional say so for the field.
// A comma in a value is written \, but description takes all that is left.
package schema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Schemer is a type that knows its own schema.
type Schemer interface {
	// JSONSchema returns a JSON Schema. It is called on a zero value, once for
	// each place the type is used in.
	JSONSchema() json.RawMessage
}

var (
	schemerType    = reflect.TypeFor[Schemer]()
	marshalerType  = reflect.TypeFor[json.Marshaler]()
	unmarshalType  = reflect.TypeFor[json.Unmarshaler]()
	textType       = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalsText = reflect.TypeFor[encoding.TextUnmarshaler]()
	timeType       = reflect.TypeFor[time.Time]()
	durationType   = reflect.TypeFor[time.Duration]()
	numberType     = reflect.TypeFor[json.Number]()
	rawType        = reflect.TypeFor[json.RawMessage]()
)

// For returns the schema of T. The error says which field cannot be described
// and why: channels, functions and complex numbers have no JSON.
func For[T any]() (json.RawMessage, error) { return Of(reflect.TypeFor[T]()) }

// Of returns the schema of t; see [For].
func Of(t reflect.Type) (json.RawMessage, error) {
	d := deriver{seen: map[reflect.Type]int{}, names: map[reflect.Type]string{}, taken: map[string]bool{}}
	d.count(t)
	n, err := d.of(t)
	if err != nil {
		return nil, fmt.Errorf("derive schema of %s: %w", t, err)
	}
	if len(d.defs) > 0 {
		n = append(n, member{"$defs", d.defs})
	}
	return n.MarshalJSON()
}

// object is a JSON object whose members keep their order, so that a schema
// lists fields as the Go type does.
type object []member

type member struct {
	key string
	val any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, fmt.Errorf("write %q: %w", m.key, err)
		}
		val, err := json.Marshal(m.val)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", m.key, err)
		}
		out = append(append(append(out, key...), ':'), val...)
	}
	return append(out, '}'), nil
}

func (o object) get(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.val, true
		}
	}
	return nil, false
}

func (o *object) set(key string, val any) {
	for i, m := range *o {
		if m.key == key {
			(*o)[i].val = val
			return
		}
	}
	*o = append(*o, member{key, val})
}

// deriver describes one root type: first it counts how often each named
// struct is used, then it writes those that are used twice into defs.
type deriver struct {
	seen  map[reflect.Type]int
	names map[reflect.Type]string
	taken map[string]bool
	defs  object
}

func (d *deriver) count(t reflect.Type) {
	if leaf(t) {
		return
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		d.count(t.Elem())
	case reflect.Struct:
		if d.seen[t]++; d.seen[t] > 1 {
			return
		}
		for _, f := range fieldsOf(t) {
			d.count(f.typ)
		}
	default:
	}
}

// leaf reports whether t is described without looking into it.
func leaf(t reflect.Type) bool {
	switch {
	case t == timeType, t == durationType, t == numberType, t == rawType:
		return true
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Interface:
		return false
	}
	return is(t, schemerType) || is(t, marshalerType) || is(t, unmarshalType) || is(t, textType) || is(t, unmarshalsText)
}

func is(t, iface reflect.Type) bool {
	return t.Implements(iface) || reflect.PointerTo(t).Implements(iface)
}

// of describes t, with null where encoding/json takes or writes it.
func (d *deriver) of(t reflect.Type) (object, error) {
	if leaf(t) {
		return ofLeaf(t)
	}
	switch k := t.Kind(); k {
	case reflect.Bool:
		return typed("boolean"), nil
	case reflect.String:
		return typed("string"), nil
	case reflect.Float32, reflect.Float64:
		return typed("number"), nil
	case reflect.Interface:
		return object{}, nil
	case reflect.Pointer:
		n, err := d.of(t.Elem())
		return nullable(n), err
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && !leaf(t.Elem()) {
			return nullable(append(typed("string"), member{"contentEncoding", "base64"})), nil
		}
		n, err := d.list(t)
		return nullable(n), err
	case reflect.Array:
		n, err := d.list(t)
		return append(n, member{"minItems", t.Len()}, member{"maxItems", t.Len()}), err
	case reflect.Map:
		return d.dict(t)
	case reflect.Struct:
		return d.structure(t)
	default:
		if k >= reflect.Int && k <= reflect.Uintptr {
			return integer(k), nil
		}
		return nil, fmt.Errorf("%s has no JSON", t)
	}
}

func ofLeaf(t reflect.Type) (object, error) {
	switch {
	case t == timeType:
		return append(typed("string"), member{"format", "date-time"}), nil
	case t == durationType:
		return append(typed("integer"), member{"description", "nanoseconds"}), nil
	case t == numberType:
		return typed("number"), nil
	case t == rawType:
		return object{}, nil
	case is(t, schemerType):
		return ofSchemer(t)
	case is(t, marshalerType), is(t, unmarshalType):
		return object{}, nil
	default:
		return typed("string"), nil
	}
}

// ofSchemer wraps what the type says in allOf, so that other keywords of the
// field can stand beside it whatever its form.
func ofSchemer(t reflect.Type) (object, error) {
	v, ok := reflect.TypeAssert[Schemer](reflect.New(t))
	if !ok {
		return nil, fmt.Errorf("%s is no Schemer", t)
	}
	raw := v.JSONSchema()
	if !json.Valid(raw) {
		return nil, fmt.Errorf("JSONSchema of %s is not JSON", t)
	}
	return object{{"allOf", []json.RawMessage{raw}}}, nil
}

func typed(name string) object { return object{{"type", name}} }

// bounds of the integer types whose range a JSON number easily leaves.
var bounds = map[reflect.Kind][2]int64{
	reflect.Int8: {-1 << 7, 1<<7 - 1}, reflect.Int16: {-1 << 15, 1<<15 - 1}, reflect.Int32: {-1 << 31, 1<<31 - 1},
	reflect.Uint8: {0, 1<<8 - 1}, reflect.Uint16: {0, 1<<16 - 1}, reflect.Uint32: {0, 1<<32 - 1},
}

func integer(k reflect.Kind) object {
	n := typed("integer")
	if b, ok := bounds[k]; ok {
		return append(n, member{"minimum", b[0]}, member{"maximum", b[1]})
	}
	if k >= reflect.Uint {
		n = append(n, member{"minimum", 0})
	}
	return n
}

// nullable allows null beside what n allows.
func nullable(n object) object {
	if len(n) == 0 {
		return n
	}
	switch t, _ := n.get("type"); t := t.(type) {
	case string:
		n.set("type", []string{t, "null"})
		return n
	case []string:
		return n
	}
	return object{{"anyOf", []object{n, typed("null")}}}
}

// notNull takes back what nullable did.
func notNull(n object) object {
	if t, _ := n.get("type"); t != nil {
		if ts, ok := t.([]string); ok {
			n.set("type", ts[0])
		}
		return n
	}
	if alts, ok := n.get("anyOf"); ok {
		if alts, ok := alts.([]object); ok {
			return alts[0]
		}
	}
	return n
}

func (d *deriver) list(t reflect.Type) (object, error) {
	item, err := d.of(t.Elem())
	return object{{"type", "array"}, {"items", item}}, err
}

func (d *deriver) dict(t reflect.Type) (object, error) {
	key := t.Key()
	if k := key.Kind(); k != reflect.String && (k < reflect.Int || k > reflect.Uintptr) && !is(key, textType) {
		return nil, fmt.Errorf("%s cannot be a key in JSON", key)
	}
	elem, err := d.of(t.Elem())
	return nullable(object{{"type", "object"}, {"additionalProperties", elem}}), err
}

func (d *deriver) structure(t reflect.Type) (object, error) {
	if d.seen[t] < 2 || t.Name() == "" {
		return d.fields(t)
	}
	name, known := d.names[t]
	if !known {
		name = d.name(t)
		d.names[t] = name
		at := len(d.defs)
		d.defs = append(d.defs, member{key: name}) // its place; what is inside may add more
		n, err := d.fields(t)
		if err != nil {
			return nil, err
		}
		d.defs[at].val = n
	}
	return object{{"$ref", "#/$defs/" + name}}, nil
}

// name makes a key of $defs: the type's name without packages, and a number
// when two types share it.
func (d *deriver) name(t reflect.Type) string {
	base := t.Name()
	if i := strings.IndexByte(base, '['); i >= 0 { // generic: its arguments carry import paths
		args := base[i+1 : len(base)-1]
		words := []string{base[:i]}
		for arg := range strings.SplitSeq(args, ",") {
			words = append(words, arg[strings.LastIndexAny(arg, "/.")+1:])
		}
		base = strings.Join(words, "_")
	}
	base = strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, base)
	if base = strings.Trim(base, "_"); base == "" { // a name in another script
		base = "type"
	}
	name := base
	for i := 2; d.taken[name]; i++ {
		name = base + strconv.Itoa(i)
	}
	d.taken[name] = true
	return name
}

func (d *deriver) fields(t reflect.Type) (object, error) {
	props, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		n, err := d.of(f.typ)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
		if f.quoted {
			n = typed("string")
		}
		must := f.required
		if f.tag != "" {
			if n, must, err = applyTag(n, f); err != nil {
				return nil, fmt.Errorf("field %s: %w", f.name, err)
			}
		}
		if must {
			required = append(required, f.name)
		}
		props = append(props, member{f.name, n})
	}
	n := typed("object")
	if len(props) > 0 {
		n = append(n, member{"properties", props})
	}
	if len(required) > 0 {
		n = append(n, member{"required", required})
	}
	return n, nil
}
