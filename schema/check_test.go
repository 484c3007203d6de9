package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/schema"
)

const shop = `{
	"type": "object", "required": ["name", "items"], "additionalProperties": false,
	"properties": {
		"name":  {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
		"size":  {"enum": ["s", "m", "l"]},
		"kind":  {"const": "order"},
		"when":  {"type": "string", "format": "date-time"},
		"data":  {"type": ["string", "null"], "contentEncoding": "base64"},
		"ratio": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5, "multipleOf": 0.25},
		"items": {"type": "array", "minItems": 1, "maxItems": 3, "uniqueItems": true, "items": {
			"type": "object", "required": ["price"],
			"properties": {"price": {"type": "integer", "minimum": 0, "maximum": 100}}
		}},
		"extra": {"type": "object", "minProperties": 1, "maxProperties": 2, "propertyNames": {"maxLength": 3},
			"patternProperties": {"^n": {"type": "number"}}, "additionalProperties": {"type": "boolean"}},
		"form":  {"oneOf": [
			{"type": "object", "properties": {"kind": {"const": "a"}, "a": {"type": "string"}}, "required": ["kind", "a"]},
			{"type": "object", "properties": {"kind": {"const": "b"}, "b": {"type": "string"}}, "required": ["kind", "b"]}
		]},
		"maybe": {"anyOf": [{"$ref": "#/$defs/point"}, {"type": "null"}]},
		"tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "items": false},
		"never": {"not": {"type": "string"}},
		"list":  {"type": "array", "contains": {"type": "string"}, "maxContains": 2},
		"a": {"type": "boolean"}, "b": true
	},
	"dependentRequired": {"a": ["b"]},
	"$defs": {"point": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}}}}
}`

func TestValidateSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := compile(t, shop)
	const items = `"items":[{"price":1}]`
	for _, c := range []struct{ name, body, path, text string }{
		{"ok", `{"name":"ann",` + items + `}`, "", ""},
		{"ok with everything", `{"name":"ann","size":"m","kind":"order","when":"2026-11-21T17:50:43Z","data":"AAE=","ratio":1.25,"items":[{"price":0},{"price":1e2},{"price":5.0}],"extra":{"n":1,"b":true},"form":{"kind":"b","b":""},"maybe":null,"tuple":["a",1],"never":1,"list":[1,"a"],"a":true,"b":[]}`, "", ""},
		{"not JSON", `{`, "", "the body cannot be read: it is not JSON, or nested deeper than 512 levels"},
		{"two values", `{} {}`, "", "the body cannot be read: it is not JSON, or nested deeper than 512 levels"},
		{"type of the body", `[]`, "", "the body must be an object, not a list"},
		{"missing", `{` + items + `}`, "/name", "name is missing"},
		{"type", `{"name":7,` + items + `}`, "/name", "name must be text, not a number"},
		{"too short", `{"name":"a",` + items + `}`, "/name", "name must have at least 2 characters"},
		{"too long", `{"name":"abcdef",` + items + `}`, "/name", "name must have at most 5 characters"},
		{"pattern", `{"name":"ANN",` + items + `}`, "/name", "name must match the pattern ^[a-z]+$"},
		{"enum", `{"name":"ann","size":"xl",` + items + `}`, "/size", `size must be one of "s", "m", "l"`},
		{"const", `{"name":"ann","kind":1,` + items + `}`, "/kind", `kind must be "order"`},
		{"format", `{"name":"ann","when":"now",` + items + `}`, "/when", "when must be a date and time such as 2026-11-21T17:50:43Z"},
		{"encoding", `{"name":"ann","data":"!",` + items + `}`, "/data", "data must be encoded in base64"},
		{"two types", `{"name":"ann","data":1,` + items + `}`, "/data", "data must be text or null, not a number"},
		{"exclusive minimum", `{"name":"ann","ratio":0,` + items + `}`, "/ratio", "ratio must be more than 0"},
		{"exclusive maximum", `{"name":"ann","ratio":1.5,` + items + `}`, "/ratio", "ratio must be less than 1.5"},
		{"multiple", `{"name":"ann","ratio":0.3,` + items + `}`, "/ratio", "ratio must be a multiple of 0.25"},
		{"out of range", `{"name":"ann","ratio":1e999999999,` + items + `}`, "/ratio", "ratio is out of range"},
		{"deep", `{"name":"ann","items":[{"price":1},{"price":2},{"price":-3}]}`, "/items/2/price", "price must be at least 0"},
		{"maximum", `{"name":"ann","items":[{"price":101}]}`, "/items/0/price", "price must be at most 100"},
		{"integer", `{"name":"ann","items":[{"price":1.5}]}`, "/items/0/price", "price must be a whole number, not a number"},
		{"missing deep", `{"name":"ann","items":[{}]}`, "/items/0/price", "price is missing"},
		{"item", `{"name":"ann","items":[7]}`, "/items/0", "items[0] must be an object, not a number"},
		{"no items", `{"name":"ann","items":[]}`, "/items", "items must have at least 1 item"},
		{"many items", `{"name":"ann","items":[{"price":1},{"price":2},{"price":3},{"price":4}]}`, "/items", "items must have at most 3 items"},
		{"same items", `{"name":"ann","items":[{"price":1},{"price":1.0}]}`, "/items", "items must not have the same item twice, as at 0 and 1"},
		{"unknown field", `{"name":"ann","colour":1,` + items + `}`, "/colour", "colour is not a known field"},
		{"escaped path", `{"name":"ann","a/b~c":1,` + items + `}`, "/a~1b~0c", "a/b~c is not a known field"},
		{"few fields", `{"name":"ann","extra":{},` + items + `}`, "/extra", "extra must have at least 1 field"},
		{"many fields", `{"name":"ann","extra":{"a":true,"b":true,"c":true},` + items + `}`, "/extra", "extra must have at most 2 fields"},
		{"name", `{"name":"ann","extra":{"long":true},` + items + `}`, "/extra/long", "long is not allowed as a name"},
		{"pattern of names", `{"name":"ann","extra":{"n1":true},` + items + `}`, "/extra/n1", "n1 must be a number, not true or false"},
		{"other names", `{"name":"ann","extra":{"x":1},` + items + `}`, "/extra/x", "x must be true or false, not a number"},
		{"the form that is meant", `{"name":"ann","form":{"kind":"b","b":1},` + items + `}`, "/form/b", "b must be text, not a number"},
		{"no form", `{"name":"ann","form":{"kind":"c"},` + items + `}`, "/form", "form fits none of the allowed forms"},
		{"types of all forms", `{"name":"ann","form":1,` + items + `}`, "/form", "form must be an object, not a number"},
		{"maybe", `{"name":"ann","maybe":{"x":""},` + items + `}`, "/maybe/x", "x must be a number, not text"},
		{"maybe of another type", `{"name":"ann","maybe":1,` + items + `}`, "/maybe", "maybe must be an object or null, not a number"},
		{"tuple", `{"name":"ann","tuple":["a","b"],` + items + `}`, "/tuple/1", "tuple[1] must be a number, not text"},
		{"tuple too long", `{"name":"ann","tuple":["a",1,2],` + items + `}`, "/tuple/2", "tuple[2] is not allowed"},
		{"not", `{"name":"ann","never":"",` + items + `}`, "/never", "never has a form that is not allowed"},
		{"contains", `{"name":"ann","list":[1],` + items + `}`, "/list", "list must have at least 1 item of a certain form"},
		{"contains too many", `{"name":"ann","list":["a","b","c"],` + items + `}`, "/list", "list must have at most 2 items of a certain form"},
		{"needs another", `{"name":"ann","a":true,` + items + `}`, "/b", "b is missing, which a needs"},
		{"long name", `{"name":"ann","` + strings.Repeat("é", 500) + `":1,` + items + `}`, "/" + strings.Repeat("é", 64) + "…", strings.Repeat("é", 64) + "… is not a known field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := s.Validate([]byte(c.body))
			if c.text == "" {
				if err != nil {
					t.Fatalf("%v at %q", err, err.Path)
				}
				return
			}
			if codeOf(err) != message.CodeInvalidInput || err.Path != c.path || err.Message != c.text || err.Hint == "" {
				t.Fatalf("got  %+v\nwant %q at %q", err, c.text, c.path)
			}
			if c.name == "out of range" {
				return // the library panics
			}
			if want, ok := reference(shop, c.body); ok && want {
				t.Error("the reference takes it")
			}
		})
	}
}

