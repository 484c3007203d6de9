package message_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ropewalk/ropewalk/message"
)

func TestCanonicalParams(t *testing.T) {
	t.Parallel()
	nested := strings.Repeat(`{"a":`, 511) + "{}" + strings.Repeat("}", 511)
	for in, want := range map[string]string{
		"": "", "null": "", " null\n": "", "{}": "", " { } ": "",
		`{"b":1,"a":2}`:                                    `{"a":2,"b":1}`,
		` { "a" : [ 1 , true ] } `:                         `{"a":[1,true]}`,
		`{"b":[1 , 2.50],"a":{"z":null,"y":"é"}}`:          `{"a":{"y":"é","z":null},"b":[1,2.50]}`,
		`{"n":12345678901234567890.5e-7,"m":1.0,"o":-0}`:   `{"m":1.0,"n":12345678901234567890.5e-7,"o":-0}`,
		`{"n":1,"n":1e400,"s":1,"\u006e":2}`:               `{"n":2,"s":1}`,
		`{"s":"\u0041\/\"\\\u000a\ud83d\ude00ä\u2028<&>"}`: "{\"s\":\"A/\\\"\\\\\\n😀ä\u2028<&>\"}",
		`{"10":1,"9":2,"b ":3,"b":4,"":{}}`:                `{"":{},"10":1,"9":2,"b":4,"b ":3}`,
		`{"s":"\ud800\u0041"}`:                             `{"s":"\ud800A"}`,
		nested:                                             nested,
	} {
		got, err := message.CanonicalParams([]byte(in))
		if err != nil || string(got) != want || (got == nil) != (want == "") {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestCanonicalParamsRefused(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]message.Code{
		" ": message.CodeInvalidInput, "{": message.CodeInvalidInput, "{} x": message.CodeInvalidInput, "{}{}": message.CodeInvalidInput,
		"[]": message.CodeInvalidInput, "1": message.CodeInvalidInput, `"x"`: message.CodeInvalidInput, "true": message.CodeInvalidInput,
		"{a:1}": message.CodeInvalidInput, "{\"a\":\"\xff\"}": message.CodeInvalidInput,
		strings.Repeat(`{"a":`, 512) + "{}" + strings.Repeat("}", 512):             message.CodeInvalidInput,
		`{"a":"` + strings.Repeat("x", message.MaxParams-len(`{"a":""}`)+1) + `"}`: message.CodeTooLarge,
		strings.Repeat(" ", 4*message.MaxParams) + "{}":                            message.CodeTooLarge,
	} {
		got, err := message.CanonicalParams([]byte(in))
		if e := code(t, err, want); got != nil || e.Path != "params" || e.Hint == "" {
			t.Errorf("%.40s: %.40s, %+v", in, got, e)
		}
	}
	if _, err := message.CanonicalParams([]byte(`{"a":"` + strings.Repeat("x", message.MaxParams-len(`{"a":""}`)) + `"}`)); err != nil {
		t.Errorf("the longest: %v", err)
	}
}

// FuzzCanonicalParams checks that the canonical form means what was given, is
// its own canonical form, and is that of all other ways to write the same.
func FuzzCanonicalParams(f *testing.F) {
	for _, s := range []string{
		`{"b":[1,2.50],"a":{"z":null}}`, `{"a":"\u003c\ud800"}`, `{"b":1,"a":[1.0,"\u0041\ud800",{"a":null,"a":true}]}`,
		`{"\ud800":1,"\udfff":2}`, `{"":"\u0000","\"":-0,"\\":[1e400],"a!":{},"a":[]}`, "null", "{}", " 1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := message.CanonicalParams(in)
		if err != nil {
			if c := message.CodeOf(err); c != message.CodeInvalidInput && c != message.CodeTooLarge {
				t.Fatal(err)
			}
			return
		}
		if again, err := message.CanonicalParams(got); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, and that %q (%v)", in, got, again, err)
		}
		if got == nil || bytes.Contains(bytes.ToLower(in), []byte(`\ud`)) {
			return // encoding/json cannot tell half surrogate pairs apart
		}
		meant := decoded(t, in)
		if !reflect.DeepEqual(decoded(t, got), meant) {
			t.Fatalf("%q becomes %q, which means something else", in, got)
		}
		other := otherwise(nil, meant)
		if len(other) > 4*message.MaxParams {
			return
		}
		if same, err := message.CanonicalParams(other); err != nil || !bytes.Equal(same, got) {
			t.Fatalf("%q becomes %q, but %q, which means the same, %q (%v)", in, got, other, same, err)
		}
	})
}

func decoded(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return v
}

// otherwise writes a value as nobody would: with blanks, all that can be escaped
// escaped, the last members first, and each of them twice.
func otherwise(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, "{ "...)
		for i, name := range slices.Backward(slices.Sorted(maps.Keys(v))) {
			dst = append(otherwise(dst, name), ":null,\n"...)
			dst = append(otherwise(dst, name), "\t: "...)
			dst = otherwise(dst, v[name])
			if i > 0 {
				dst = append(dst, " , "...)
			}
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, " , "...)
			}
			dst = otherwise(dst, item)
		}
		return append(dst, " ]"...)
	case string:
		dst = append(dst, '"')
		for _, unit := range utf16.Encode([]rune(v)) {
			dst = fmt.Appendf(dst, `\u%04X`, unit)
		}
		return append(dst, '"')
	case json.Number:
		return append(dst, v...)
	default:
		return fmt.Append(dst, map[any]string{nil: "null", true: "true", false: "false"}[v])
	}
}

func ExampleCanonicalParams() {
	params, err := message.CanonicalParams([]byte(` { "b": [1.50, "\u0041\n"], "a": null, "b": 2e3 } `))
	fmt.Println(string(params), err)
	// Output: {"a":null,"b":2e3} <nil>
}
