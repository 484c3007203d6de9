package token

import (
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// sealed is what is inside the nested JWE. The id binds it to its token.
type sealed struct {
	ID     string         `json:"jti"`
	Claims session.Claims `json:"claims"`
}

// sealClaims returns the secret claims of s as a compact JWE.
func (r *ring) sealClaims(s *session.Session, now time.Time) (string, error) {
	k := r.sealing(now)
	if k == nil {
		return "", message.NewError(message.CodeConflict, "the session has secret claims, and no key can seal them now",
			"Set sessions.tokens.sealing, or give the node a key for A256GCM in sessions.tokens.keys.")
	}
	b, err := json.Marshal(sealed{ID: s.ID, Claims: s.Secret})
	if err != nil {
		return "", message.NewError(message.CodeInvalidInput, "a claim of the session is not JSON", "")
	}
	jwe, err := k.sealer.Encrypt(b)
	if err != nil {
		return "", message.NewError(message.CodeInternal, "the secret claims cannot be sealed", "")
	}
	return jwe.CompactSerialize()
}

// open returns the secret claims in a JWE that belongs to the token with this
// id, or false.
func (r *ring) open(jwe, id string, now time.Time) (session.Claims, bool) {
	h, ok := sealHeader(jwe)
	if !ok {
		return nil, false
	}
	k := r.opener(h.Kid, now)
	if k == nil {
		return nil, false
	}
	obj, err := jose.ParseEncryptedCompact(jwe, []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, false
	}
	b, err := obj.Decrypt(k.secret)
	if err != nil {
		return nil, false
	}
	var in sealed
	if strict.Unmarshal(b, &in) != nil || in.ID != id {
		return nil, false
	}
	return in.Claims, true
}
