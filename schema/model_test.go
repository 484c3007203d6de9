package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/schema"
)

// body draws JSON whose strings, names and numbers are few, so that they meet
// those of the schemas.
func body(t *rapid.T, depth int) string {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1, 2:
		return rapid.SampledFrom([]string{"0", "-0", "1", "1.0", "1e0", "2", "-1", "1.5", "100", "1e2", "12345678901234567890"}).Draw(t, "number")
	case 3:
		return rapid.SampledFrom([]string{`""`, `"a"`, `"ab"`, `"é"`, `"\u0061"`, `"1.2.3.4"`, `"AAE="`}).Draw(t, "text")
	case 4:
		items := make([]string, rapid.IntRange(0, 3).Draw(t, "items"))
		for i := range items {
			items[i] = body(t, depth-1)
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		var fields []string
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ab", ""}), 0, 3, rapid.ID).Draw(t, "names") {
			fields = append(fields, fmt.Sprintf("%q:%s", name, body(t, depth-1)))
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
}

// rules draws a schema of draft 2020-12 from the keywords that are supported.
func rules(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom([]string{"true", "false", "{}", `{"type":"number"}`, `{"$ref":"#/$defs/d"}`}).Draw(t, "leaf")
	}
	sub := func() string { return rules(t, depth-1) }
	var out []string
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"type", "types", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
		"maxLength", "pattern", "format", "contentEncoding", "items", "prefixItems", "contains", "minContains", "maxContains",
		"minItems", "maxItems", "uniqueItems", "properties", "patternProperties", "additionalProperties", "required",
		"propertyNames", "minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "not", "allOf", "anyOf",
		"oneOf", "if", "then", "else", "$ref",
	}), 0, 4, rapid.ID).Draw(t, "keywords") {
		out = append(out, rule(t, key, sub))
	}
	return "{" + strings.Join(out, ",") + "}"
}

func rule(t *rapid.T, key string, sub func() string) string {
	var value string
	switch key {
	case "type":
		value = rapid.SampledFrom([]string{`"null"`, `"boolean"`, `"number"`, `"integer"`, `"string"`, `"array"`, `"object"`}).Draw(t, "type")
	case "types":
		return `"type":["integer","string","array"]`
	case "enum":
		value = "[" + body(t, 1) + "," + body(t, 1) + "]"
	case "const":
		value = body(t, 1)
	case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
		value = rapid.SampledFrom([]string{"0", "1", "1.5", "-1", "1e2"}).Draw(t, "bound")
	case "multipleOf":
		value = rapid.SampledFrom([]string{"1", "0.5", "100"}).Draw(t, "step")
	case "pattern":
		value = `"^a?b?$"`
	case "format":
		value = `"ipv4"`
	case "contentEncoding":
		value = `"base64"`
	case "uniqueItems":
		value = "true"
	case "prefixItems", "allOf", "anyOf", "oneOf":
		value = "[" + sub() + "," + sub() + "]"
	case "properties", "dependentSchemas":
		value = fmt.Sprintf(`{"a":%s,"b":%s}`, sub(), sub())
	case "patternProperties":
		value = fmt.Sprintf(`{"^a":%s,"b$":%s}`, sub(), sub())
	case "required":
		value = `["a"]`
	case "dependentRequired":
		value = `{"a":["b"]}`
	case "$ref":
		value = `"#/$defs/d"`
	case "items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else":
		value = sub()
	default: // the counts
		value = rapid.SampledFrom([]string{"0", "1", "2"}).Draw(t, "count")
	}
	return fmt.Sprintf("%q:%s", key, value)
}

// Our interpreter and the library's validator agree.
func TestAgreesWithTheLibrary(t *testing.T) {
	t.Parallel()
	valid, invalid := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		root := rules(rt, 3)
		if root == "{}" {
			return
		}
		form := `{"$defs":{"d":%s},"allOf":[%s]}`
		if inner, ok := strings.CutPrefix(root, "{"); ok && rapid.Bool().Draw(rt, "bare") {
			form, root = `{"$defs":{"d":%s},%s`, inner
		}
		raw := fmt.Sprintf(form, rapid.SampledFrom([]string{
			`{"type":["string","integer","array"]}`, `{"properties":{"a":{"$ref":"#/$defs/d"}},"minProperties":1}`,
		}).Draw(rt, "definition"), root)
		s, err := schema.Compile(json.RawMessage(raw))
		if err != nil {
			rt.Fatalf("%s: %v", raw, err)
		}
		for range 5 {
			text := body(rt, 3)
			want, ok := reference(raw, text)
			if !ok {
				rt.Fatalf("the library does not take %s or %s", raw, text)
			}
			err := s.Validate([]byte(text))
			if (err == nil) != want || err != nil && err.Code != message.CodeInvalidInput {
				rt.Fatalf("%s\nagainst %s\nthe library says %v, we say %+v", text, raw, want, err)
			}
			if want {
				valid++
			} else {
				invalid++
			}
		}
	})
	if valid < 50 || invalid < 50 {
		t.Errorf("%d were valid and %d not: the test says little", valid, invalid)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add(`{"required":["a"],"properties":{"a":{"minimum":0}}}`, `{"a":1}`) // small: the fuzzer takes minutes to minimise a large one
	f.Add(`{"items":{"enum":["a"]},"uniqueItems":true}`, `["a"]`)
	f.Add(`{"type":"string","pattern":"^a+$","maxLength":3}`, `"aa"`)
	f.Add(`{"$defs":{"a":{"items":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}`, `[[[]]]`)
	f.Add(`{"oneOf":[{"const":1},{"minimum":1}]}`, `1.0`)
	f.Fuzz(func(t *testing.T, raw, text string) {
		s, err := schema.Compile(json.RawMessage(raw))
		if err != nil {
			if message.CodeOf(err) != message.CodeBadMessage {
				t.Fatalf("error %v", err)
			}
			return
		}
		got := s.Validate([]byte(text))
		if !json.Valid([]byte(text)) && codeOf(got) != message.CodeInvalidInput {
			t.Fatalf("%q was taken", text)
		}
		if got != nil && len(got.Message) > 2000 {
			t.Fatalf("a text of %d bytes", len(got.Message))
		}
		_ = s.Object()
	})
}

func FuzzDerivedMatchesDecoding(f *testing.F) {
	type in struct {
		A int8            `json:"a" jsonschema:"minimum=0"`
		B *in             `json:"b"`
		C []string        `json:"c,omitempty"`
		D map[string]bool `json:"d,omitempty"`
	}
	raw, err := schema.For[in]()
	if err != nil {
		f.Fatal(err)
	}
	s, err := schema.CompileDerived(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"a":1,"b":{"a":2,"c":["x"]},"d":{"y":true}}`))
	f.Add([]byte(`{"a":1,"A":-1}`))
	f.Add([]byte(`{"a":1,"b":{"a":-2},"b":{"a":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s.Validate(text) != nil {
			return
		}
		var v in
		if json.Unmarshal(text, &v) != nil {
			return // 1.0 is a whole number for a schema, and none for Go
		}
		for p := &v; p != nil; p = p.B {
			if p.A < 0 {
				t.Fatalf("%s got past the schema: %+v", text, p)
			}
		}
	})
}
