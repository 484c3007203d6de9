package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// typ is what the header of our tokens says they are, so that a token of
	// another kind that is signed with the same key is not taken for a session.
	typ = "ropewalk+jwt"
	// sealAlg stands for the algorithm of a key that seals.
	sealAlg = string(jose.A256GCM)
	sealLen = 32
	maxKid  = 256 // bytes
)

// signKey is a key of this mesh that signs tokens or verifies them.
type signKey struct {
	span
	alg    jose.SignatureAlgorithm
	verify any         // an ed25519.PublicKey, an *ecdsa.PublicKey or the []byte of an HMAC
	signer jose.Signer // nil: it verifies only
}

// sealKey is a key that seals secret claims and opens them.
type sealKey struct {
	span
	secret []byte
	sealer jose.Encrypter // nil: it opens only
}

// span is what both have: a name, and a time.
type span struct {
	kid         string
	from, until time.Time
	origin      string
}

// begun tells whether the key makes something new now, over whether it is
// accepted.
func (s *span) begun(now time.Time) bool { return !s.from.After(now) && !s.over(now) }
func (s *span) over(now time.Time) bool  { return !s.until.IsZero() && !now.Before(s.until) }

// newSignKey takes a private or public key, or the secret of an HMAC. The
// algorithm may be "", if the key says it all.
func newSignKey(at span, alg string, k any) (*signKey, error) {
	out := &signKey{span: at, alg: jose.SignatureAlgorithm(alg)}
	var sign any
	var fits jose.SignatureAlgorithm
	switch k := k.(type) {
	case ed25519.PrivateKey:
		sign, out.verify, fits = k, k.Public(), jose.EdDSA
	case ed25519.PublicKey:
		out.verify, fits = k, jose.EdDSA
	case *ecdsa.PrivateKey:
		sign, out.verify, fits = k, &k.PublicKey, jose.ES256
	case *ecdsa.PublicKey:
		out.verify, fits = k, jose.ES256
	case []byte:
		if len(k) < MinSecret {
			return nil, fmt.Errorf("the secret of HS256 has %d bytes, and %d are the least", len(k), MinSecret)
		}
		if alg == "" {
			return nil, errors.New("it does not say what the secret is for; set alg to HS256 or A256GCM")
		}
		sign, out.verify, fits = k, k, jose.HS256
	default:
		return nil, fmt.Errorf("keys of the type %T are not for tokens; take Ed25519, P-256 or a secret", k)
	}
	if out.alg == "" {
		out.alg = fits
	}
	if out.alg != fits || !suits(out.alg, out.verify) {
		return nil, fmt.Errorf("it does not suit the algorithm %q", out.alg)
	}
	if out.kid == "" {
		out.kid = thumbprint(out.verify)
	}
	if sign == nil {
		return out, nil
	}
	opts := (&jose.SignerOptions{}).WithType(typ).WithHeader("kid", out.kid)
	var err error
	out.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: out.alg, Key: sign}, opts)
	return out, err
}

// suits tells whether a public key, or a secret, is one for alg. An HMAC with
// the bytes of a public key can thus never be asked for.
func suits(alg jose.SignatureAlgorithm, k any) bool {
	switch k := k.(type) {
	case ed25519.PublicKey:
		return alg == jose.EdDSA && len(k) == ed25519.PublicKeySize
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return alg == jose.ES256
		case elliptic.P384():
			return alg == jose.ES384
		case elliptic.P521():
			return alg == jose.ES512
		}
	case *rsa.PublicKey:
		return slices.Contains(foreignRSA, alg) && k.N.BitLen() >= 2048
	case []byte:
		return alg == jose.HS256
	}
	return false
}

func newSealKey(at span, secret []byte, opens bool) (*sealKey, error) {
	if len(secret) != sealLen {
		return nil, fmt.Errorf("a key for A256GCM has %d bytes, and this one has %d", sealLen, len(secret))
	}
	k := &sealKey{span: at, secret: secret}
	if k.kid == "" {
		k.kid = thumbprint(secret)
	}
	if opens {
		return k, nil
	}
	var err error
	k.sealer, err = jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: secret, KeyID: k.kid}, nil)
	return k, err
}

// thumbprint names a key after itself. Of a secret it is a keyed hash, which
// tells no more of it than a signature.
func thumbprint(k any) string {
	if secret, ok := k.([]byte); ok {
		m := hmac.New(sha256.New, secret)
		m.Write([]byte("ropewalk kid"))
		return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:12])
	}
	jwk := jose.JSONWebKey{Key: k}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// derive makes a key for one use of a secret, so that what signs and what seals
// have nothing to do with each other.
func derive(secret, use string) ([]byte, error) {
	return hkdf.Key(sha256.New, []byte(secret), nil, "ropewalk session "+use, sealLen)
}
