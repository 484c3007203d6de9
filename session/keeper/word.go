package keeper

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

const (
	// wordPrefix is what the words of sessions that the nodes keep begin with.
	wordPrefix = "rws_"
	// wordLen is how long one is: the prefix and 32 random bytes in base64url.
	wordLen = len(wordPrefix) + 43
)

// Opaque tells whether a credential names a session that the nodes keep, in
// place of telling it.
func Opaque(credential string) bool { return strings.HasPrefix(credential, wordPrefix) }

func newWord() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return wordPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// parse returns the id of the session that a word is for, and its proof. Both
// are made of the SHA-256 of the word, so that looking for it takes a time that
// tells nothing of other words, and neither the id nor the store tells the word.
// The id is half of the hash: it is no secret.
func parse(word string) (id string, proof [32]byte, ok bool) {
	if len(word) != wordLen {
		return "", proof, false
	}
	var b [wordLen]byte
	copy(b[:], word)
	proof = sha256.Sum256(b[:])
	var text [26]byte
	idEncoding.Encode(text[:], proof[:16])
	return string(text[:]), sha256.Sum256(proof[:]), true
}

// same compares proofs in a time that does not depend on them.
func same(a, b *[32]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
