// Package delta makes changes of two JSON contents and applies them: JSON Merge
// Patch (RFC 7396), JSON Patch (RFC 6902) and changes of rows
// (docs/reference/content.md, "Changes of rows").
//
// A change that is applied gives JSON that means the same as the new content:
// the same values, numbers as they were written, elements and rows in the same
// order. The members of objects may come in another order, and blanks and
// escapes may be others. All functions are pure, may be called from any
// goroutine, do not change what they are given, and take JSON of any origin:
// what is not JSON, has a key twice in one object or is nested deeper than 512
// levels is refused.
package delta

import (
	"errors"
	"fmt"
)

// The content types of changes.
const (
	MergeType = "application/merge-patch+json"
	PatchType = "application/json-patch+json"
	RowsType  = "application/vnd.ropewalk.rows+json"
)

var (
	// ErrInvalid is wrapped by errors about what cannot be read: no JSON, or no
	// change of its kind.
	ErrInvalid = errors.New("invalid change")
	// ErrMismatch is wrapped by errors about a change that does not fit the
	// content it is applied to. The whole content has to be fetched.
	ErrMismatch = errors.New("the change does not fit the content")
)

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func mismatchf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMismatch, fmt.Sprintf(format, args...))
}

// Apply applies a change of one of the three content types to a content. The
// error wraps [ErrInvalid] or [ErrMismatch].
func Apply(contentType string, content, change []byte) ([]byte, error) {
	switch contentType {
	case MergeType:
		return ApplyMerge(content, change)
	case PatchType:
		return ApplyPatch(content, change)
	case RowsType:
		return ApplyRows(content, change)
	default:
		return nil, invalidf("unknown content type %.80q", contentType)
	}
}

// IsChange reports whether a content type is that of a change.
func IsChange(contentType string) bool {
	return contentType == MergeType || contentType == PatchType || contentType == RowsType
}

// parseBoth parses two contents. Both have to be freed if ok.
func parseBoth(before, after []byte) (o, n *doc, ok bool) {
	o, err := parse(before)
	if err != nil {
		return nil, nil, false
	}
	if n, err = parse(after); err != nil {
		o.free()
		return nil, nil, false
	}
	return o, n, true
}
