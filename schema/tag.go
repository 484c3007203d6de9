package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// kinds of the values that keywords of the tag take.
const (
	takesNumber = iota + 1
	takesCount
	takesText
	takesNothing
)

var keywords = map[string]int{
	"minimum": takesNumber, "maximum": takesNumber, "exclusiveMinimum": takesNumber,
	"exclusiveMaximum": takesNumber, "multipleOf": takesNumber,
	"minLength": takesCount, "maxLength": takesCount, "minItems": takesCount, "maxItems": takesCount,
	"minProperties": takesCount, "maxProperties": takesCount,
	"pattern": takesText, "format": takesText, "title": takesText, "description": takesText,
	"uniqueItems": takesNothing, "deprecated": takesNothing, "readOnly": takesNothing, "writeOnly": takesNothing,
}

// applyTag adds the keywords of the field's tag to its schema and returns
// whether the field is required.
func applyTag(n object, f field) (object, bool, error) {
	required, null := f.required, true
	var add object
	for rest := f.tag; rest != ""; {
		var key, value string
		key, value, rest = nextKeyword(rest)
		switch key {
		case "required":
			required, null = true, false
			continue
		case "optional":
			required = false
			continue
		}
		v, err := keywordValue(key, value, n)
		if err != nil {
			return nil, false, err
		}
		add.set(key, v)
	}
	if !null {
		n = notNull(n)
	}
	for _, m := range add {
		if list, ok := m.val.([]json.RawMessage); ok && allowsNull(n) {
			m.val = append(list, json.RawMessage("null"))
		}
		n.set(m.key, m.val)
	}
	return n, required, nil
}

// nextKeyword cuts the first keyword off a tag.
func nextKeyword(tag string) (key, value, rest string) {
	if value, ok := strings.CutPrefix(tag, "description="); ok {
		return "description", value, ""
	}
	var item strings.Builder
	for i := 0; i < len(tag); i++ {
		if tag[i] == ',' {
			rest = tag[i+1:]
			break
		}
		if tag[i] == '\\' && i+1 < len(tag) && tag[i+1] == ',' {
			i++
		}
		item.WriteByte(tag[i])
	}
	key, value, _ = strings.Cut(item.String(), "=")
	return strings.TrimSpace(key), value, strings.TrimLeft(rest, " ")
}

func keywordValue(key, value string, n object) (any, error) {
	switch keywords[key] {
	case takesNumber:
		var v json.Number
		if err := json.Unmarshal([]byte(value), &v); err != nil || value[0] == '"' {
			return nil, fmt.Errorf("jsonschema tag: %s needs a number, not %q", key, value)
		}
		return v, nil
	case takesCount:
		var v uint32
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			return nil, fmt.Errorf("jsonschema tag: %s needs a whole number, not %q", key, value)
		}
		return v, nil
	case takesText:
		return value, nil
	case takesNothing:
		return true, nil
	}
	switch key {
	case "default":
		return literal(value, n)
	case "enum":
		var out []json.RawMessage
		for word := range strings.SplitSeq(value, "|") {
			v, err := literal(word, n)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	}
	return nil, fmt.Errorf("jsonschema tag: unknown keyword %q", key)
}

// literal reads a value for a field of the schema n: text for a string, JSON
// for everything else.
func literal(value string, n object) (json.RawMessage, error) {
	if holds(n, "string") {
		return json.Marshal(value)
	}
	if !json.Valid([]byte(value)) {
		return nil, fmt.Errorf("jsonschema tag: %q is not JSON", value)
	}
	return json.RawMessage(value), nil
}

func allowsNull(n object) bool { return holds(n, "null") }

func holds(n object, typ string) bool {
	switch t, _ := n.get("type"); t := t.(type) {
	case string:
		return t == typ
	case []string:
		return slices.Contains(t, typ)
	}
	return false
}
