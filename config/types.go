package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// field is one field of a struct that can be configured.
type field struct {
	name   string
	index  []int
	secret bool // nobody may see the value
	path   string
}

// listFields returns the fields of a struct in their order; those of embedded
// structs stand among them.
func listFields(t reflect.Type) []field {
	visible := reflect.VisibleFields(t)
	fields := make([]field, 0, len(visible))
	for _, f := range visible {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || f.Anonymous || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		fields = append(fields, field{name, f.Index, f.Tag.Get(secretTag) == "true", f.Tag.Get(pathTag)})
	}
	return fields
}

// fieldsOf returns the fields by their names.
func fieldsOf(t reflect.Type) map[string]field {
	m := make(map[string]field)
	for _, f := range listFields(t) {
		m[f.name] = f
	}
	return m
}

func namesOf(t reflect.Type) []string {
	fields := listFields(t)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}

func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

func numeric(k reflect.Kind) bool {
	return k >= reflect.Int && k <= reflect.Uint64 || k == reflect.Float32 || k == reflect.Float64
}

// describe says what a type looks like in a file, with an example.
func describe(t reflect.Type) (what, example string) {
	if isText(t) {
		if strings.HasSuffix(t.Name(), "Duration") {
			return "a time", `"30s" or "1h30m"`
		}
		return "a text", `"…"`
	}
	switch k := t.Kind(); {
	case k == reflect.String:
		return "a text", `"…"`
	case k == reflect.Bool:
		return "true or false", ""
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number", "0.5"
	case numeric(k):
		return "a whole number", "100"
	case k == reflect.Slice:
		return "a list", "[…]"
	case k == reflect.Pointer:
		return describe(t.Elem())
	default:
		return "an object", "{…}"
	}
}

// setNumber reads a number into a field, exactly.
func setNumber(rv reflect.Value, text string) error {
	var err error
	switch k := rv.Kind(); {
	case k == reflect.Float32 || k == reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, rv.Type().Bits()); err == nil {
			rv.SetFloat(f)
		}
	case k >= reflect.Uint && k <= reflect.Uint64:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, rv.Type().Bits()); err == nil {
			rv.SetUint(n)
		}
	default:
		var n int64
		if n, err = strconv.ParseInt(text, 10, rv.Type().Bits()); err == nil {
			rv.SetInt(n)
		}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("the number %.40s is too large", text)
	}
	want, _ := describe(rv.Type())
	return fmt.Errorf("%s is expected, this is %.40q", want, text)
}
