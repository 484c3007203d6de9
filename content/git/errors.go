package git

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/ropewalk/ropewalk/message"
)

// errMoved says that a ref is not what it was thought to be.
var errMoved = errors.New("the ref has moved")

// failed returns what users see of an error of the repository: a code, and no
// path of this machine.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*message.Error](err); ok {
		return e
	}
	var e *message.Error
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = message.NewError(message.CodeStorageFull, "there is no room for the commit", "")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e = message.NewError(message.CodeForbidden, "the system does not let the node use the repository",
			"Let the node's user read and write the repository.")
	default:
		if code := message.CodeOf(err); code != message.CodeInternal {
			return err // canceled, or out of time
		}
		e = message.NewError(message.CodeSourceDown, "the repository cannot be read",
			"Look into the log of the node, and run git fsck in the repository.")
	}
	e.Cause = err
	return e
}

func invalid(path, text, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, text, hint)
	e.Path = path
	return e
}

// conflict returns an error with CodeConflict.
func conflict(text, hint string) *message.Error {
	return message.NewError(message.CodeConflict, text, hint)
}
