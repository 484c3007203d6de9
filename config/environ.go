package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// environ sets what the variables say, in the order of their names, so that
// the result does not depend on that of the environment.
func (s Source) environ(rv reflect.Value, r *Report) []Problem {
	var problems []Problem
	vars := slices.Clone(s.Environ)
	slices.Sort(vars)
	for _, kv := range vars {
		name, text, ok := strings.Cut(kv, "=")
		rest, ours := strings.CutPrefix(name, Prefix)
		if !ok || !ours || slices.Contains(s.Ignore, name) {
			continue
		}
		v := variable{name: name, text: text, origins: r.Origins}
		if !v.set(rv, "", rest) {
			r.Unused = append(r.Unused, name)
		}
		problems = append(problems, v.problems...)
	}
	return problems
}

// Variable returns the name of the variable for the field at path.
func Variable(path string) string {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		parts[i] = snake(p)
	}
	return Prefix + strings.Join(parts, "_")
}

// snake writes connectionsPerIP as CONNECTIONS_PER_IP.
func snake(name string) string {
	var b strings.Builder
	rs := []rune(name)
	for i, r := range rs {
		starts := unicode.IsUpper(r) && i > 0 && unicode.IsLetter(rs[i-1]) &&
			(!unicode.IsUpper(rs[i-1]) || i+1 < len(rs) && unicode.IsLower(rs[i+1]))
		if starts {
			b.WriteByte('_')
		}
		if r == '-' || r == '.' {
			r = '_'
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// variable is one variable of the environment on its way to its field.
type variable struct {
	name, text string
	secret     bool // problems must not show the text
	origins    map[string]string
	problems   []Problem
}

// set finds the field that rest names within rv and reports whether there is
// one. The longest name that fits wins, by exact matches being tried first.
func (v *variable) set(rv reflect.Value, path, rest string) bool {
	if rest == "" {
		v.assign(rv, path)
		return true
	}
	switch {
	case isText(rv.Type()):
		return false
	case rv.Kind() == reflect.Struct:
		return v.inStruct(rv, path, rest)
	case rv.Kind() == reflect.Map:
		return v.inMap(rv, path, rest)
	}
	return false
}

func (v *variable) inStruct(rv reflect.Value, path, rest string) bool {
	fields := listFields(rv.Type())
	for _, f := range fields {
		if snake(f.name) == rest {
			v.secret = v.secret || f.secret
			return v.set(rv.FieldByIndex(f.index), join(path, f.name), "")
		}
	}
	for _, f := range fields {
		outer := v.secret
		v.secret = outer || f.secret
		if deeper, ok := strings.CutPrefix(rest, snake(f.name)+"_"); ok && deeper != "" &&
			v.set(rv.FieldByIndex(f.index), join(path, f.name), deeper) {
			return true
		}
		v.secret = outer
	}
	return false
}

// inMap takes the shortest key after which the rest is a field. A key that is
// in the map already is kept as it is written there; a new one is in lower case.
func (v *variable) inMap(rv reflect.Value, path, rest string) bool {
	if rv.Type().Key().Kind() != reflect.String {
		return false
	}
	for i := 1; i <= len(rest); i++ {
		deeper := strings.TrimPrefix(rest[i:], "_")
		if i < len(rest) && (rest[i] != '_' || deeper == "") {
			continue
		}
		key := existing(rv, rest[:i])
		elem := reflect.New(rv.Type().Elem()).Elem()
		if old := rv.MapIndex(key); old.IsValid() {
			elem.Set(old)
		}
		if v.set(elem, join(path, key.String()), deeper) {
			if rv.IsNil() {
				rv.Set(reflect.MakeMap(rv.Type()))
			}
			rv.SetMapIndex(key, elem)
			return true
		}
	}
	return false
}

// existing returns the key of the map that is written as word in a variable.
func existing(rv reflect.Value, word string) reflect.Value {
	for _, key := range rv.MapKeys() {
		if snake(key.String()) == word {
			return key
		}
	}
	return reflect.ValueOf(strings.ToLower(word)).Convert(rv.Type().Key())
}

// assign sets a field from the text of the variable.
func (v *variable) assign(rv reflect.Value, path string) {
	v.origins[path] = v.name
	if rv.Kind() == reflect.Pointer {
		to := reflect.New(rv.Type().Elem())
		v.assign(to.Elem(), path)
		rv.Set(to)
		return
	}
	var err error
	switch u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](rv.Addr()); {
	case ok:
		err = u.UnmarshalText([]byte(v.text))
	case rv.Kind() == reflect.String:
		rv.SetString(v.text)
	case rv.Kind() == reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(v.text); err != nil {
			err = fmt.Errorf("true or false is expected, this is %.40q", v.text)
		} else {
			rv.SetBool(b)
		}
	case numeric(rv.Kind()):
		err = setNumber(rv, v.text)
	case isWords(rv.Type()) && !strings.HasPrefix(strings.TrimSpace(v.text), "["):
		rv.Set(reflect.ValueOf(words(v.text)).Convert(rv.Type()))
	default:
		d := decoder{name: v.name, variable: true, secret: v.secret, origins: v.origins}
		d.decode([]byte(v.text), path, rv)
		v.problems = append(v.problems, d.problems...)
	}
	if err != nil {
		text := err.Error()
		if v.secret {
			text = unreadable
		}
		v.problems = append(v.problems, Problem{File: v.name, Path: path, Message: text})
	}
}

func isWords(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String && !isText(t.Elem())
}

// words splits a list at its commas.
func words(text string) []string {
	list := []string{}
	for w := range strings.SplitSeq(text, ",") {
		if w = strings.TrimSpace(w); w != "" {
			list = append(list, w)
		}
	}
	return list
}
