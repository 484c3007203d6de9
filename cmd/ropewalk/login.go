package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// loginCmd is about users and their passwords.
type loginCmd struct {
	Hash loginHashCmd `cmd:"" help:"Read a password and print its hash, for a user table."`
	User loginUserCmd `cmd:"" help:"Look after the users of the configured table."`
}

// Help is printed below the flags.
func (*loginCmd) Help() string {
	return `The user table is that of the configuration that --config names, field "login". No node is asked, but to end the sessions of a user whose password
was set, or who was disabled: that needs the permission "admin". A password is read from the terminal without
showing it, or from standard input, where it is the first line.

Examples:

  ropewalk login user add anna --public '{"role":"editor"}' --config ropewalk.jsonc
  ropewalk login user list --config ropewalk.jsonc
  ropewalk login hash`
}

// loginFlags say where the configuration is.
type loginFlags struct {
	configFlag
}

// load reads the field login of the configuration.
func (f *loginFlags) load(w *world) (login.Config, *config.Report, error) {
	var cfg standard.Config
	report, err := f.source(w).Read(&cfg)
	return cfg.Login, report, err
}

// open connects to the user table. The caller closes it.
func (f *loginFlags) open(ctx context.Context, w *world) (*login.Login, error) {
	cfg, report, err := f.load(w)
	if err != nil {
		return nil, err
	}
	if !cfg.On() {
		return nil, usage("the configuration has no user table", "Set login.users.driver and login.users.dsn; docs/how-to/login.md shows how.")
	}
	c := &checker{report: report}
	for _, fault := range cfg.Check() {
		e := message.AsError(fault)
		c.add("login."+e.Path, e.Message, e.Hint)
	}
	if len(c.list) > 0 {
		return nil, &config.Error{Problems: c.list}
	}
	l, err := login.New(cfg, login.Env{Logger: slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return nil, err
	}
	if err := l.Start(ctx); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

type loginHashCmd struct {
	loginFlags
}

// Run prints the hash.
func (c *loginHashCmd) Run(ctx context.Context, w *world) error {
	cfg, _, err := c.load(w)
	if err != nil {
		return err
	}
	password, err := w.newPassword(ctx)
	if err != nil {
		return err
	}
	if err := cfg.Passwords.Accept("", password); err != nil {
		return err
	}
	hash := cfg.Passwords.Hash(password).Text()
	if w.json {
		return w.line(map[string]string{"hash": hash})
	}
	return w.printf("%s\n", hash)
}

// loginUserCmd is about the users of the table.
type loginUserCmd struct {
	Add     loginAddCmd     `cmd:"" help:"Add a user."`
	List    loginListCmd    `cmd:"" help:"List the users."`
	Passwd  loginPasswdCmd  `cmd:"" help:"Set the password of a user."`
	Disable loginDisableCmd `cmd:"" help:"Keep a user from logging in."`
	Enable  loginEnableCmd  `cmd:"" help:"Let a user log in again."`
}

type loginAddCmd struct {
	loginFlags
	Name       string `arg:"" help:"What the user types to log in."`
	Public     string `placeholder:"JSON" help:"Claims that the client may see: a JSON object."`
	Secret     string `placeholder:"JSON" help:"Claims that the client does not see: a JSON object."`
	NoPassword bool   `help:"Without a password, which can be set later."`
}

// Run adds the user.
func (c *loginAddCmd) Run(ctx context.Context, w *world) error {
	public, err := claimsFlag("--public", c.Public)
	if err != nil {
		return err
	}
	secret, err := claimsFlag("--secret", c.Secret)
	if err != nil {
		return err
	}
	l, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	password := ""
	if !c.NoPassword {
		if password, err = w.newPassword(ctx); err != nil {
			return err
		}
		if password == "" {
			return usage("the password is empty", "Type one, or give --no-password.")
		}
	}
	u, err := l.AddUser(ctx, c.Name, password, public, secret)
	if err != nil {
		return err
	}
	if w.json {
		return w.line(u)
	}
	return w.printf("added %s, id %s\n", oneLine(u.Name), u.ID)
}

// claimsFlag reads an object of claims.
func claimsFlag(flag, text string) (session.Claims, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no claims are no error
	}
	var c session.Claims
	if err := json.Unmarshal([]byte(text), &c); err != nil || c == nil {
		return nil, usage(flag+" is not a JSON object", `Write it like '{"role":"editor"}'.`)
	}
	return c, nil
}

type loginListCmd struct {
	loginFlags
	Limit int `default:"1000" placeholder:"N" help:"Not more than so many. Default: ${default}."`
}

// Run lists.
func (c *loginListCmd) Run(ctx context.Context, w *world) error {
	l, err := c.open(ctx, w)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	list, err := l.Users(ctx, max(c.Limit, 0))
	if err != nil {
		return err
	}
	if w.json {
		return w.line(list)
	}
	t := newTable("NAME", "ID", "STATE", "CLAIMS")
	for _, u := range list {
		state := "active"
		if u.Disabled {
			state = "disabled"
		}
		claims, err := json.Marshal(u.Public)
		if err != nil {
			return err
		}
		t.add(u.Name, u.ID, state, string(claims))
	}
	return t.print(w)
}

// newPassword reads a password, from a terminal twice.
func (w *world) newPassword(ctx context.Context) (string, error) {
	f, ok := w.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return firstLine(w.in)
	}
	first, err := w.ask(ctx, f, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := w.ask(ctx, f, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", usage("the two passwords differ", "Type the same one twice.")
	}
	return first, nil
}

// maxLine is more than any password that is accepted.
const maxLine = 8 << 10

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// ask reads a line from a terminal without showing it. When ctx ends first, the
// terminal is as it was.
func (w *world) ask(ctx context.Context, f *os.File, prompt string) (string, error) {
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	fmt.Fprint(w.err, prompt)
	type read struct {
		text []byte
		err  error
	}
	got := make(chan read, 1)
	go func() { // it ends with the line, or with the process
		text, err := term.ReadPassword(fd)
		got <- read{text, err}
	}()
	defer fmt.Fprintln(w.err)
	select {
	case r := <-got:
		return string(r.text), r.err
	case <-ctx.Done():
		_ = term.Restore(fd, before)
		return "", fail(exitInterrupted, context.Cause(ctx))
	}
}
