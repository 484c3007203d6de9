package natskv

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
)

// sealed is what sealed values begin with; JSON begins otherwise.
const sealed = 1

// stretch is how often the secret is hashed to make a key of it: who can read the
// bucket can try secrets on it at home, and that of a mesh may be short.
const stretch = 300_000

var errSealed = errors.New("the value cannot be opened: it was sealed with another secret, or changed")

// sealer seals values for their keys. With a nil AEAD it leaves them as they
// are.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret, bucket string) (sealer, error) {
	if secret == "" {
		return sealer{}, nil
	}
	key, err := pbkdf2.Key(sha256.New, secret, []byte("ropewalk sessions "+bucket), stretch, 32)
	if err != nil {
		return sealer{}, fmt.Errorf("make a key of the secret: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	// It makes its own random nonces: good for 2³² values a secret.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

func (s sealer) seal(key string, value []byte) []byte {
	if s.aead == nil {
		return value
	}
	return s.aead.Seal([]byte{sealed}, nil, value, []byte(key)) //nolint:gosec // nil: it makes its own nonces
}

func (s sealer) open(key string, value []byte) ([]byte, error) {
	switch {
	case s.aead == nil && (len(value) == 0 || value[0] != sealed):
		return value, nil
	case s.aead == nil, len(value) == 0, value[0] != sealed: // also: nobody puts in what is not sealed
		return nil, errSealed
	}
	b, err := s.aead.Open(nil, nil, value[1:], []byte(key))
	if err != nil {
		return nil, errSealed
	}
	return b, nil
}
