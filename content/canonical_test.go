package content_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/message"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{`{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{" [ 1 , true , null ] ", `[1,true,null]`},
		{`1.0`, `1.0`},
		{`123456789012345678901234567890.5e-7`, `123456789012345678901234567890.5e-7`},
		{`"\u0041\/\"\\\n\ud83d\ude00ä"`, `"A/\"\\\u000a😀ä"`},
		{`{"a":1,"b":2,"a":3,"\u0061":4}`, `{"a":4,"b":2}`},
		{`{"":{}}`, `{"":{}}`},
		{`[[],{}]`, `[[],{}]`},
		{`"<&>\u2028"`, "\"<&>\u2028\""},
		{strings.Repeat("[", content.MaxDepth) + strings.Repeat("]", content.MaxDepth), strings.Repeat("[", content.MaxDepth) + strings.Repeat("]", content.MaxDepth)},
	} {
		got, err := content.Canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.in, got, err, c.want)
		}
	}
	for in, code := range map[string]message.Code{
		"": message.CodeInvalidInput, "{": message.CodeInvalidInput, "1 2": message.CodeInvalidInput, "\"\xff\"": message.CodeInvalidInput, "{a:1}": message.CodeInvalidInput,
		strings.Repeat("[", content.MaxDepth+1) + strings.Repeat("]", content.MaxDepth+1): message.CodeTooLarge,
		`"` + strings.Repeat("x", content.MaxParams) + `"`:                                message.CodeTooLarge,
		strings.Repeat(" ", 4*content.MaxParams) + "1":                                    message.CodeTooLarge,
	} {
		if got, err := content.Canonical([]byte(in)); message.CodeOf(err) != code {
			t.Errorf("%.40s: %.40s, %v, want %s", in, got, err, code)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[1.0,"\u0041\ud800",{"a":null,"a":true}]}`, `"\u0000"`, `-0`, `[1e400]`, "{}", " 1", `{"\ud800":1,"\udfff":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := content.Canonical(in)
		if err != nil {
			return
		}
		again, err := content.Canonical(got)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, and that %q (%v)", in, got, again, err)
		}
		if a, b := decoded(t, in), decoded(t, got); !reflect.DeepEqual(a, b) {
			t.Fatalf("%q becomes %q, which means something else", in, got)
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
