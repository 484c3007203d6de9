package content

import (
	"errors"
	"fmt"

	"github.com/ropewalk/ropewalk/message"
)

// ErrReopen is what [Resource.Get] returns when requests have to be opened
// anew.
var ErrReopen = errors.New("open the request anew")

// NotFound returns the error that there is nothing at an address, with what to
// do about it.
func NotFound(address, hint string) *message.Error {
	e := message.NewError(message.CodeNotFound, fmt.Sprintf("there is nothing at %.300s", address), hint)
	e.Path = address
	return e
}
