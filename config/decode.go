package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tailscale/hujson"
)

const (
	// maxProblems is when a decoder stops to collect: somebody who has made
	// more mistakes than that has given the wrong file.
	maxProblems = 20
	// maxDepth bounds the nesting of a file. No struct is nested that deep, and
	// the parser recurses.
	maxDepth = 100
)

// decoder fills values from the text of one file or variable.
type decoder struct {
	name     string // of the file or variable
	variable bool   // it is a variable: places within are of no use
	secret   bool   // problems must not show values
	paths    string // what texts are: the tag of the field
	text     []byte
	origins  map[string]string
	problems []Problem
}

// decode reads text, which is one value, into rv; path is where that is.
func (d *decoder) decode(text []byte, path string, rv reflect.Value) {
	d.text = text
	if !utf8.Valid(text) {
		d.problems = append(d.problems, Problem{File: d.name, Message: "the text is not UTF-8", Hint: "Save the file as UTF-8."})
		return
	}
	if at := tooDeep(text); at >= 0 {
		d.report(at, path, fmt.Sprintf("more than %d brackets within each other", maxDepth), "")
		return
	}
	// A comment may be the last line; the parser wants it to end.
	v, err := hujson.Parse(append(slices.Clip(text), '\n'))
	if err != nil {
		d.syntax(err, path)
		return
	}
	d.value(path, &v, rv)
}

// tooDeep returns the place of the first bracket that is nested too deep, or
// -1. Brackets in strings and comments may be counted; nobody has 100 of those.
func tooDeep(text []byte) int {
	depth := 0
	for i, c := range text {
		switch c {
		case '{', '[':
			if depth++; depth > maxDepth {
				return i
			}
		case '}', ']':
			depth--
		}
	}
	return -1
}

