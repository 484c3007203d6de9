package login

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// Params say how much work an argon2id hash is.
type Params struct {
	// Memory is in KiB.
	Memory uint32
	// Passes over the memory.
	Passes uint32
	// Lanes that could be computed in parallel.
	Lanes uint8
}

// Bounds of what a stored hash may ask for: a hash is not to be a way to take
// the memory or the CPU of a node.
const (
	minMemory = 8
	maxMemory = 1 << 20 // 1 GiB
	maxPasses = 64
	maxLanes  = 64
	maxCost   = 15 // of bcrypt, some seconds
	minSalt   = 8
	maxSalt   = 64
	minSum    = 16
	maxSum    = 64
	saltSize  = 16
	sumSize   = 32
	maxPHC    = 512
)

// Kinds of [Hash.Kind].
const (
	KindArgon2id = "argon2id"
	KindArgon2i  = "argon2i"
	KindBcrypt   = "bcrypt"
)

// Hash is the hash of a password, taken apart. Make one with [HashPassword] or
// [ParseHash].
type Hash struct {
	// Kind is argon2id, argon2i or bcrypt; the last two are only checked, never
	// made.
	Kind string
	// Params are zero for bcrypt.
	Params Params

	salt, sum []byte
	crypt     string // of bcrypt, as it was written
}

var errHash = errors.New("that is no hash of a password that can be used here")

// ParseHash reads a PHC string such as
// $argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$…, or a bcrypt hash. Its error
// does not show the text.
func ParseHash(text string) (Hash, error) {
	if len(text) > maxPHC {
		return Hash{}, errHash
	}
	if strings.HasPrefix(text, "$2") {
		cost, err := bcrypt.Cost([]byte(text))
		if err != nil || cost > maxCost || len(text) != 60 {
			return Hash{}, errHash
		}
		return Hash{Kind: KindBcrypt, crypt: text}, nil
	}
	part := strings.Split(text, "$")
	if len(part) != 6 || part[0] != "" || part[2] != "v=19" || part[1] != KindArgon2id && part[1] != KindArgon2i {
		return Hash{}, errHash
	}
	h := Hash{Kind: part[1]}
	if !h.Params.parse(part[3]) {
		return Hash{}, errHash
	}
	var ok bool
	if h.salt, ok = unbase64(part[4], minSalt, maxSalt); !ok {
		return Hash{}, errHash
	}
	if h.sum, ok = unbase64(part[5], minSum, maxSum); !ok {
		return Hash{}, errHash
	}
	return h, nil
}

// parse reads m=19456,t=2,p=1, in this order as the specification says.
func (p *Params) parse(text string) bool {
	item := strings.Split(text, ",")
	if len(item) != 3 {
		return false
	}
	var n [3]uint64
	for i, limit := range []struct {
		name     string
		min, max uint64
	}{{"m=", minMemory, maxMemory}, {"t=", 1, maxPasses}, {"p=", 1, maxLanes}} {
		digits, ok := strings.CutPrefix(item[i], limit.name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || v < limit.min || v > limit.max || strconv.FormatUint(v, 10) != digits {
			return false
		}
		n[i] = v
	}
	p.Memory, p.Passes, p.Lanes = uint32(n[0]), uint32(n[1]), uint8(n[2])
	return p.Memory >= 8*uint32(p.Lanes)
}

func (p *Params) defaults() {
	if p.Memory == 0 {
		p.Memory = DefaultMemory
	}
	if p.Passes == 0 {
		p.Passes = DefaultPasses
	}
	if p.Lanes == 0 {
		p.Lanes = DefaultLanes
	}
}

func unbase64(text string, minLen, maxLen int) ([]byte, bool) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return b, err == nil && len(b) >= minLen && len(b) <= maxLen && !strings.ContainsAny(text, "\r\n")
}

// Text returns the PHC string, or the bcrypt hash.
func (h Hash) Text() string {
	if h.Kind == KindBcrypt {
		return h.crypt
	}
	return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.Kind, h.Params.Memory, h.Params.Passes, h.Params.Lanes,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

// String tells the kind only, so that no hash gets into a log by accident.
func (h Hash) String() string { return "hash of kind " + h.Kind }

// GoString is String.
func (h Hash) GoString() string { return h.String() }

// Matches tells whether password has this hash, in a time that does not depend
// on how much of it is right. It takes the memory and time of [Hash.Params].
func (h Hash) Matches(password string) bool {
	password = normal(password)
	p := &h.Params
	var sum []byte
	switch h.Kind {
	case KindBcrypt:
		return bcrypt.CompareHashAndPassword([]byte(h.crypt), []byte(password)) == nil
	case KindArgon2i:
		sum = argon2.Key([]byte(password), h.salt, p.Passes, p.Memory, p.Lanes, uint32(len(h.sum)))
	case KindArgon2id:
		sum = argon2.IDKey([]byte(password), h.salt, p.Passes, p.Memory, p.Lanes, uint32(len(h.sum)))
	default:
		return false
	}
	return subtle.ConstantTimeCompare(h.sum, sum) == 1
}

// Weaker tells whether h is less work for an attacker than a hash made with p.
func (h Hash) Weaker(p Params) bool {
	return h.Kind != KindArgon2id || h.Params.Memory < p.Memory || h.Params.Passes < p.Passes ||
		len(h.salt) < saltSize || len(h.sum) < sumSize
}

// HashPassword makes an argon2id hash with a salt of its own. It takes the
// memory and time that p says; what is zero in p is the default.
func HashPassword(password string, p Params) Hash {
	p.defaults()
	h := Hash{Kind: KindArgon2id, Params: p, salt: make([]byte, saltSize)}
	_, _ = rand.Read(h.salt) // never fails
	h.sum = argon2.IDKey([]byte(normal(password)), h.salt, p.Passes, p.Memory, p.Lanes, sumSize)
	return h
}

// normal is the one form of a text that keyboards write differently: é is one
// character or two.
func normal(s string) string { return norm.NFC.String(s) }
