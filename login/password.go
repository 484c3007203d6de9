package login

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

type passwordIn struct {
	User     string `json:"user" jsonschema:"description=The name of the user."`
	Password string `json:"password" jsonschema:"description=The password."`
}

// Why somebody was refused, for [Event.Reason].
const (
	whyNoUser     = "unknown user"
	whyDisabled   = "disabled"
	whyNoPassword = "no password"
	whyWrong      = "wrong password"
	whyTooLong    = "too long"
)

// errWrong is the one answer to all that is wrong with a name or password.
func errWrong() error {
	return message.NewError(message.CodeUnauthenticated, "the name or the password is wrong", "Try again, or have the password set anew.")
}

// errWait says when to come back.
func errWait(wait time.Duration) error {
	e := message.NewError(message.CodeRateLimited, "there were too many wrong tries", "Wait before the next.")
	e.Retryable = false // by a person, not by a program that makes it worse
	e.RetryAfter = max(wait.Round(100*time.Millisecond), 100*time.Millisecond)
	return e
}

func (l *Login) password(ctx context.Context, in passwordIn) (*Me, error) {
	u, err := l.verify(ctx, EventPassword, in.User, in.Password)
	if err != nil {
		return nil, err
	}
	me, err := l.admit(ctx, u, "password")
	if err != nil {
		l.tell(ctx, &Event{Kind: EventPassword, Outcome: OutcomeFailed, User: in.User, Subject: u.ID})
		return nil, err
	}
	l.tell(ctx, &Event{Kind: EventPassword, Outcome: OutcomeOK, User: in.User, Subject: u.ID})
	return me, nil
}

// verify returns the user with this name and password. It does the same work
// whatever is wrong, and tells of what is.
func (l *Login) verify(ctx context.Context, kind, name, password string) (*User, error) {
	_, addr := caller(ctx)
	e := &Event{Kind: kind, User: name}
	try, wait := l.throttle.try(named(name), addr)
	if try == nil {
		e.Outcome = OutcomeThrottled
		l.tell(ctx, e)
		return nil, errWait(wait)
	}
	u, why, err := l.check(ctx, name, password)
	if u != nil {
		e.Subject = u.ID
	}
	switch {
	case err != nil:
		try.void()
		e.Outcome = OutcomeFailed
		l.tell(ctx, e)
		return nil, err
	case why != "":
		e.Outcome, e.Reason = OutcomeRefused, why
		l.tell(ctx, e)
		return nil, errWrong()
	}
	try.right()
	l.strengthen(ctx, u, password)
	return u, nil
}

// named is never empty, so that empty names are counted too.
func named(name string) string {
	if len(name) > maxName {
		name = name[:maxName]
	}
	return "=" + name
}

// check computes one hash whatever it finds.
func (l *Login) check(ctx context.Context, name, password string) (u *User, why string, err error) {
	if len(password) > l.cfg.Passwords.Max {
		why, password = whyTooLong, ""
	}
	u, err = l.table.named(ctx, name)
	var hash *Hash
	switch {
	case errors.Is(err, errNoUser):
		why = whyNoUser
	case err != nil:
		return nil, "", err
	case u.Disabled:
		why = whyDisabled
	case u.hash == "":
		why = whyNoPassword
	default:
		h, err := ParseHash(u.hash)
		if err != nil {
			l.env.Logger.LogAttrs(ctx, slog.LevelWarn, "the hash of a user cannot be used; set the password anew", slog.String("subject", u.ID))
			why = whyNoPassword
			break
		}
		hash = &h
	}
	ok, err := l.hasher.matches(ctx, password, hash)
	if why == "" && !ok {
		why = whyWrong
	}
	return u, why, err
}

// strengthen replaces a hash that is weaker than what is made today. That it
// does not work is no reason not to let somebody in.
func (l *Login) strengthen(ctx context.Context, u *User, password string) {
	h, err := ParseHash(u.hash)
	if err != nil || !h.Weaker(l.hasher.params) {
		return
	}
	if h, err = l.hasher.hash(ctx, password); err == nil {
		_, err = l.table.changeHash(ctx, u, h)
	}
	if err != nil {
		l.env.Logger.LogAttrs(ctx, slog.LevelWarn, "a weak hash was not replaced", slog.String("subject", u.ID), slog.String("err", err.Error()))
		return
	}
	u.hash = h.Text()
}

type changeIn struct {
	Password    string `json:"password,omitempty" jsonschema:"description=The password until now; not needed by who has none."`
	NewPassword string `json:"newPassword" jsonschema:"description=The password from now on."`
}

// changePassword ends all sessions of the user, the one of the caller too: whoever
// knew the old password is out.
func (l *Login) changePassword(ctx context.Context, in changeIn) (*done, error) {
	u, s, err := l.self(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.cfg.Passwords.Accept(u.Name, in.NewPassword); err != nil {
		return nil, err
	}
	if u.hash == "" {
		err = l.fresh(s)
	} else {
		var who *User
		who, err = l.verify(ctx, EventChangePassword, u.Name, in.Password)
		if err == nil && who.ID != u.ID { // a query of the application finds another one by this name
			err = errWrong()
		}
	}
	if err != nil {
		return nil, err
	}
	if err := l.replace(ctx, u.ID, in.NewPassword); err != nil {
		l.tell(ctx, &Event{Kind: EventChangePassword, Outcome: OutcomeFailed, Subject: u.ID})
		return nil, err
	}
	l.tell(ctx, &Event{Kind: EventChangePassword, Outcome: OutcomeOK, Subject: u.ID})
	return &done{true}, nil
}

// replace sets the password of a user and ends all sessions.
func (l *Login) replace(ctx context.Context, id, password string) error {
	h, err := l.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	u, err := l.table.user(ctx, id) // its hash may be another one by now
	if err != nil {
		return err
	}
	ok, err := l.table.changeHash(ctx, u, h)
	switch {
	case err != nil:
		return err
	case !ok:
		return message.NewError(message.CodeConflict, "the password was changed by somebody else at this moment", "Log in and try again.")
	}
	if l.env.Revoke == nil {
		return nil
	}
	return l.env.Revoke(ctx, u.ID)
}