// syntax reports an error of the parser, which begins with the place.
func (d *decoder) syntax(err error, path string) {
	p := Problem{File: d.name, Path: path, Hint: "JSON with comments is expected: look for a missing comma, quote or bracket just before this place."}
	if inner := errors.Unwrap(err); inner != nil {
		p.Message = inner.Error()
	} else {
		p.Message = err.Error()
	}
	p.Message = strings.ReplaceAll(p.Message, "unexpected EOF", "the text ends too early")
	if d.secret {
		p.Message = unreadable // the parser quotes the text
	}
	if !d.variable {
		_, _ = fmt.Sscanf(err.Error(), "hujson: line %d, column %d:", &p.Line, &p.Column)
		if line, column := position(d.text, len(d.text)); p.Line > line {
			p.Line, p.Column = line, column // in the line break that was added
		}
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) report(offset int, path, text, hint string) {
	if len(d.problems) >= maxProblems {
		return
	}
	p := Problem{File: d.name, Path: path, Message: text, Hint: hint}
	if !d.variable {
		p.Line, p.Column = position(d.text, offset)
	}
	d.problems = append(d.problems, p)
}

// position turns an offset into a line and a column, both from 1.
func position(text []byte, offset int) (line, column int) {
	before := string(text[:min(offset, len(text))])
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

func (d *decoder) note(path string, offset int) {
	if path == "" {
		return
	}
	if d.variable {
		d.origins[path] = d.name
		return
	}
	line, column := position(d.text, offset)
	d.origins[path] = fmt.Sprintf("%s:%d:%d", d.name, line, column)
}

// value reads v into rv. null leaves what is there, as if v had not been given.
func (d *decoder) value(path string, v *hujson.Value, rv reflect.Value) {
	if lit, ok := v.Value.(hujson.Literal); ok && lit.Kind() == 'n' {
		return
	}
	if rv.Kind() == reflect.Pointer {
		to := reflect.New(rv.Type().Elem())
		d.value(path, v, to.Elem())
		rv.Set(to)
		return
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](rv.Addr()); ok {
		d.note(path, v.StartOffset)
		d.unmarshal(path, v, u)
		return
	}
	switch rv.Kind() {
	case reflect.Struct:
		d.object(path, v, rv)
	case reflect.Map:
		d.mapping(path, v, rv)
	case reflect.Slice:
		d.list(path, v, rv)
	case reflect.Interface:
		d.note(path, v.StartOffset)
		d.anything(path, v, rv)
	default:
		d.note(path, v.StartOffset)
		d.scalar(path, v, rv)
	}
}

func (d *decoder) unmarshal(path string, v *hujson.Value, u encoding.TextUnmarshaler) {
	lit, ok := v.Value.(hujson.Literal)
	if !ok || lit.Kind() != '"' {
		d.mismatch(path, v, reflect.TypeOf(u).Elem())
		return
	}
	if err := u.UnmarshalText([]byte(lit.String())); err != nil {
		d.bad(v, path, err)
	}
}

// bad reports a value that cannot be read, in words that may show it.
func (d *decoder) bad(v *hujson.Value, path string, err error) {
	text := err.Error()
	if d.secret {
		text = unreadable
	}
	d.report(v.StartOffset, path, text, "")
}

// unreadable is said of values that are not shown.
const unreadable = "the value, which is not shown because it is secret, cannot be read"

func (d *decoder) object(path string, v *hujson.Value, rv reflect.Value) {
	obj, ok := v.Value.(*hujson.Object)
	if !ok {
		d.mismatch(path, v, rv.Type())
		return
	}
	fields := fieldsOf(rv.Type())
	seen := make(map[string]bool, len(obj.Members))
	for i := range obj.Members {
		m := &obj.Members[i]
		name := nameOf(m)
		if d.repeated(path, m, name, seen) {
			continue
		}
		f, ok := fields[name]
		if !ok {
			d.unknown(path, m, name, rv.Type())
			continue
		}
		secret, paths := d.secret, d.paths
		d.secret, d.paths = secret || f.secret, f.path
		d.value(join(path, name), &m.Value, rv.FieldByIndex(f.index))
		d.secret, d.paths = secret, paths
	}
}

func (d *decoder) unknown(path string, m *hujson.ObjectMember, name string, t reflect.Type) {
	names := namesOf(t)
	hint := "There is " + strings.Join(names, ", ") + "."
	if s := suggest(name, names); s != "" {
		hint = fmt.Sprintf("Did you mean %q?", s)
	}
	d.report(m.Name.StartOffset, join(path, name), "there is no such field", hint)
}

func (d *decoder) repeated(path string, m *hujson.ObjectMember, name string, seen map[string]bool) bool {
	if seen[name] {
		d.report(m.Name.StartOffset, join(path, name), "this is given twice", "Remove one of the two.")
		return true
	}
	seen[name] = true
	return false
}

// mapping adds to the map that is there.
func (d *decoder) mapping(path string, v *hujson.Value, rv reflect.Value) {
	obj, ok := v.Value.(*hujson.Object)
	if !ok || rv.Type().Key().Kind() != reflect.String {
		d.mismatch(path, v, rv.Type())
		return
	}
	d.note(path, v.StartOffset)
	if rv.IsNil() {
		rv.Set(reflect.MakeMapWithSize(rv.Type(), len(obj.Members)))
	}
	seen := make(map[string]bool, len(obj.Members))
	for i := range obj.Members {
		m := &obj.Members[i]
		name := nameOf(m)
		if d.repeated(path, m, name, seen) {
			continue
		}
		key := reflect.ValueOf(name).Convert(rv.Type().Key())
		elem := reflect.New(rv.Type().Elem()).Elem()
		if old := rv.MapIndex(key); old.IsValid() {
			elem.Set(old)
		}
		d.value(join(path, name), &m.Value, elem)
		rv.SetMapIndex(key, elem)
	}
}

// list replaces the list that is there.
func (d *decoder) list(path string, v *hujson.Value, rv reflect.Value) {
	arr, ok := v.Value.(*hujson.Array)
	if !ok {
		d.mismatch(path, v, rv.Type())
		return
	}
	d.note(path, v.StartOffset)
	rv.Set(reflect.MakeSlice(rv.Type(), len(arr.Elements), len(arr.Elements)))
	for i := range arr.Elements {
		d.value(path+"["+strconv.Itoa(i)+"]", &arr.Elements[i], rv.Index(i))
	}
}

// anything reads a value whose form only its user knows.
func (d *decoder) anything(path string, v *hujson.Value, rv reflect.Value) {
	c := v.Clone()
	c.Standardize()
	if err := json.Unmarshal(c.Pack(), rv.Addr().Interface()); err != nil {
		d.bad(v, path, err)
	}
}

func (d *decoder) scalar(path string, v *hujson.Value, rv reflect.Value) {
	lit, ok := v.Value.(hujson.Literal)
	if !ok {
		d.mismatch(path, v, rv.Type())
		return
	}
	switch kind := lit.Kind(); {
	case rv.Kind() == reflect.String && kind == '"':
		rv.SetString(d.below(lit.String()))
	case rv.Kind() == reflect.Bool && (kind == 't' || kind == 'f'):
		rv.SetBool(lit.Bool())
	case numeric(rv.Kind()) && kind == '0':
		if err := setNumber(rv, string(lit)); err != nil {
			d.bad(v, path, err)
		}
	default:
		d.mismatch(path, v, rv.Type())
	}
}

// pathTag marks the fields that hold paths.
const pathTag = "path"

// below takes a relative path of a file as relative to its directory.
func (d *decoder) below(text string) string {
	name, _, _ := strings.Cut(text, "?")
	switch {
	case d.paths == "" || d.variable || text == "" || filepath.IsAbs(text):
		return text
	case d.paths == "dsn" && strings.ContainsAny(name, ":="):
		return text
	default:
		return filepath.Join(filepath.Dir(d.name), text)
	}
}

// mismatch reports a value of the wrong type.
func (d *decoder) mismatch(path string, v *hujson.Value, t reflect.Type) {
	want, example := describe(t)
	hint := ""
	if example != "" {
		hint = "Write it like " + example + "."
	}
	is := given(v)
	if lit, ok := v.Value.(hujson.Literal); ok && d.secret && (lit.Kind() == '"' || lit.Kind() == '0') {
		is = "something else, which is not shown because it is secret"
	}
	d.report(v.StartOffset, path, fmt.Sprintf("%s is expected, this is %s", want, is), hint)
}

// given describes a value of the file.
func given(v *hujson.Value) string {
	switch x := v.Value.(type) {
	case *hujson.Object:
		return "an object"
	case *hujson.Array:
		return "a list"
	case hujson.Literal:
		switch x.Kind() {
		case '"':
			return fmt.Sprintf("the text %.40q", x.String())
		case '0':
			return fmt.Sprintf("the number %.40s", string(x))
		default:
			return string(x)
		}
	}
	return "something else"
}

func nameOf(m *hujson.ObjectMember) string {
	lit, _ := m.Name.Value.(hujson.Literal) // the parser takes nothing else
	return lit.String()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
