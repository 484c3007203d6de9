package message

import (
	"bytes"
	"context"
	"errors"
)

// Error returns code, text and cause for logs. What is sent is made by
// [AppendError], which leaves the cause out.
func (e *Error) Error() string {
	s := string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Remote reports whether the error came in a message, in place of being made
// on this side.
func (e *Error) Remote() bool { return e.remote }

// FromPeer reports whether err is or wraps an *Error that came in a message.
func FromPeer(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.remote
}

func fromForeign(err error) *Error {
	var e *Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e = NewError(CodeDeadlineExceeded, "there was no answer in time", "")
	case errors.Is(err, context.Canceled):
		e = NewError(CodeCanceled, "the call was canceled", "")
	default:
		e = NewError(CodeInternal, "something went wrong on the serving side", "")
	}
	e.Cause = err
	return e
}

// AppendError appends e as the body of an error message: a JSON object, valid
// whatever e holds. Details that are not JSON are sent as a string.
func AppendError(dst []byte, e *Error) []byte {
	w := writer{dst: append(dst, `{"code":`...)}
	w.dst = appendString(w.dst, string(e.Code))
	w.comma = true
	w.key(`"message":`)
	w.dst = appendString(w.dst, e.Message)
	if e.Hint != "" {
		w.key(`"hint":`)
		w.dst = appendString(w.dst, e.Hint)
	}
	if e.Path != "" {
		w.key(`"path":`)
		w.dst = appendString(w.dst, e.Path)
	}
	if len(e.Details) > 0 {
		w.key(`"details":`)
		if ValidJSON(e.Details) {
			w.dst = append(w.dst, e.Details...)
		} else {
			w.dst = appendString(w.dst, e.Details)
		}
	}
	// Left out, it is what is usual for the code.
	if usual := e.Code.Retryable(); e.Retryable {
		w.key(`"retryable":true`)
	} else if usual {
		w.key(`"retryable":false`)
	}
	if e.RetryAfter > 0 {
		w.key(`"retryAfter":`)
		w.dst = appendSeconds(w.dst, e.RetryAfter)
	}
	return append(w.dst, '}')
}

// maxCode is the length of the longest code that is taken from a peer, in bytes.
const maxCode = 64

// DecodeError reads the body of an error message. It shares no bytes with body
// and is [Error.Remote]. A code that Ropewalk does not know is kept; a body
// that is not an object with a code is an error with [CodeInternal].
func DecodeError(body []byte) *Error {
	e := &Error{remote: true}
	if !ValidJSON(body) {
		return unreadable()
	}
	given := false
	for key, val := range members(body) {
		switch string(key.text()) {
		case "code":
			e.Code = Code(stringOf(val))
		case "message":
			e.Message = stringOf(val)
		case "hint":
			e.Hint = stringOf(val)
		case "path":
			e.Path = stringOf(val)
		case "details":
			e.Details = nil
			if val.kind != kindNull {
				e.Details = bytes.Clone(val.raw)
			}
		case "retryable":
			given = val.kind == kindBool
			e.Retryable = given && val.raw[0] == 't'
		case "retryAfter":
			e.RetryAfter = 0
			if val.kind == kindNumber {
				e.RetryAfter = parseSeconds(val.raw)
			}
		}
	}
	if e.Code == "" || len(e.Code) > maxCode {
		return unreadable()
	}
	if !given {
		e.Retryable = e.Code.Retryable()
	}
	return e
}

// stringOf returns the text of a string, "" of anything else.
func stringOf(v value) string {
	if v.kind != kindString {
		return ""
	}
	return string(v.text())
}

func unreadable() *Error {
	e := NewError(CodeInternal, "the peer sent an error that cannot be read", `Send {"code":…,"message":…} as the body of an error.`)
	e.remote = true
	return e
}