func TestValidateListsProblems(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"type":"array","items":{"type":"object","required":["a","b"]}}`)
	err := s.Validate([]byte(`[{},{"a":1}]`))
	if err == nil || string(err.Details) != `{"problems":[{"path":"/0/a","message":"a is missing"},{"path":"/0/b","message":"b is missing"},{"path":"/1/b","message":"b is missing"}]}` {
		t.Errorf("details %s", err.Details)
	}
	err = s.Validate([]byte("[" + strings.Repeat(`1,`, 10000) + `1]`))
	var list struct{ Problems []any }
	if err == nil || json.Unmarshal(err.Details, &list) != nil || len(list.Problems) != 10 {
		t.Errorf("details %s", err.Details)
	}
}

// What encoding/json takes and a schema does not see must not get through.
func TestDerived(t *testing.T) {
	t.Parallel()
	type in struct {
		Price int            `json:"price" jsonschema:"minimum=0"`
		Inner *in            `json:"inner,omitempty"`
		Map   map[string]int `json:"map,omitempty"`
	}
	raw, err := schema.For[in]()
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.CompileDerived(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ body, path, text string }{
		{`{"price":1,"map":{"A":1,"a":2},"other":true}`, "", ""},
		{`{"price":1,"Price":-1}`, "/Price", "Price is not a known field; write it as price"},
		{`{"price":1,"inner":{"price":1,"PRICE":-1}}`, "/inner/PRICE", "PRICE is not a known field; write it as price"},
		{`{"price":1,"price":2}`, "/price", "price is given twice"},
		{`{"price":1,"inner":{"price":-1},"inner":{"price":1}}`, "/inner", "inner is given twice"},
		{`{"price":1,"map":{"a":1,"\u0061":1}}`, "/map/a", "a is given twice"},
		{`{"price":1,"ınner":{"price":-1}}`, "", ""}, // dotless i folds to nothing else
		{`{"price":1,"inner":{"price":1,"ma\u0070":{},"MAP":{}}}`, "/inner/MAP", "MAP is not a known field; write it as map"},
	} {
		err := s.Validate([]byte(c.body))
		if c.text == "" {
			if err != nil {
				t.Errorf("%s: %v", c.body, err)
			}
			continue
		}
		if err == nil || err.Message != c.text || err.Path != c.path {
			t.Errorf("%s: %+v", c.body, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, raw, text string }{
		{"no JSON", `{`, "read JSON"},
		{"no schema", `7`, ""},
		{"bad keyword", `{"type":"text"}`, "at /type"},
		{"bad keyword deep", `{"properties":{"a":{"minLength":-1}}}`, "at /properties/a/minLength"},
		{"too large", `{"title":"` + strings.Repeat("x", schema.MaxBytes) + `"}`, "more than"},
		{"too deep", strings.Repeat(`{"items":`, 70) + "{}" + strings.Repeat("}", 70), "nested deeper"},
		{"other document", `{"$ref":"https://example.com/x.json"}`, "only references inside"},
		{"file", `{"$ref":"file:///etc/passwd"}`, "only references inside"},
		{"relative", `{"$ref":"x.json"}`, "only references inside"},
		{"unknown draft", `{"$schema":"https://example.com/draft"}`, "only references inside"},
		{"reference to nothing", `{"$ref":"#/$defs/x"}`, ""},
		{"loop", `{"$ref":"#"}`, "refers to itself without end"},
		{"loop through allOf", `{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}`, "refers to itself without end"},
		{"pattern", `{"pattern":"(?=x)"}`, ""},
		{"large pattern", `{"pattern":"a{900}b{900}c{900}"}`, "too large"},
		{"huge number", `{"minimum":1e1000000}`, "out of range"},
		{"unevaluated", `{"unevaluatedProperties":false}`, "unevaluatedProperties"},
		{"unevaluated deep", `{"items":{"unevaluatedItems":false}}`, "/items uses unevaluatedItems"},
		{"dynamic", `{"$ref":"https://json-schema.org/draft/2020-12/schema"}`, "$dynamicRef"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.Compile(json.RawMessage(c.raw))
			if message.CodeOf(err) != message.CodeBadMessage || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %q", err, c.text)
			}
			if len(err.Error()) > 400 {
				t.Errorf("a text of %d bytes", len(err.Error()))
			}
		})
	}
}

func TestCompileTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, good, bad string }{
		{`true`, `1`, ``},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"type":"string"}},"items":[{"$ref":"#/definitions/a"}],"additionalItems":false}`, `["x"]`, `["x",1]`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","items":[true],"additionalItems":{"type":"string"},"dependencies":{"a":["b"],"c":{"minProperties":2}}}`, `[1,"x"]`, `[1,2]`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","dependencies":{"a":["b"],"c":{"minProperties":2}}}`, `{"c":1,"d":1}`, `{"c":1}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/a","minimum":9,"definitions":{"a":{"type":"number"}}}`, `1`, `"x"`},
		{`{"$id":"https://example.com/root","$defs":{"a":{"$id":"a","type":"string"}},"$ref":"a"}`, `"x"`, `1`},
		{`{"type":"object","properties":{"kid":{"$ref":"#"}},"additionalProperties":false}`, `{"kid":{"kid":{}}}`, `{"kid":{"kid":1}}`},
		{`{"anyOf":[{"properties":{"kid":{"$ref":"#"}},"required":["kid"]},{"type":"string"}]}`, `{"kid":{"kid":"x"}}`, `{"kid":{}}`},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"c":1}`, `{"a":1}`},
		{`{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"b":1}`, `{"a":1}`},
		{`{"const":{"a":[1,null,true,"x",{"b":1e2}]}}`, `{"a":[1.0,null,true,"x",{"b":100}]}`, `{"a":[1,null,true,"x",{"b":1}]}`},
		{`{"contentMediaType":"application/json"}`, `"{}"`, `"{"`},
		{`{"contentEncoding":"base64","contentMediaType":"application/json"}`, `"e30="`, `"e3="`},
		{`{"minContains":0,"contains":{"type":"string"}}`, `[1]`, ``},
		{`{"uniqueItems":true}`, `[{"a":1,"b":[2]},{"a":1,"b":[3]},1,"1",true,null,-1]`, `[{"a":1,"b":[2]},0,{"b":[2.0],"a":1}]`},
		{`{"uniqueItems":true}`, `[1e500,2e500]`, `[0,-0]`},
	} {
		s := compile(t, c.raw)
		if err := s.Validate([]byte(c.good)); err != nil {
			t.Errorf("%s does not take %s: %v", c.raw, c.good, err)
		}
		if c.bad == "" {
			continue
		}
		if err := s.Validate([]byte(c.bad)); codeOf(err) != message.CodeInvalidInput {
			t.Errorf("%s takes %s: %v", c.raw, c.bad, err)
		}
	}
}

// Schemas of strangers and bodies of others meet: whatever they are, the work
// is bounded.
func TestValidateIsBounded(t *testing.T) {
	t.Parallel()
	double := `{"$defs":{"a0":true`
	for i := range 40 {
		double += fmt.Sprintf(`,"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]}`, i+1, i, i)
	}
	double += `},"$ref":"#/$defs/a40"}`
	nested := `{"$defs":{"a":{"items":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}}},"$ref":"#/$defs/a"}`
	deep := strings.Repeat("[", 500) + strings.Repeat("]", 500)
	for _, c := range []struct {
		name, raw, body string
		code            message.Code
	}{
		{"the work doubles", double, `1`, message.CodeTooLarge},
		{"the work doubles with the depth", nested, deep, message.CodeTooLarge},
		{"deep", `{"items":{"$ref":"#"}}`, deep, ""},
		{"too deep", `true`, strings.Repeat("[", 5000) + strings.Repeat("]", 5000), message.CodeInvalidInput},
		{"large pattern, large text", `{"allOf":[{"pattern":"(a{0,200}b?){4}$"},{"pattern":"(a{0,200}c?){4}$"}]}`, `"` + strings.Repeat("a", 1<<20) + `"`, message.CodeTooLarge},
		{"large and good", `{"items":{"type":"integer"},"uniqueItems":false}`, `[` + strings.Repeat("1,", 1<<19) + `1]`, ""},
		{"large and bad", `{"items":{"type":"string"}}`, `[` + strings.Repeat("1,", 1<<19) + `1]`, message.CodeInvalidInput},
		{"many unknown names", `{"properties":{"a":true},"additionalProperties":false}`, `{` + manyNames(20000) + `"a":1}`, message.CodeInvalidInput},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := compile(t, c.raw).Validate([]byte(c.body)); codeOf(err) != c.code {
				t.Errorf("got %v, want code %q", err, c.code)
			}
		})
	}
}

func manyNames(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `"n%d":1,`, i)
	}
	return out.String()
}

func TestDecodeError(t *testing.T) {
	t.Parallel()
	var in struct{ A struct{ B int8 } }
	err := schema.DecodeError(json.Unmarshal([]byte(`{"A":{"B":300}}`), &in))
	if err.Code != message.CodeInvalidInput || err.Path != "/A/B" || err.Message != "B cannot be number 300" {
		t.Errorf("got %+v", err)
	}
}
