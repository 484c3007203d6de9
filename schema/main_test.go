package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/schema"
)

func compile(tb testing.TB, raw string) *schema.Schema {
	tb.Helper()
	s, err := schema.Compile(json.RawMessage(raw))
	if err != nil {
		tb.Fatalf("%s: %v", raw, err)
	}
	return s
}

// reference asks the library's own validator. ok is false if it does not take
// the schema or the body.
func reference(raw, body string) (valid, ok bool) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(raw)))
	if err != nil {
		return false, false
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(nothing{})
	c.AssertFormat()
	c.AssertContent()
	if c.AddResource("https://schema.invalid/", doc) != nil {
		return false, false
	}
	s, err := c.Compile("https://schema.invalid/")
	if err != nil {
		return false, false
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(body)))
	if err != nil {
		return false, false
	}
	return s.Validate(v) == nil, true
}

type nothing struct{}

func (nothing) Load(string) (any, error) { return nil, errors.New("nothing is loaded") }

func codeOf(err *message.Error) message.Code {
	if err == nil {
		return ""
	}
	return err.Code
}
