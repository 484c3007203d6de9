package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ropewalk/ropewalk/message"
)

// What [walk] finds in the way. They become messages in [fault].
var (
	errLeadsOut = errors.New("symbolic link that leads out of the tree")
	errLoop     = errors.New("too many symbolic links")
	errHidden   = errors.New("symbolic link to a hidden name")
	errOther    = errors.New("symbolic link to a file with another extension")
	errKind     = errors.New("neither a file nor a directory")
	errCase     = errors.New("there under a name with other capitals")
	errNotDir   = errors.New("a file in place of a directory")
	errLarge    = errors.New("larger than a file may be")
)

// fault returns what the one who asked for an address is told of an error of the
// operating system. It has no path of the server.
func fault(address string, err error) error {
	if _, ok := errors.AsType[*message.Error](err); ok || err == nil {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	code, text, hint := describe(err)
	e := message.NewError(code, fmt.Sprintf("%.300s %s", address, text), hint)
	e.Path, e.Cause = address, err
	return e
}

func describe(err error) (code message.Code, text, hint string) {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case is(errLeadsOut):
		return message.CodeForbidden, "is, or lies behind, a symbolic link that leads out of what is served",
			"Copy what it points to, or make the link relative if that is inside."
	case is(errHidden):
		return message.CodeForbidden, "is a symbolic link to something that is hidden", "Link to a name without a leading dot."
	case is(errOther):
		return message.CodeForbidden, "is a symbolic link to a file with another extension", "Publish to the file itself."
	case is(errLoop, syscall.ELOOP):
		return message.CodeForbidden, "has too many symbolic links in its way", "Look for one that points to itself."
	case is(errKind):
		return message.CodeForbidden, "is neither a file nor a directory", "Pipes, sockets and devices are not served."
	case is(errCase):
		return message.CodeConflict, "is there already under a name with other capitals", "Use the name as it is there."
	case is(errNotDir, syscall.ENOTDIR):
		return message.CodeNotFound, "is not there: there is a file in place of a directory in its way", ""
	case is(fs.ErrNotExist, syscall.ENAMETOOLONG):
		return message.CodeNotFound, "is not there", ""
	case is(syscall.ENOSPC, errQuota, syscall.EFBIG):
		return message.CodeStorageFull, "was not written: there is no room", ""
	case is(syscall.EROFS):
		return message.CodeForbidden, "cannot be written: the file system is read-only", "Ask the operator of the server."
	case is(fs.ErrPermission):
		return message.CodeForbidden, "may not be used by the server: its operating system forbids it",
			"Ask the operator of the server to let it."
	case is(syscall.ENOTEMPTY):
		return message.CodeConflict, "is a directory that is not empty", "Delete what is in it first."
	case is(fs.ErrExist, syscall.EISDIR):
		return message.CodeConflict, "is there already, as something else", "Use another name."
	}
	return message.CodeSourceDown, "cannot be used now: the file system of the server has a fault", ""
}

// sourceDown returns the error that the directory of a tree has gone.
func sourceDown(address string, err error) error {
	e := message.NewError(message.CodeSourceDown, fmt.Sprintf("the directory behind %.300s cannot be opened", address),
		"It comes back by itself when the directory is there again.")
	e.Path, e.Cause = address, err
	return e
}

// tooLarge returns the error that something has more bytes than limit.
func tooLarge(address string, limit int64) error {
	e := message.NewError(message.CodeTooLarge, fmt.Sprintf("%.300s has more than %d bytes", address, limit),
		"Make it smaller, or raise maxFile in the settings of the server.")
	e.Path = address
	e.Details = fmt.Appendf(nil, `{"limit":%d}`, limit)
	return e
}

// invalid returns the error that what was sent cannot be used.
func invalid(address, field, text, hint string) error {
	e := message.NewError(message.CodeInvalidInput, fmt.Sprintf("%.300s: %s", address, text), hint)
	e.Path = field
	return e
}
