package login

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/service"
)

// Event is something that an audit log notes. It has no secrets.
type Event struct {
	Time time.Time
	// Kind is one of the constants below.
	Kind string
	// Outcome is ok, refused, throttled or failed.
	Outcome string
	// Reason says why it was refused, such as "wrong password". It is not told
	// to the caller.
	Reason string
	// User is the name that was typed, shortened and without control
	// characters; "" if none was. A person may have typed the password there.
	User string
	// Subject is the id of the user, if there is such a user.
	Subject string
	// Session is the id of the caller's session before, Client that of the
	// connection, and Addr its address.
	Session string
	Client  string
	Addr    string
}

// Values of [Event.Kind].
const (
	EventPassword       = "login.password"
	EventPasskey        = "login.passkey"
	EventLogout         = "logout"
	EventChangePassword = "password.change"
	EventAddPasskey     = "passkey.add"
	EventDeletePasskey  = "passkey.delete"
)

// Values of [Event.Outcome].
const (
	OutcomeOK        = "ok"
	OutcomeRefused   = "refused"
	OutcomeThrottled = "throttled"
	OutcomeFailed    = "failed"
)

// tell completes an event, counts it and passes it on.
func (l *Login) tell(ctx context.Context, e *Event) {
	e.Time = time.Now()
	e.User = oneLine(e.User)
	e.Session = service.SessionOf(ctx).ID
	e.Client, e.Addr = caller(ctx)
	l.metrics.attempts.WithLabelValues(e.Kind, e.Outcome).Inc()
	l.env.Logger.LogAttrs(ctx, slog.LevelDebug, "log-in", slog.String("kind", e.Kind), slog.String("outcome", e.Outcome),
		slog.String("subject", e.Subject), slog.String("client", e.Client))
	if l.env.Event != nil {
		l.env.Event(*e)
	}
}

// caller is the connection behind a call.
func caller(ctx context.Context) (id, addr string) {
	req := service.FromContext(ctx)
	if req == nil || req.Peer == nil {
		return "", ""
	}
	return req.Peer.ID(), req.Peer.RemoteAddr()
}

// maxShown is how many bytes of what somebody typed an event has.
const maxShown = 64

func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown], "") + "…"
	}
	return s
}

type metrics struct {
	attempts *prometheus.CounterVec
	hashes   prometheus.Counter
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_login_attempts_total", Help: "Log-ins and changes of passwords and passkeys, by kind and outcome.",
		}, []string{"kind", "outcome"}),
		hashes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ropewalk_login_hashes_total", Help: "Hashes of passwords that were computed.",
		}),
	}
	r.MustRegister(m.attempts, m.hashes)
	return m
}
