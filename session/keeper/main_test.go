package keeper_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
	"github.com/ropewalk/ropewalk/session/keeper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a codec without any cryptography. Times have milliseconds.
type plain struct{}

func (plain) Encode(s *session.Session) (string, error) {
	b, err := json.Marshal(map[string]any{
		"id": s.ID, "sub": s.Subject, "iss": s.Issuer, "pub": s.Public, "sec": s.Secret, "since": s.Since.UnixMilli(),
		"exp": s.Expires.UnixMilli(), "lim": s.Limit.UnixMilli(), "idle": s.Idle,
	})
	return "t." + base64.RawURLEncoding.EncodeToString(b), err
}

func (plain) DecodeWait(_ context.Context, token string) (*session.Session, error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "t."))
	var v struct {
		ID, Sub, Iss    string
		Pub, Sec        session.Claims
		Since, Exp, Lim int64
		Idle            time.Duration
	}
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		return nil, &message.Error{Code: message.CodeUnauthenticated, Details: []byte(`{"reason":"malformed"}`)}
	}
	s := &session.Session{
		ID: v.ID, Subject: v.Sub, Issuer: v.Iss, Public: v.Pub, Secret: v.Sec,
		Since: time.UnixMilli(v.Since), Expires: time.UnixMilli(v.Exp), Idle: v.Idle,
	}
	if v.Lim > 0 {
		s.Limit = time.UnixMilli(v.Lim)
	}
	return s, nil
}

func seconds(n int) duration.Duration { return duration.Duration(time.Duration(n) * time.Second) }

// start returns a Keeper that is closed at the end of the test.
func start(t testing.TB, cfg keeper.Config, parts keeper.Parts) *keeper.Keeper {
	t.Helper()
	if parts.Codec == nil {
		parts.Codec = plain{}
	}
	if parts.Logger == nil {
		parts.Logger = slog.New(slog.DiscardHandler)
	}
	k, err := keeper.New(t.Context(), cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// wantReason checks that err refuses a credential for a reason.
func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) || e.Code != message.CodeUnauthenticated {
		t.Fatalf("error %v, want one with code unauthenticated", err)
	}
	if want := `{"reason":"` + reason + `"}`; string(e.Details) != want {
		t.Fatalf("details %s (%v), want %s", e.Details, err, want)
	}
}

func wantCode(t testing.TB, err error, code message.Code) {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want one with code %s", err, code)
	}
}

// events keeps what a Live is told.
type events struct {
	mu   sync.Mutex
	list []keeper.Event
}

func (e *events) add(v keeper.Event) {
	e.mu.Lock()
	e.list = append(e.list, v)
	e.mu.Unlock()
}

// take returns the kinds of what came since the last take.
func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, v := range e.list {
		out = append(out, v.Kind.String())
	}
	e.list = nil
	return strings.Join(out, " ")
}

func begin(t testing.TB, k *keeper.Keeper, subject string) (*session.Session, string) {
	t.Helper()
	s, c, err := k.Begin(t.Context(), session.New(subject, session.Claims{"role": "editor"}, session.Claims{"shard": 7.0}))
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// forms are the two forms of sessions.
var forms = []string{keeper.FormToken, keeper.FormServer}
