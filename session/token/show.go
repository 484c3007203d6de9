package token

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Shown is what can be seen in a token. It has the public claims in clear and is
// for whoever has the token anyway; it has neither the signature nor the sealed
// part, so that the token cannot be put together from it.
type Shown struct {
	Header map[string]any `json:"header,omitempty"`
	Claims map[string]any `json:"claims,omitempty"`
	// Sealed says that there are secret claims in it.
	Sealed bool `json:"sealed"`
	// SecretClaims are the names of these, if they could be opened.
	SecretClaims []string `json:"secretClaims,omitempty"`
	// Issued and Expires are the times in it, before they are believed.
	Issued  time.Time `json:"issued,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Verified says that the token is good here and now. If it is not, Reason
	// and Problem say why.
	Verified bool   `json:"verified"`
	Reason   Reason `json:"reason,omitempty"`
	Problem  string `json:"problem,omitempty"`
}

// Show returns what can be seen in a token without any key. Verified is false.
func Show(tok string) Shown {
	s := Shown{Problem: "it was not verified: there are no keys here"}
	p, err := split(tok)
	if err != nil {
		s.fault(err)
		return s
	}
	first, _, _ := strings.Cut(tok, ".")
	s.Header, _ = members(first)
	if strict.Unmarshal(p.payload, &s.Claims) != nil {
		s.fault(refuse(ReasonMalformed))
		return s
	}
	_, s.Sealed = s.Claims["sec"]
	delete(s.Claims, "sec")
	if n, ok := number(s.Claims, "iat"); ok && n != nil {
		s.Issued, _ = instant(*n)
	}
	if n, ok := number(s.Claims, "exp"); ok && n != nil {
		s.Expires, _ = instant(*n)
	}
	return s
}

// Show returns what can be seen in a token, and whether it is good. Like
// [Codec.Decode] it does not wait, and unlike it, it counts nothing.
func (c *Codec) Show(_ context.Context, tok string) Shown {
	shown := Show(tok)
	s, err := c.decode(c.state.Load(), tok, time.Now())
	if err != nil {
		shown.fault(err)
		return shown
	}
	shown.Verified, shown.Problem = true, ""
	shown.SecretClaims = names(s.Secret)
	return shown
}

func (s *Shown) fault(err *message.Error) {
	s.Reason, s.Problem = ReasonOf(err), err.Message
}

func names(c session.Claims) []string { return slices.Sorted(maps.Keys(c)) }
