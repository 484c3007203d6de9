package login

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// Name is the name of the service.
const Name = "login"

// Env is what a [Login] is given by the node. All of it may be left out.
type Env struct {
	// Logger takes what an operator wants to know. Default: [slog.Default].
	Logger *slog.Logger
	// Registry takes the metrics. Default: one of its own.
	Registry *prometheus.Registry
	// Event is told of every try to log in and of every change of passwords and
	// passkeys, on the goroutine of the call; it must not block.
	Event func(Event)
	// Revoke ends the sessions of a subject at all nodes: after a log-out
	// everywhere, and when a password was changed. Default: log-out everywhere is
	// refused, and sessions outlive a change.
	Revoke func(ctx context.Context, subject string) error
}

// Login logs people in. Make one with [New]; its owner calls [Login.Start]
// before the service is served and [Login.Close] at the end. All methods may be
// called from any goroutine.
type Login struct {
	cfg      Config
	env      Env
	table    *table
	hasher   *hasher
	throttle *throttle
	keys     *ceremonies
	metrics  *metrics
}

// New makes a Login. It opens nothing. An error is the first of
// [Config.Check], or says that the database has no driver in this program.
func New(cfg Config, env Env) (*Login, error) {
	if faults := cfg.Check(); len(faults) > 0 {
		return nil, faults[0]
	}
	cfg = cfg.withDefaults()
	if env.Logger == nil {
		env.Logger = slog.Default()
	}
	if env.Registry == nil {
		env.Registry = prometheus.NewRegistry()
	}
	l := &Login{cfg: cfg, env: env, throttle: newThrottle(cfg.Throttle), metrics: newMetrics(env.Registry)}
	l.hasher = newHasher(cfg.Passwords, l.metrics.hashes.Inc)
	var err error
	if l.keys, err = newCeremonies(cfg.Passkeys); err != nil {
		return nil, err
	}
	l.table, err = newTable(cfg.Users)
	return l, err
}

// Start connects to the database and, if the configuration says so, makes the
// tables. It blocks until that is done or ctx ends.
func (l *Login) Start(ctx context.Context) error {
	if l.cfg.Users.Create {
		l.table.private()
	}
	if err := l.table.db.PingContext(ctx); err != nil {
		e := message.NewError(message.CodeInvalidInput, "the user table cannot be reached: "+err.Error(),
			"Start the database, or correct login.users.dsn.")
		e.Path = "users.dsn"
		return e
	}
	if l.cfg.Users.Create {
		return l.table.create(ctx)
	}
	return nil
}

// Close closes the database. Calls that are running fail.
func (l *Login) Close() error { return l.table.close() }

// Active tells whether a session may go on that was begun here: whether its
// user is there and may log in. Of one that was begun elsewhere it says yes. It
// asks the user table; [github.com/ropewalk/ropewalk.Node.AskBeforeRefresh] takes
// it.
func (l *Login) Active(ctx context.Context, s *session.Session) (bool, error) {
	if _, here := s.Claim(ClaimHow); !here || s.Issuer != "" {
		return true, nil
	}
	u, err := l.table.user(ctx, s.Subject)
	if errors.Is(err, errNoUser) {
		return false, nil
	}
	return err == nil && !u.Disabled, err
}

// Service returns the service. Its calls are to be answered by the node that
// the caller is connected to: that one knows the address and the challenges.
func (l *Login) Service() *service.Service {
	s := service.New(Name, service.WithDescription("Logs people in."), service.WithConcurrency(256, 1024))
	if !l.cfg.Passwords.Off {
		s.Handle("/password", service.Handle(l.password), service.WithDescription("Log in with name and password."))
		s.Handle("/password/change", service.Handle(l.changePassword), service.WithDescription("Take another password."))
	}
	s.Handle("/logout", service.Handle(l.logout), service.WithDescription("Log out, here or everywhere."))
	s.Handle("/me", service.Handle(l.me), service.WithDescription("Who the caller is."))
	if l.keys.on() {
		s.Handle("/passkey/begin", service.Handle(l.beginPasskey), service.WithDescription("Options to log in with a passkey."))
		s.Handle("/passkey/finish", service.Handle(l.finishPasskey), service.WithDescription("Log in with a passkey."))
		s.Handle("/passkey/register/begin", service.Handle(l.beginRegister), service.WithDescription("Options to make a passkey."))
		s.Handle("/passkey/register/finish", service.Handle(l.finishRegister), service.WithDescription("Add a passkey."))
		s.Handle("/passkey/list", service.Handle(l.listPasskeys), service.WithDescription("The passkeys of the caller."))
		s.Handle("/passkey/delete", service.Handle(l.deletePasskey), service.WithDescription("Delete a passkey."))
	}
	return s
}

