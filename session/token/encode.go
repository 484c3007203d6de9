package token

import (
	"encoding/json"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// payload is what one of our tokens says. Times are seconds since 1970.
type payload struct {
	Issuer    string         `json:"iss"`
	Audience  string         `json:"aud"`
	Subject   string         `json:"sub,omitempty"`
	ID        string         `json:"jti"`
	IssuedAt  *float64       `json:"iat"`
	NotBefore *float64       `json:"nbf,omitempty"`
	Expires   *float64       `json:"exp"`
	Since     float64        `json:"since,omitempty"`
	Idle      float64        `json:"idle,omitempty"` // seconds
	Limit     float64        `json:"limit,omitempty"`
	By        string         `json:"by,omitempty"` // who authenticated the subject, if that was not us
	Held      bool           `json:"held,omitempty"`
	Public    session.Claims `json:"pub,omitempty"`
	Sealed    string         `json:"sec,omitempty"`
}

// Encode returns a token for s, signed with the newest key. It ends when s does,
// or after Config.Lifetime if s has no end. The token of a session that is held
// by the nodes only names it. The error has CodeInvalidInput if s is nobody's or
// not within the bounds of a session, CodeTooLarge if the token would have more
// than MaxSize bytes, CodeUnauthenticated if s has ended, and CodeConflict if
// there is no key for it.
func (c *Codec) Encode(s *session.Session) (string, error) {
	st, now := c.state.Load(), time.Now()
	if err := sound(s); err != nil {
		return "", err
	}
	if s.Expired(now) {
		return "", refuse(ReasonExpired)
	}
	k := st.ring.signing(now)
	if k == nil {
		return "", message.NewError(message.CodeConflict, "no key can sign now",
			"Give the node a private key in sessions.tokens.keys, or a sessions.tokens.secret.")
	}
	p := st.payload(s, now)
	if len(s.Secret) > 0 && !s.Held {
		var err error
		if p.Sealed, err = st.ring.sealClaims(s, now); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return "", message.NewError(message.CodeInvalidInput, "a claim of the session is not JSON", "")
	}
	jws, err := k.signer.Sign(b)
	if err != nil {
		return "", message.NewError(message.CodeInternal, "the token cannot be signed", "")
	}
	tok, err := jws.CompactSerialize()
	switch {
	case err != nil:
		return "", message.NewError(message.CodeInternal, "the token cannot be written", "")
	case len(tok) > MaxSize:
		return "", message.NewError(message.CodeTooLarge, "the session is too large for a token", reasons[ReasonTooLarge].hint)
	}
	return tok, nil
}

func (st *state) payload(s *session.Session, now time.Time) *payload {
	end := s.Expires
	if end.IsZero() {
		end = now.Add(st.cfg.Lifetime.Or(defaultLifetime))
	}
	if !s.Limit.IsZero() && s.Limit.Before(end) {
		end = s.Limit
	}
	// Whole seconds are what all libraries read; the end is never put off by it.
	issued, expires := float64(now.Unix()), float64(end.Unix())
	p := &payload{
		Issuer: st.iss, Audience: st.aud, Subject: s.Subject, ID: s.ID, By: s.Issuer,
		IssuedAt: &issued, NotBefore: &issued, Expires: &expires,
		Since: seconds(s.Since), Idle: s.Idle.Seconds(), Limit: seconds(s.Limit),
		Held: s.Held, Public: s.Public,
	}
	if s.Held {
		p.Public = nil
	}
	return p
}

// sound tells whether s can be in a token, and will come out of it as it was.
func sound(s *session.Session) error {
	if s == nil || s.Anonymous() {
		return message.NewError(message.CodeInvalidInput, "nobody has this session", "Begin a session before you ask for its token.")
	}
	if err := definite(s); err != nil {
		return err
	}
	return s.Check()
}

// definite tells whether the texts and names of s mean one thing only.
func definite(s *session.Session) error {
	if !plain(s.ID) || !plain(s.Subject) || !plain(s.Issuer) {
		return message.NewError(message.CodeInvalidInput, "the id, subject or issuer of the session has characters that are no text",
			"Take out control characters and bytes that are not UTF-8.")
	}
	for name := range s.Secret {
		if _, ok := s.Public[name]; ok {
			return message.NewError(message.CodeInvalidInput, "a claim of the session is public and secret at once", "Delete one of the two.")
		}
	}
	return nil
}

// plain tells whether text can stand in a log and in JSON without becoming
// another text.
func plain(text string) bool {
	return utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError })
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// latest is the end of the year 9999, the last that RFC 3339 can write.
const latest = 253402300799

// instant returns the time of a NumericDate; ok is false if it is none.
func instant(s float64) (t time.Time, ok bool) {
	if !(s >= 0 && s <= latest) { // NaN is neither
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(s * 1000))), true
}
