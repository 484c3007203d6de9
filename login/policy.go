package login

import (
	"strings"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

// Accept tells whether a user of this name may have a new password. The error
// has CodeInvalidInput and does not show it.
func (p Passwords) Accept(name, password string) error {
	number(&p.Min, DefaultMin)
	number(&p.Max, DefaultMax)
	var text, hint string
	switch {
	case !utf8.ValidString(password):
		text, hint = "the password is not UTF-8", "Take another."
	case utf8.RuneCountInString(normal(password)) < p.Min:
		text, hint = "the password is too short", "Take a longer one; a few words are good."
	case len(password) > p.Max:
		text, hint = "the password is too long", "Take a shorter one."
	case strings.EqualFold(strings.TrimSpace(password), name) || strings.Count(password, password[:1]) == len(password):
		text, hint = "that is the first password that others would try", "Take another; a few words are good."
	default:
		return nil
	}
	e := message.NewError(message.CodeInvalidInput, text, hint)
	e.Path = "/newPassword"
	return e
}

// Hash makes a hash with the settings of p.
func (p Passwords) Hash(password string) Hash {
	return HashPassword(password, p.params())
}

func (p Passwords) params() Params {
	return Params{Memory: uint32(p.Memory), Passes: uint32(p.Passes), Lanes: uint8(p.Lanes)}
}