// ClaimHow and ClaimAt are public claims of whoever logged in here: "password"
// or "passkey", and when, in seconds since 1970.
const (
	ClaimHow = "login"
	ClaimAt  = "loginAt"
)

// admit makes u the subject of the caller's session, and returns what that is
// from now on.
func (l *Login) admit(ctx context.Context, u *User, how string) (*Me, error) {
	set := make(session.Claims, len(u.Public)+2)
	maps.Copy(set, u.Public)
	set[ClaimHow], set[ClaimAt] = how, float64(time.Now().Unix())
	p := session.Patch{Subject: &u.ID, Renew: true, Set: set, Secret: u.Secret, Delete: l.old(service.SessionOf(ctx))}
	if err := service.ChangeSession(ctx, p); err != nil {
		return nil, err
	}
	return &Me{Subject: u.ID, Authenticated: true, Claims: set}, nil
}

// old are the claims that a session loses when somebody logs in or out in it.
func (l *Login) old(s *session.Session) []string {
	var names []string
	for _, c := range []session.Claims{s.Public, s.Secret} {
		for name := range c {
			if !slices.Contains(l.cfg.Keep, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Me is who the caller is.
type Me struct {
	Subject       string         `json:"subject,omitempty"`
	Authenticated bool           `json:"authenticated"`
	Claims        session.Claims `json:"claims,omitempty"`
}

func (l *Login) me(ctx context.Context, _ struct{}) (*Me, error) {
	s := service.SessionOf(ctx)
	return &Me{Subject: s.Subject, Authenticated: s.Authenticated(), Claims: s.Public}, nil
}

type logoutIn struct {
	Everywhere bool `json:"everywhere,omitempty" jsonschema:"description=End all sessions of this user; not only this one."`
}

type done struct {
	Done bool `json:"done"`
}

// logout ends the session. Of somebody who is not logged in nothing is asked.
func (l *Login) logout(ctx context.Context, in logoutIn) (*done, error) {
	s := service.SessionOf(ctx)
	if s.Authenticated() && in.Everywhere {
		if l.env.Revoke == nil {
			return nil, message.NewError(message.CodeUnimplemented, "this node cannot end sessions elsewhere", "Log out at each place.")
		}
		if err := l.env.Revoke(ctx, s.Subject); err != nil {
			return nil, err
		}
	}
	if s.Authenticated() {
		l.tell(ctx, &Event{Kind: EventLogout, Outcome: OutcomeOK, Subject: s.Subject})
	}
	if s.Anonymous() {
		return &done{true}, nil
	}
	return &done{true}, service.ChangeSession(ctx, session.Patch{End: true})
}

// self is the user behind the caller's session.
func (l *Login) self(ctx context.Context) (*User, *session.Session, error) {
	s := service.SessionOf(ctx)
	if !s.Authenticated() {
		return nil, nil, message.NewError(message.CodeUnauthenticated, "nobody is logged in", "Log in first.")
	}
	if s.Issuer != "" {
		return nil, nil, message.NewError(message.CodeForbidden, "you were logged in by somebody else", "Change your log-in where you logged in.")
	}
	u, err := l.table.user(ctx, s.Subject)
	switch {
	case errors.Is(err, errNoUser) || err == nil && u.Disabled:
		return nil, nil, message.NewError(message.CodeForbidden, "this user cannot log in", "Ask whoever looks after the users.")
	case err != nil:
		return nil, nil, err
	}
	return u, s, nil
}

// fresh tells whether the caller logged in here a short time ago.
func (l *Login) fresh(s *session.Session) error {
	at, _ := s.Public[ClaimAt].(float64)
	if age := time.Since(time.Unix(int64(at), 0)); age <= time.Duration(l.cfg.Passkeys.Fresh) {
		return nil
	}
	return message.NewError(message.CodeUnauthenticated, "it is too long ago that you logged in", "Log in once more, then try again.")
}
