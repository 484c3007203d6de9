package middleware

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"slices"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// SecretConfig is the configuration of [Secret].
type SecretConfig struct {
	// Secrets are the values that are accepted; several while one is replaced
	// by another. Required, and none may be empty.
	Secrets []string `json:"secrets"`
}

// Validate says what is wrong with the configuration.
func (c SecretConfig) Validate() error {
	if len(c.Secrets) == 0 {
		return invalid("secrets", "there is no secret", "Name at least one secret.")
	}
	if slices.Contains(c.Secrets, "") {
		return invalid("secrets", "a secret is empty", "An empty secret would let everybody in; remove it.")
	}
	return nil
}

// Secret lets a message pass only if its field aut is one of the secrets, and
// answers all others with [message.CodeUnauthenticated]. It is the example of
// node-xyz for authentication, and enough between programs of one owner; it
// does not know who asks. The comparison takes the same time whatever is sent.
// An invalid configuration panics; see [SecretConfig.Validate].
//
// It fits the stages inbound, where it covers everything that is sent, and
// call. It costs a SHA-256 of the field.
func Secret(cfg SecretConfig) route.Middleware {
	must(cfg.Validate())
	sums := make([][sha256.Size]byte, len(cfg.Secrets))
	for i, s := range cfg.Secrets {
		sums[i] = sha256.Sum256([]byte(s))
	}
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			given, ok := sha256.Sum256(req.Message.Authorization), 0
			for i := range sums { // all of them, so that the time tells nothing
				ok |= subtle.ConstantTimeCompare(given[:], sums[i][:])
			}
			if ok == 1 {
				next.Handle(ctx, req, res)
				return
			}
			_ = res.Fail(refusal(req))
		})
	}
}

func refusal(req *route.Request) *message.Error {
	e := message.NewError(message.CodeUnauthenticated, "the message has the wrong secret",
		"Put the secret that the node's operator gave you into the field aut.")
	if len(req.Message.Authorization) == 0 {
		e.Message = "the message has no secret"
	}
	e.Path = "aut"
	return e
}
