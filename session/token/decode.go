package token

import (
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// leeway is how far the clock of who made a token may be ahead of ours.
const leeway = 30 * time.Second

// Decode returns the session that a token stands for, if the token is good. It
// never waits and never does I/O. Its error has CodeUnauthenticated, see
// [ReasonOf]; if it is one of which [Needs] says true, the keys of the issuer
// have to be fetched before this token can be judged.
//
// A token of another issuer makes a session that ends with the token. Its id is
// always the same for the same token.
func (c *Codec) Decode(_ context.Context, tok string) (*session.Session, error) {
	s, err := c.decode(c.state.Load(), tok, time.Now())
	if err != nil {
		c.metrics.count(ReasonOf(err))
		return nil, err
	}
	c.metrics.count("")
	return s, nil
}

func (c *Codec) decode(st *state, tok string, now time.Time) (*session.Session, *message.Error) {
	p, err := split(tok)
	if err != nil {
		return nil, err
	}
	if p.iss == st.iss {
		return st.ours(p, tok, now)
	}
	i := st.issuers[p.iss]
	if i == nil {
		return nil, refuse(ReasonIssuer)
	}
	return c.theirs(i, p, tok, now)
}

// ours verifies a token of this mesh.
func (st *state) ours(p *parts, tok string, now time.Time) (*session.Session, *message.Error) {
	alg := jose.SignatureAlgorithm(p.header.Alg)
	switch {
	case !slices.Contains(own, alg):
		return nil, refuse(ReasonAlgorithm)
	case p.header.Typ != typ || p.header.other:
		return nil, refuse(ReasonMalformed)
	}
	k := st.ring.verifier(p.header.Kid, now)
	switch {
	case k == nil:
		return nil, refuse(ReasonUnknownKey)
	case k.alg != alg:
		return nil, refuse(ReasonAlgorithm)
	}
	body, ok := verify(tok, alg, k.verify)
	if !ok {
		return nil, refuse(ReasonSignature)
	}
	var in payload
	if !utf8.Valid(body) || strict.Unmarshal(body, &in) != nil || in.ID == "" || in.IssuedAt == nil || in.Expires == nil {
		return nil, refuse(ReasonMalformed)
	}
	if in.Audience != st.aud {
		return nil, refuse(ReasonAudience)
	}
	return st.ring.session(&in, now)
}

// session makes a session of the payload of one of our tokens.
func (r *ring) session(in *payload, now time.Time) (*session.Session, *message.Error) {
	t, err := timesOf(in.IssuedAt, in.NotBefore, in.Expires, now)
	if err != nil {
		return nil, err
	}
	s := &session.Session{
		ID: in.ID, Subject: in.Subject, Issuer: in.By, Public: in.Public,
		Since: t.issued, Expires: t.expires, Held: in.Held,
	}
	if in.Since != 0 {
		since, ok := instant(in.Since)
		if !ok {
			return nil, refuse(ReasonMalformed)
		}
		s.Since = since
	}
	if in.Limit != 0 {
		limit, ok := instant(in.Limit)
		if !ok {
			return nil, refuse(ReasonMalformed)
		}
		s.Limit = limit
	}
	if !(in.Idle >= 0 && in.Idle <= maxIdle) {
		return nil, refuse(ReasonMalformed)
	}
	s.Idle = time.Duration(in.Idle * float64(time.Second)).Round(time.Millisecond)
	if in.Sealed != "" {
		var ok bool
		if s.Secret, ok = r.open(in.Sealed, in.ID, now); !ok {
			return nil, refuse(ReasonSealed)
		}
	}
	return bounded(s, now)
}

// maxIdle is a hundred years, in seconds.
const maxIdle = 100 * 366 * 24 * 3600

// bounded returns s if it is within the bounds of a session and has not ended.
func bounded(s *session.Session, now time.Time) (*session.Session, *message.Error) {
	switch {
	case definite(s) != nil:
		return nil, refuse(ReasonMalformed)
	case s.Check() != nil:
		return nil, refuse(ReasonTooLarge)
	case s.Expired(now):
		return nil, refuse(ReasonExpired)
	}
	return s, nil
}

// verify returns the payload of a token if its signature is good.
func verify(tok string, alg jose.SignatureAlgorithm, key any) ([]byte, bool) {
	jws, err := jose.ParseSignedCompact(tok, []jose.SignatureAlgorithm{alg})
	if err != nil {
		return nil, false
	}
	body, err := jws.Verify(key)
	return body, err == nil
}

type times struct{ issued, expires time.Time }

// timesOf checks iat, nbf and exp. The first two may be missing.
func timesOf(iat, nbf, exp *float64, now time.Time) (t times, err *message.Error) {
	zero := 0.0
	if iat == nil {
		iat = &zero
	}
	if nbf == nil {
		nbf = &zero
	}
	if exp == nil {
		return t, refuse(ReasonMalformed)
	}
	issued, ok1 := instant(*iat)
	begins, ok2 := instant(*nbf)
	expires, ok3 := instant(*exp)
	switch soon := now.Add(leeway); {
	case !ok1 || !ok2 || !ok3:
		return t, refuse(ReasonMalformed)
	case !now.Before(expires):
		return t, refuse(ReasonExpired)
	case begins.After(soon) || issued.After(soon):
		return t, refuse(ReasonNotYet)
	}
	return times{issued: issued, expires: expires}, nil
}
