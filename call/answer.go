package call

import (
	"encoding/json"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Octets is the content type of a body that was given as []byte without one.
const Octets = "application/octet-stream"

// Answer is the reply to a call. It belongs to whoever got it.
type Answer struct {
	// Body is the bytes that arrived; nil is "no body".
	Body []byte
	// ContentType is empty for JSON.
	ContentType string
	// From is the address of who answered: "<server id>@math:/", or
	// "<node id>@node:/" when the node did.
	From string
}

// Decode puts the body into v, as [Decode] says.
func (a *Answer) Decode(v any) error { return Decode(a.Body, a.ContentType, v) }

// Part is an intermediate message of a call. It belongs to whoever got it.
type Part struct {
	// Body is the bytes that arrived; nil is "no body".
	Body []byte
	// ContentType is empty for JSON.
	ContentType string
	// Seq is the position among the parts of the call, from 1.
	Seq uint64
}

// Decode puts the body into v, as [Decode] says.
func (p Part) Decode(v any) error { return Decode(p.Body, p.ContentType, v) }

// Encode returns body in the form in which it travels:
//
//	nil              no body
//	route.Body       as it is
//	json.RawMessage  as it is, after a check that it is JSON
//	[]byte           the bytes, with the content type, [Octets] if that is ""
//	string           with a content type the text itself, else a JSON string
//	anything else    JSON, by encoding/json; refused with a content type
//
// The bytes of a []byte are not copied. Errors have CodeInvalidInput.
func Encode(body any, contentType string) (route.Body, error) {
	switch b := body.(type) {
	case nil:
		return route.Body{}, nil
	case route.Body:
		if b.ContentType == "" && b.Bytes != nil && !message.ValidJSON(b.Bytes) {
			return route.Body{}, badBody("the body is not valid JSON", nil)
		}
		return b, nil
	case json.RawMessage:
		if contentType == "" {
			if b != nil && !message.ValidJSON(b) {
				return route.Body{}, badBody("the body is not valid JSON", nil)
			}
			return route.JSON(b), nil
		}
		return typed(b, contentType), nil
	case []byte:
		if contentType == "" {
			contentType = Octets
		}
		return typed(b, contentType), nil
	case string:
		if contentType != "" {
			return typed([]byte(b), contentType), nil
		}
	}
	if contentType != "" {
		return route.Body{}, badBody(fmt.Sprintf("a body of type %T cannot be sent as %s", body, contentType), nil)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return route.Body{}, badBody(fmt.Sprintf("a body of type %T cannot be written as JSON: %v", body, err), err)
	}
	return route.JSON(b), nil
}

// typed keeps an empty body apart from none.
func typed(b []byte, contentType string) route.Body {
	if b == nil {
		b = []byte{}
	}
	return route.Body{Bytes: b, ContentType: contentType}
}

func badBody(text string, cause error) *message.Error {
	e := message.NewError(message.CodeInvalidInput, text,
		"Give a value that encoding/json can write, or []byte or string together with a content type.")
	e.Cause = cause
	return e
}

// Decode puts a body into v, which is a pointer:
//
//	*[]byte, *json.RawMessage  the bytes as they are, not copied
//	*string                    the text, if there is a content type
//	any other                  JSON, by encoding/json
//
// No body leaves v as it is. An error has CodeBadMessage: what came does not
// fit v, or is not JSON.
func Decode(body []byte, contentType string, v any) error {
	if body == nil {
		return nil
	}
	switch p := v.(type) {
	case *[]byte:
		*p = body
		return nil
	case *json.RawMessage:
		*p = body
		return nil
	case *string:
		if contentType != "" {
			*p = string(body)
			return nil
		}
	}
	if contentType != "" {
		return misfit(fmt.Sprintf("the body is %s, not JSON", contentType),
			"Take its bytes: decode it into a []byte.", nil)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return misfit(fmt.Sprintf("the body does not fit %T: %v", v, err),
			"Compare the Go type with what the service sends; its schema is at node:/schema.", err)
	}
	return nil
}

func misfit(text, hint string, cause error) *message.Error {
	e := message.NewError(message.CodeBadMessage, text, hint)
	e.Cause = cause
	return e
}
