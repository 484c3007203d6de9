package keeper

import (
	"errors"
	"fmt"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/session"
)

// Forms of a session.
const (
	// FormToken is a session that is written in the client's token.
	FormToken = "token"
	// FormServer is a session that the nodes keep.
	FormServer = "server"
)

const (
	// DefaultLifetime is short enough that a stolen token is soon worth nothing,
	// and long enough that clients seldom refresh.
	DefaultLifetime = time.Hour
	// DefaultIdle is how long people leave a page open and come back.
	DefaultIdle = 30 * time.Minute
	// DefaultLimit is a long working day.
	DefaultLimit = 12 * time.Hour
	// DefaultWarn is time for a question to somebody at a screen.
	DefaultWarn = 2 * time.Minute
	// MinTime is the shortest lifetime, idle time and limit: clients could not
	// keep up with less.
	MinTime = time.Second
)

// Config says how long sessions last, and where they are kept. The zero value
// is a good one.
type Config struct {
	// Form is where the state of a session is: "token" in the token that the
	// client holds, or "server" on the nodes, where it can be changed by several
	// connections at once and is gone as soon as it ends. Default: token.
	Form string `json:"form,omitempty"`
	// Lifetime is how long after it began, or was refreshed, a session ends that
	// has no idle time. Default: 1h.
	Lifetime duration.Duration `json:"lifetime,omitempty"`
	// Idle is how long after its last use a session ends, or up to a tenth less:
	// not each use is written down. Handlers can change it for a session. Default: 30m for sessions on the nodes; those in tokens end
	// by their lifetime.
	Idle duration.Duration `json:"idle,omitempty"`
	// Limit is how long after it began a session ends however much it is used.
	// Default: 12h.
	Limit duration.Duration `json:"limit,omitempty"`
	// Warn is how long before the end the client is told, but never more than a
	// quarter of the time that the session has. Default: 2m.
	Warn duration.Duration `json:"warn,omitempty"`
}

// Validate reports what is wrong with c, all of it, naming the fields as in a
// configuration file.
func (c *Config) Validate() error {
	var errs []error
	switch c.Form {
	case "", FormToken, FormServer:
	default:
		errs = append(errs, fmt.Errorf("form: %q is none of token, server", c.Form))
	}
	for _, f := range []struct {
		name string
		d    duration.Duration
	}{{"lifetime", c.Lifetime}, {"idle", c.Idle}, {"limit", c.Limit}} {
		switch d := time.Duration(f.d); {
		case d != 0 && d < MinTime:
			errs = append(errs, fmt.Errorf("%s: %v is too short; it takes %v or more", f.name, d, MinTime))
		case d > session.MaxIdle:
			errs = append(errs, fmt.Errorf("%s: %v is more than a year", f.name, d))
		}
	}
	if c.Warn < 0 {
		errs = append(errs, fmt.Errorf("warn: %v is negative", c.Warn))
	}
	if limit := c.Limit.Or(DefaultLimit); time.Duration(c.Lifetime) > limit || time.Duration(c.Idle) > limit {
		errs = append(errs, fmt.Errorf("limit: it is %v, and lifetime or idle is more; raise it", limit))
	}
	return errors.Join(errs...)
}

// filled returns c with all defaults.
func (c Config) filled() Config {
	if c.Form == "" {
		c.Form = FormToken
	}
	c.Limit = duration.Duration(c.Limit.Or(DefaultLimit))
	c.Lifetime = min(duration.Duration(c.Lifetime.Or(DefaultLifetime)), c.Limit)
	if c.Form == FormServer {
		c.Idle = min(duration.Duration(c.Idle.Or(DefaultIdle)), c.Limit)
	}
	c.Warn = duration.Duration(c.Warn.Or(DefaultWarn))
	return c
}

// warn is how long before its end the client of s is told.
func (c *Config) warn(s *session.Session) time.Duration {
	span := time.Duration(c.Lifetime)
	if s.Idle > 0 {
		span = s.Idle
	}
	return min(time.Duration(c.Warn), span/4)
}

// MaxAge is how long a session lasts at most: how long a [Store] needs to keep
// what is not written to.
func (c Config) MaxAge() time.Duration { return c.Limit.Or(DefaultLimit) }
