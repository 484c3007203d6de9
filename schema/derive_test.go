package schema_test

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/schema"
)

type base struct {
	ID    string `json:"id"`
	Shade string
}

type left struct{ Dup, Own int }

type right struct {
	Dup  int
	Tall int `json:"tall"`
}

type node struct {
	Value int     `json:"value"`
	Kids  []*node `json:"kids,omitempty"`
}

type pair[K, V any] struct {
	Key K `json:"key"`
	Val V `json:"val"`
}

type point struct {
	X float64 `json:"x"`
}

type colour string

func (colour) JSONSchema() json.RawMessage { return json.RawMessage(`{"enum":["red","blue"]}`) }

type broken struct{}

func (broken) JSONSchema() json.RawMessage { return json.RawMessage(`{`) }

func TestOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		of   any
		want string
	}{
		{"string", "", `{"type":"string"}`},
		{"any", *new(struct{ A any }), `{"type":"object","properties":{"A":{}},"required":["A"]}`},
		{"numbers", struct {
			A int
			B uint
			C int8
			D float32
			E uint32
		}{}, `{"type":"object","properties":{"A":{"type":"integer"},"B":{"type":"integer","minimum":0},"C":{"type":"integer","minimum":-128,"maximum":127},"D":{"type":"number"},"E":{"type":"integer","minimum":0,"maximum":4294967295}},"required":["A","B","C","D","E"]}`},
		{"optional", struct {
			A *int   `json:"a"`
			B string `json:"b,omitempty"`
			C bool   `json:"c,omitzero"`
			D string `json:"-"`
			E string `json:"-,"` //nolint:staticcheck // a field that is called -
			f int
		}{}, `{"type":"object","properties":{"a":{"type":["integer","null"]},"b":{"type":"string"},"c":{"type":"boolean"},"-":{"type":"string"}},"required":["-"]}`},
		{"lists and maps", struct {
			L []string       `json:"l"`
			A [2]bool        `json:"a"`
			M map[string]int `json:"m"`
			N map[int]point  `json:"n"`
			B []byte         `json:"b"`
		}{}, `{"type":"object","properties":{"l":{"type":["array","null"],"items":{"type":"string"}},"a":{"type":"array","items":{"type":"boolean"},"minItems":2,"maxItems":2},"m":{"type":["object","null"],"additionalProperties":{"type":"integer"}},"n":{"type":["object","null"],"additionalProperties":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}},"b":{"type":["string","null"],"contentEncoding":"base64"}},"required":["l","a","m","n","b"]}`},
		{"well-known types", struct {
			T time.Time
			D time.Duration
			N json.Number
			R json.RawMessage
			I big.Int
			F big.Float
			C colour `jsonschema:"description=One, of two."`
		}{}, `{"type":"object","properties":{"T":{"type":"string","format":"date-time"},"D":{"type":"integer","description":"nanoseconds"},"N":{"type":"number"},"R":{},"I":{},"F":{"type":"string"},"C":{"allOf":[{"enum":["red","blue"]}],"description":"One, of two."}},"required":["T","D","N","R","I","F","C"]}`},
		{"embedded", struct {
			base
			left
			*right
			Shade int
			Q     int `json:",string"`
		}{}, `{"type":"object","properties":{"id":{"type":"string"},"Own":{"type":"integer"},"tall":{"type":"integer"},"Shade":{"type":"integer"},"Q":{"type":"string"}},"required":["id","Own","Shade","Q"]}`},
		{"recursive", node{}, `{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"kids":{"type":["array","null"],"items":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}}},"required":["value"]}}}`},
		{"used twice", pair[point, *point]{}, `{"type":"object","properties":{"key":{"$ref":"#/$defs/point"},"val":{"anyOf":[{"$ref":"#/$defs/point"},{"type":"null"}]}},"required":["key"],"$defs":{"point":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}}}`},
		{"generic, twice", struct {
			A, B pair[point, *pair[int, string]]
			C, D *triple
		}{}, `{"type":"object","properties":{"A":{"$ref":"#/$defs/pair_point_pair_int_string"},"B":{"$ref":"#/$defs/pair_point_pair_int_string"},"C":{"anyOf":[{"$ref":"#/$defs/triple"},{"type":"null"}]},"D":{"anyOf":[{"$ref":"#/$defs/triple"},{"type":"null"}]}},"required":["A","B"],"$defs":{"pair_point_pair_int_string":{"type":"object","properties":{"key":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]},"val":{"type":["object","null"],"properties":{"key":{"type":"integer"},"val":{"type":"string"}},"required":["key","val"]}},"required":["key"]},"triple":{"type":"object","properties":{"X":{"type":"integer"}},"required":["X"]}}}`},
		{"generic", [2]pair[point, int]{}, `{"type":"array","items":{"type":"object","properties":{"key":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]},"val":{"type":"integer"}},"required":["key","val"]},"minItems":2,"maxItems":2}`},
		{"from the address", struct {
			ID   string `path:"id"`
			Q    string `query:"q"`
			Both string `query:"b" json:"both"`
		}{}, `{"type":"object","properties":{"both":{"type":"string"}},"required":["both"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			raw, err := schema.Of(reflect.TypeOf(c.of))
			if err != nil {
				t.Fatal(err)
			}
			if string(raw) != c.want {
				t.Errorf("got  %s\nwant %s", raw, c.want)
			}
			if _, err := schema.Compile(raw); err != nil {
				t.Errorf("does not compile: %v", err)
			}
		})
	}
}

func TestTag(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		of   any
		want string
	}{
		{"numbers", struct {
			P float64 `json:"p" jsonschema:"minimum=0,exclusiveMaximum=1e3, multipleOf=0.5"`
		}{}, `{"type":"object","properties":{"p":{"type":"number","minimum":0,"exclusiveMaximum":1e3,"multipleOf":0.5}},"required":["p"]}`},
		{"text", struct {
			S string `json:"s" jsonschema:"minLength=1,maxLength=9,pattern=^a{1\\,3}$,title=T,description=It is, well, text."`
		}{}, `{"type":"object","properties":{"s":{"type":"string","minLength":1,"maxLength":9,"pattern":"^a{1,3}$","title":"T","description":"It is, well, text."}},"required":["s"]}`},
		{"enum", struct {
			S string  `json:"s" jsonschema:"enum=a|b,default=a"`
			N int     `json:"n" jsonschema:"enum=1|2"`
			P *string `json:"p" jsonschema:"enum=x"`
		}{}, `{"type":"object","properties":{"s":{"type":"string","enum":["a","b"],"default":"a"},"n":{"type":"integer","enum":[1,2]},"p":{"type":["string","null"],"enum":["x",null]}},"required":["s","n"]}`},
		{"required and optional", struct {
			A *point `json:"a" jsonschema:"required"`
			B []int  `json:"b" jsonschema:"optional,minItems=1,uniqueItems"`
			C []int  `json:"c" jsonschema:"required"`
			D *node  `json:"d" jsonschema:"required,deprecated"`
		}{}, `{"type":"object","properties":{"a":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]},"b":{"type":["array","null"],"items":{"type":"integer"},"minItems":1,"uniqueItems":true},"c":{"type":"array","items":{"type":"integer"}},"d":{"$ref":"#/$defs/node","deprecated":true}},"required":["a","c","d"],"$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"kids":{"type":["array","null"],"items":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}}},"required":["value"]}}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			raw, err := schema.Of(reflect.TypeOf(c.of))
			if err != nil {
				t.Fatal(err)
			}
			if string(raw) != c.want {
				t.Errorf("got  %s\nwant %s", raw, c.want)
			}
			if _, err := schema.Compile(raw); err != nil {
				t.Errorf("does not compile: %v", err)
			}
		})
	}
}

func TestOfRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		of   any
		want string
	}{
		{"channel", struct{ C chan int }{}, "field C: chan int has no JSON"},
		{"function in a list", struct{ F []func() }{}, "field F: func() has no JSON"},
		{"key", map[point]int{}, "cannot be a key"},
		{"unknown keyword", struct {
			A int `jsonschema:"min=1"`
		}{}, `unknown keyword "min"`},
		{"not a number", struct {
			A int `jsonschema:"minimum=one"`
		}{}, "minimum needs a number"},
		{"quoted number", struct {
			A int `jsonschema:"minimum=\"1\""`
		}{}, "minimum needs a number"},
		{"negative count", struct {
			A string `jsonschema:"minLength=-1"`
		}{}, "minLength needs a whole number"},
		{"enum of another type", struct {
			A int `jsonschema:"enum=a"`
		}{}, `"a" is not JSON`},
		{"bad Schemer", struct{ B broken }{}, "JSONSchema of schema_test.broken is not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Of(reflect.TypeOf(c.of))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

type triple struct{ X int }

func TestObject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   any
		want bool
	}{
		{point{}, true}, {&point{}, true}, {node{}, true}, {&node{}, true}, {map[string]int{}, true},
		{"", false}, {[]point{}, false}, {*new(struct{}), true},
	} {
		raw, err := schema.Of(reflect.TypeOf(c.of))
		if err != nil {
			t.Fatal(err)
		}
		if s := compile(t, string(raw)); s.Object() != c.want || string(s.Raw()) != string(raw) {
			t.Errorf("%s: object %v, want %v", raw, s.Object(), c.want)
		}
	}
	if compile(t, `true`).Object() {
		t.Error("a schema that takes anything is one of objects")
	}
}
