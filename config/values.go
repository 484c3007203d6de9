package config

import (
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// secretTag marks the fields whose values are shown nowhere.
const secretTag = "secret"

// Hidden is shown in place of a secret that was given.
const Hidden = "set, not shown"

// Value is one field of a configuration, as people may see it.
type Value struct {
	// Path of the field, such as "listeners.main.address".
	Path string
	// Value as encoding/json writes it; [Hidden] for a secret. The zero value of
	// its type, or nil for what would be a list or an object, if nothing was
	// given.
	Value any
	// Origin is where it was given; "" for nowhere.
	Origin string
	// Secret says that the value is not shown.
	Secret bool
}

// Values lists the fields of cfg, which is a struct or a pointer to one, in
// their order, those that were not given included. Lists of words are one value;
// lists and maps of objects are one value for each field of each object. Secret
// are the fields that are tagged so; where the type of a value says nothing,
// those whose name says so; and passwords in URLs and connection strings. r may
// be nil.
func Values(cfg any, r *Report) []Value {
	if r == nil {
		r = &Report{}
	}
	l := lister{report: r}
	l.add("", reflect.Indirect(reflect.ValueOf(cfg)), false)
	return l.list
}

type lister struct {
	report *Report
	list   []Value
	open   bool // within a value of which the type says nothing: all of it was given
}

func (l *lister) add(path string, rv reflect.Value, secret bool) {
	defer func(open bool) { l.open = open }(l.open)
	for rv.Kind() == reflect.Pointer || rv.Kind() == reflect.Interface {
		if rv.IsNil() {
			l.leaf(path, nil, true, secret)
			return
		}
		l.open = l.open || rv.Kind() == reflect.Interface
		rv = rv.Elem()
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](rv); ok {
		text, err := m.MarshalText()
		if err != nil {
			text = []byte(err.Error())
		}
		l.leaf(path, string(text), rv.IsZero(), secret)
		return
	}
	switch rv.Kind() {
	case reflect.Struct:
		for _, f := range listFields(rv.Type()) {
			l.add(join(path, f.name), rv.FieldByIndex(f.index), secret || f.secret)
		}
	case reflect.Map:
		l.mapping(path, rv, secret)
	case reflect.Slice:
		l.elements(path, rv, secret)
	default:
		l.leaf(path, rv.Interface(), rv.IsZero(), secret)
	}
}

func (l *lister) mapping(path string, rv reflect.Value, secret bool) {
	if rv.Len() == 0 {
		l.leaf(path, nil, true, secret)
		return
	}
	open := rv.Type().Elem().Kind() == reflect.Interface // only names say what is in it
	keys := slices.SortedFunc(slices.Values(rv.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
	for _, key := range keys {
		l.add(join(path, key.String()), rv.MapIndex(key), secret || open && secretName.MatchString(key.String()))
	}
}

func (l *lister) elements(path string, rv reflect.Value, secret bool) {
	if rv.Len() == 0 {
		l.leaf(path, nil, rv.IsNil(), secret)
		return
	}
	words := make([]any, 0, rv.Len())
	for i := range rv.Len() {
		e := rv.Index(i)
		inner := e
		if e.Kind() == reflect.Interface && !e.IsNil() {
			inner = e.Elem()
		}
		switch inner.Kind() {
		case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
			l.add(path+"["+strconv.Itoa(i)+"]", e, secret)
		case reflect.String:
			words = append(words, Mask(inner.String()))
		default:
			words = append(words, inner.Interface())
		}
	}
	if len(words) > 0 {
		l.leaf(path, words, false, secret)
	}
}

func (l *lister) leaf(path string, v any, zero, secret bool) {
	if s, ok := v.(string); ok {
		v = Mask(s)
	}
	origin, exact := l.report.Origins[path]
	if !exact && (!zero || l.open) {
		origin = l.report.Origin(path)
	}
	if secret && (!zero || origin != "") {
		v = Hidden
	}
	l.list = append(l.list, Value{Path: path, Value: v, Origin: origin, Secret: secret})
}

// secretName is a field whose value is not for other people's eyes.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|authori[sz]ation|api.?key|credential|private`)

var (
	// The last @ ends what is before the host: passwords have been seen that
	// hold one.
	userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s]*@`)
	keyValue = regexp.MustCompile(`(?i)\b(password|passwd|secret|token|api_?key)=('(?:[^'\\]|\\.)*'|[^\s&;]+)`)
)

// Mask takes out of a text what proves something to somebody: the user and
// password of URLs, and password= and the like.
func Mask(s string) string {
	s = userinfo.ReplaceAllString(s, "${1}***@")
	return keyValue.ReplaceAllString(s, "$1=***")
}
