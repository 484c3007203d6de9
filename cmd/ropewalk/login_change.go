package main

import (
	"context"
	"strings"

	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/nodeapi"
)

// endFlags are the user of whom sessions are ended, and the node that does it.
type endFlags struct {
	loginFlags
	target
	Name         string `arg:"" help:"The user."`
	KeepSessions bool   `help:"Let the user's sessions go on."`
}

// endHelp is printed below the flags.
const endHelp = `All sessions of the user end, at all nodes. That is what a node is asked for, with the permission "admin" (--token-file); if none
can be reached you are told what to run when one is there.`

type loginPasswdCmd struct {
	endFlags
}

// Help is printed below the flags.
func (*loginPasswdCmd) Help() string { return endHelp }

// Run sets the password.
func (c *loginPasswdCmd) Run(ctx context.Context, w *world) error {
	return c.change(ctx, w, "changed", func(l *login.Login) (*login.User, error) {
		password, err := w.newPassword(ctx)
		if err != nil {
			return nil, err
		}
		return l.SetPassword(ctx, c.Name, password)
	})
}

type loginDisableCmd struct {
	endFlags
}

// Help is printed below the flags.
func (*loginDisableCmd) Help() string { return endHelp }

// Run disables.
func (c *loginDisableCmd) Run(ctx context.Context, w *world) error {
	return c.change(ctx, w, "disabled", func(l *login.Login) (*login.User, error) { return l.SetDisabled(ctx, c.Name, true) })
}

type loginEnableCmd struct {
	loginFlags
	Name string `arg:"" help:"The user."`
}

// Run enables.
func (c *loginEnableCmd) Run(ctx context.Context, w *world) error {
	l, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	if _, err := l.SetDisabled(ctx, c.Name, false); err != nil {
		return err
	}
	return saidOfUser(w, c.Name, "enabled")
}

// saidOfUser says what was done.
func saidOfUser(w *world, name, word string) error {
	if w.json {
		return w.line(map[string]string{"user": name, "done": word})
	}
	return w.printf("%s %s\n", word, oneLine(name))
}

// change does something to a user, says so, and ends the user's sessions. That no
// node can be reached is no error: perhaps none runs. That one refuses is one.
func (c *endFlags) change(ctx context.Context, w *world, word string, do func(*login.Login) (*login.User, error)) error {
	l, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	u, err := do(l)
	if err != nil {
		return err
	}
	if err := saidOfUser(w, c.Name, word); err != nil || c.KeepSessions {
		return err
	}
	err = c.end(ctx, u.ID)
	if err == nil {
		return nil
	}
	later := "ropewalk sessions revoke --subject " + quoted(oneLine(u.ID))
	e := *message.AsError(err)
	if e.Code == message.CodeNotReady && !e.Remote() {
		w.warnf("no node was reached at %s, so sessions of this user that are open go on; when one runs: %s", c.place(), later)
		return nil
	}
	e.Message = "the sessions of the user were not ended: " + e.Message
	e.Hint = "Run: " + later
	return fail(exitFailed, &e)
}

// end has a node end all sessions of a user.
func (c *endFlags) end(ctx context.Context, subject string) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Call(ctx, "node:/session/revoke", nodeapi.Revoke{Subject: subject, Reason: "the log-in was changed"}, c.options()...)
	if message.CodeOf(err) == message.CodeUnimplemented {
		return nil // it has no sessions
	}
	return err
}

// quoted is a word for a shell.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
