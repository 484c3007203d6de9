package service

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// addressField is a field of In that is filled from the address.
type addressField struct {
	index  []int
	name   string
	query  bool
	inBody bool // the body may set it, so it is not cleared
	many   bool
	set    setter
}

// setter parses text into v, of the type it was made for.
type setter func(v reflect.Value, text string) error

// addressFields finds the fields of t, a struct, that have a path or query tag.
func addressFields(t reflect.Type, at []int) ([]addressField, error) {
	var out []addressField
	for sf := range t.Fields() {
		index := append(slices.Clone(at), sf.Index...)
		if sf.Anonymous && sf.Type.Kind() == reflect.Struct {
			inner, err := addressFields(sf.Type, index)
			if err != nil {
				return nil, err
			}
			out = append(out, inner...)
			continue
		}
		path, query := sf.Tag.Get("path"), sf.Tag.Get("query")
		if path == "" && query == "" {
			continue
		}
		f := addressField{index: index, name: path + query, query: query != ""}
		jsonName, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f.inBody = jsonName != "" && jsonName != "-"
		switch {
		case path != "" && query != "":
			return nil, fmt.Errorf("field %s has both a path and a query tag", sf.Name)
		case !sf.IsExported():
			return nil, fmt.Errorf("field %s has a %s tag and is not exported", sf.Name, f.tag())
		case sf.Tag.Get("jsonschema") != "" && !f.inBody:
			return nil, fmt.Errorf("field %s: the tag jsonschema is for fields of the body", sf.Name)
		}
		typ := sf.Type
		if f.query && typ.Kind() == reflect.Slice && !isText(typ) {
			f.many, typ = true, typ.Elem()
		}
		if f.set = setterOf(typ); f.set == nil {
			return nil, fmt.Errorf("field %s: no %s parameter can be a %s", sf.Name, f.tag(), sf.Type)
		}
		out = append(out, f)
	}
	return out, nil
}

func (f *addressField) tag() string {
	if f.query {
		return "query"
	}
	return "path"
}

func (p *plan) bind(pattern route.Pattern) error {
	for _, f := range p.fields {
		if f.query {
			continue
		}
		found := false
		for name := range pattern.Names() {
			found = found || name == f.name
		}
		if !found {
			return fmt.Errorf("the input has a field with the tag path:%q, and the pattern has no {%s}", f.name, f.name)
		}
	}
	return nil
}

// setFields fills the fields of in, an In that may be a pointer to a struct.
func setFields(fields []addressField, req *route.Request, in reflect.Value) error {
	for in.Kind() == reflect.Pointer {
		if in.IsNil() {
			in.Set(reflect.New(in.Type().Elem()))
		}
		in = in.Elem()
	}
	for i := range fields {
		f := &fields[i]
		v := in.FieldByIndex(f.index)
		if !f.inBody {
			v.SetZero() // encoding/json finds a field by its Go name too
		}
		if err := f.fill(v, req); err != nil {
			return err
		}
	}
	return nil
}

func (f *addressField) fill(v reflect.Value, req *route.Request) error {
	if !f.query {
		return f.put(v, req.Param(f.name), "{"+f.name+"}")
	}
	first := true
	for text := range queryValues(req.Address.Query, f.name) {
		if !first && !f.many {
			return badParam(f.name, "?"+f.name, "is given more than once", "Give it once.")
		}
		at := v
		if f.many {
			if first {
				v.SetZero()
			}
			v.Grow(1)
			v.SetLen(v.Len() + 1)
			at = v.Index(v.Len() - 1)
		}
		first = false
		if err := f.put(at, text, "?"+f.name); err != nil {
			return err
		}
	}
	return nil
}

func (f *addressField) put(v reflect.Value, text, path string) error {
	if err := f.set(v, text); err != nil {
		return badParam(f.name, path, err.Error(), "Correct it in the address and call again.")
	}
	return nil
}

func badParam(name, path, what, hint string) error {
	e := message.NewError(message.CodeInvalidInput, name+" "+what, hint)
	e.Path = path
	return e
}

// queryValues iterates over the values of one parameter.
func queryValues(query, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(query, "&") {
			if key, value, _ := strings.Cut(item, "="); key == name && item != "" && !yield(value) {
				return
			}
		}
	}
}

var (
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType = reflect.TypeFor[time.Duration]()
)

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// problem is an error in words that follow the name of the parameter.
type problem string

func (p problem) Error() string { return string(p) }

// setterOf returns nil for a type that cannot be read from text.
func setterOf(t reflect.Type) setter {
	switch {
	case t.Kind() == reflect.Pointer:
		inner := setterOf(t.Elem())
		if inner == nil {
			return nil
		}
		return func(v reflect.Value, text string) error {
			v.Set(reflect.New(t.Elem()))
			return inner(v.Elem(), text)
		}
	case isText(t):
		return setText
	case t == durationType:
		return setDuration
	}
	switch k := t.Kind(); {
	case k == reflect.String:
		return func(v reflect.Value, text string) error { v.SetString(text); return nil }
	case k == reflect.Bool:
		return setBool
	case k >= reflect.Int && k <= reflect.Int64:
		return setInt
	case k >= reflect.Uint && k <= reflect.Uintptr:
		return setUint
	case k == reflect.Float32 || k == reflect.Float64:
		return setFloat
	default:
		return nil
	}
}

func setText(v reflect.Value, text string) error {
	u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	if !ok || u.UnmarshalText([]byte(text)) != nil {
		return problem("is not written as it should be")
	}
	return nil
}

func setDuration(v reflect.Value, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return problem("must be a duration such as 1m30s")
	}
	v.SetInt(int64(d))
	return nil
}

func setBool(v reflect.Value, text string) error {
	if text == "" {
		v.SetBool(true)
		return nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return problem("must be true or false")
	}
	v.SetBool(b)
	return nil
}

func setInt(v reflect.Value, text string) error {
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		return problem("must be a whole number" + rangeWord(err))
	}
	v.SetInt(n)
	return nil
}

func setUint(v reflect.Value, text string) error {
	n, err := strconv.ParseUint(text, 10, v.Type().Bits())
	if err != nil {
		return problem("must be a whole number that is not negative" + rangeWord(err))
	}
	v.SetUint(n)
	return nil
}

func setFloat(v reflect.Value, text string) error {
	n, err := strconv.ParseFloat(text, v.Type().Bits())
	if err != nil || n-n != 0 { // NaN and the infinities are no numbers in JSON either
		return problem("must be a number")
	}
	v.SetFloat(n)
	return nil
}

// rangeWord tells a number that is too large from what is no number.
func rangeWord(err error) string {
	if e, ok := err.(*strconv.NumError); ok && e.Err == strconv.ErrRange { //nolint:errorlint // strconv wraps nothing
		return " of a smaller size"
	}
	return ""
}
