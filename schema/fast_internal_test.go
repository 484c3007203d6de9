package schema

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
)

type benchInput struct {
	Name  string    `json:"name" jsonschema:"minLength=1,maxLength=40"`
	Size  string    `json:"size" jsonschema:"enum=s|m|l"`
	When  time.Time `json:"when"`
	Items []struct {
		Price int `json:"price" jsonschema:"minimum=0"`
	} `json:"items"`
}

var benchBody = []byte(`{"name":"ann","size":"m","when":"2026-11-21T17:50:43Z","items":[{"price":10},{"price":20},{"price":30}]}`)

func derived[T any](tb testing.TB) *Schema {
	tb.Helper()
	raw, err := For[T]()
	if err != nil {
		tb.Fatal(err)
	}
	s, err := CompileDerived(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestFast(t *testing.T) {
	t.Parallel()
	type kid struct {
		Value *int     `json:"value" jsonschema:"maximum=9"`
		Kids  []*kid   `json:"kids,omitempty" jsonschema:"maxItems=2"`
		Ratio float64  `json:"ratio,omitempty" jsonschema:"minimum=-1,maximum=1"`
		Whole int      `json:"whole,omitempty"`
		Name  string   `json:"name,omitempty" jsonschema:"minLength=2,pattern=^[a-z]+$"`
		Words []string `json:"words,omitempty" jsonschema:"minItems=1"`
		Any   any      `json:"any,omitempty"`
	}
	s := derived[kid](t)
	if s.fast == nil {
		t.Fatal("a derived schema is not fast")
	}
	for _, c := range []struct {
		body string
		sure bool
		good bool
	}{
		{`{}`, true, true},
		{` { "value" : 9 , "kids" : [ null , { } ] } `, true, true},
		{`{"any":{"a":[1,"x\"]",{}],"b":[[],null,true,false,-1.5e3]},"other":"\u0000"}`, true, true},
		{`{"ratio":0.5,"whole":-12345678901234567890,"name":"ab","words":["x"]}`, true, true},
		{`{"ratio":1.0}`, false, true},                 // not beyond the bound after rounding
		{`{"ratio":0.99999999999999999}`, false, true}, // rounds to the bound
		{`{"ratio":1.00000000000000001}`, false, false},
		{`{"whole":1.0}`, false, true},
		{`{"name":"a\u0062"}`, false, true},
		{`{"\u006eame":"ab"}`, false, true},
		{`{"value":10}`, false, false},
		{`{"kids":[{},{},{}]}`, false, false},
		{`{"kids":{}}`, false, false},
		{`{"name":"a"}`, false, false},
		{`{"name":"AB"}`, false, false},
		{`{"words":[]}`, false, false},
		{`{"Name":"ab"}`, false, false},
		{`{"name":"ab","name":"ab"}`, false, false},
		{`[]`, false, false},
		{`1`, false, false},
		{`null`, false, false},
	} {
		if got := s.fast.accepts(&reader{b: []byte(c.body)}, 0); got != c.sure {
			t.Errorf("%s: sure %v, want %v", c.body, got, c.sure)
		}
		if err := s.Validate([]byte(c.body)); (err == nil) != c.good {
			t.Errorf("%s: %v, want good %v", c.body, err, c.good)
		}
	}
}

// What is accepted fast is good, for all that the reader may meet.
func FuzzFast(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"required":["a"]}`, `{"a":1,"b":[{}]}`, true)
	f.Add(`{"$defs":{"n":{"type":"object","properties":{"k":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}}}},"$ref":"#/$defs/n"}`, `{"k":{"k":null}}`, false)
	f.Add(`{"enum":["a",null]}`, `"a"`, false)
	f.Fuzz(func(t *testing.T, raw, body string, strict bool) {
		compile := Compile
		if strict {
			compile = CompileDerived
		}
		s, err := compile(json.RawMessage(raw))
		if err != nil || s.fast == nil || !json.Valid([]byte(body)) {
			return
		}
		fast := s.Validate([]byte(body))
		s.fast = nil
		slow := s.Validate([]byte(body))
		if slow != nil && (slow.Code == message.CodeTooLarge || strings.HasSuffix(slow.Message, "is given twice")) {
			return // where a fast schema does not look
		}
		if (fast == nil) != (slow == nil) {
			t.Fatalf("%s of %s: fast %v, slow %v", body, raw, fast, slow)
		}
	})
}

func TestFastAllocs(t *testing.T) {
	if race.Enabled {
		t.Skip("allocations under -race mean nothing")
	}
	s := derived[benchInput](t)
	if n := testing.AllocsPerRun(100, func() {
		if err := s.Validate(benchBody); err != nil {
			t.Fatal(err)
		}
	}); n > 2 { // the library's check of the date allocates
		t.Errorf("%v allocations, want at most 2", n)
	}
}

func BenchmarkValidate(b *testing.B) {
	s := derived[benchInput](b)
	slow := *s
	slow.fast = nil
	for name, s := range map[string]*Schema{"fast": s, "slow": &slow} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Validate(benchBody); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// What a typed handler has to do in any case.
	b.Run("unmarshal", func(b *testing.B) {
		var in benchInput
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(benchBody, &in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
