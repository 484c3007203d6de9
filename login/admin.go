package login

import (
	"context"
	"errors"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// AddUser makes a user with a new id. Without a password the user can only log
// in once one is set. The user table has to have the columns that
// [Users.Create] would make, under the names that [Columns] gives.
func (l *Login) AddUser(ctx context.Context, name, password string, public, secret session.Claims) (*User, error) {
	name = normal(name)
	if !sane(name) {
		return nil, message.NewError(message.CodeInvalidInput, "that cannot be the name of a user", "Take up to 256 bytes.")
	}
	switch _, err := l.table.named(ctx, name); {
	case err == nil:
		return nil, message.NewError(message.CodeConflict, "there is a user of this name", "Take another name.")
	case !errors.Is(err, errNoUser):
		return nil, err
	}
	u := &User{ID: session.NewID(), Name: name, Public: public, Secret: secret}
	if err := (&session.Session{Public: public, Secret: secret}).Check(); err != nil {
		return nil, err
	}
	if password != "" {
		if err := l.cfg.Passwords.Accept(name, password); err != nil {
			return nil, err
		}
		h, err := l.hasher.hash(ctx, password)
		if err != nil {
			return nil, err
		}
		u.hash = h.Text()
	}
	return u, l.table.add(ctx, u, u.hash)
}

// Users returns up to limit users, in the order of their names.
func (l *Login) Users(ctx context.Context, limit int) ([]User, error) {
	return l.table.list(ctx, limit)
}

// SetDisabled says whether a user may log in, and ends all sessions of one who
// may not, if there is [Env.Revoke]. It returns the user.
func (l *Login) SetDisabled(ctx context.Context, name string, disabled bool) (*User, error) {
	u, err := l.byName(ctx, name)
	if err != nil {
		return nil, err
	}
	u.Disabled = disabled
	if err := l.table.disable(ctx, u.ID, disabled); err != nil || !disabled || l.env.Revoke == nil {
		return u, err
	}
	return u, l.env.Revoke(ctx, u.ID)
}

// SetPassword sets the password of a user, and ends all sessions of that user, if
// there is [Env.Revoke]. It returns the user.
func (l *Login) SetPassword(ctx context.Context, name, password string) (*User, error) {
	u, err := l.byName(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := l.cfg.Passwords.Accept(u.Name, password); err != nil {
		return nil, err
	}
	return u, l.replace(ctx, u.ID, password)
}

func (l *Login) byName(ctx context.Context, name string) (*User, error) {
	u, err := l.table.named(ctx, name)
	if errors.Is(err, errNoUser) {
		return nil, message.NewError(message.CodeNotFound, "there is no user of this name", `"ropewalk login user list" lists all.`)
	}
	return u, err
}
