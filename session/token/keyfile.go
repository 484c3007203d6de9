package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// madeFile is the name of the file with the keys that a node makes itself.
	madeFile   = "token-keys.json"
	originMade = "made here"
	maxFile    = 256 << 10 // bytes of a file with keys
)

// entry is a key in a file: a JWK that has its time in nbf and exp, as in
// OpenID Federation.
type entry struct {
	jose.JSONWebKey

	from, until time.Time
}

type entryTimes struct {
	From  int64 `json:"nbf,omitempty"` // seconds since 1970
	Until int64 `json:"exp,omitempty"`
}

func (e *entry) UnmarshalJSON(b []byte) error {
	var t entryTimes
	if err := errors.Join(json.Unmarshal(b, &e.JSONWebKey), json.Unmarshal(b, &t)); err != nil {
		return errors.New("there is a JWK in it that cannot be read") // the cause may quote the key
	}
	if t.From != 0 {
		e.from = time.Unix(t.From, 0)
	}
	if t.Until != 0 {
		e.until = time.Unix(t.Until, 0)
	}
	return nil
}

func (e entry) MarshalJSON() ([]byte, error) {
	b, err := e.JSONWebKey.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var t entryTimes
	if !e.from.IsZero() {
		t.From = e.from.Unix()
	}
	if !e.until.IsZero() {
		t.Until = e.until.Unix()
	}
	times, err := json.Marshal(t)
	if err != nil || len(times) == len("{}") {
		return b, err
	}
	b[len(b)-1] = ','
	return append(b, times[1:]...), nil
}

type entries struct {
	Keys []entry `json:"keys"`
}

// readFile reads the keys of a file that somebody wrote.
func readFile(k Key) ([]entry, error) {
	b, err := readAll(k.File)
	if err != nil {
		return nil, err
	}
	set, err := parseKeys(b)
	if err != nil {
		return nil, err
	}
	if k.Kid != "" && len(set) > 1 {
		return nil, errors.New("kid is set, and there is more than one key in it")
	}
	for i := range set {
		e := &set[i]
		if k.Kid != "" {
			e.KeyID = k.Kid
		}
		if k.Alg != "" && e.Algorithm != "" && k.Alg != e.Algorithm {
			return nil, fmt.Errorf("it says that the algorithm is %.32q, and the configuration %q", e.Algorithm, k.Alg)
		}
		if k.Alg != "" {
			e.Algorithm = k.Alg
		}
		if !k.From.IsZero() {
			e.from = k.From
		}
		if !k.Until.IsZero() {
			e.until = k.Until
		}
		if len(e.KeyID) > maxKid {
			return nil, fmt.Errorf("a kid has more than %d characters", maxKid)
		}
	}
	return set, nil
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is said before
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return b, err
}

// parseKeys reads a PEM file, a JWK or a JWK set. Its errors have nothing of
// the keys in them.
func parseKeys(b []byte) ([]entry, error) {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return parsePEM(b)
	}
	var set entries
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, errors.New("it is no JWK set that can be read")
	}
	if set.Keys == nil {
		var e entry
		if err := json.Unmarshal(b, &e); err != nil {
			return nil, errors.New("it is no JWK that can be read")
		}
		set.Keys = []entry{e}
	}
	if n := len(set.Keys); n == 0 || n > maxKeys {
		return nil, fmt.Errorf("there are %d keys in it; it must be 1 to %d", n, maxKeys)
	}
	return set.Keys, nil
}

func parsePEM(b []byte) ([]entry, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("there is no key in it: it is neither PEM nor a JWK; make one with: openssl genpkey -algorithm ed25519")
		}
		b = rest
		var k any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			k, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			k, err = x509.ParseECPrivateKey(block.Bytes)
		case "PUBLIC KEY":
			k, err = x509.ParsePKIXPublicKey(block.Bytes)
		default:
			continue // EC PARAMETERS, or a certificate beside the key
		}
		if err != nil {
			return nil, fmt.Errorf("its %s cannot be read", block.Type)
		}
		return []entry{{JSONWebKey: jose.JSONWebKey{Key: k}}}, nil
	}
}

// makeKeys makes a key that signs and one that seals.
func makeKeys(now time.Time) ([]entry, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	secret := make([]byte, sealLen)
	_, _ = rand.Read(secret) // never fails
	name := make([]byte, 12)
	_, _ = rand.Read(name)
	now = now.Truncate(time.Second)
	return []entry{
		{from: now, JSONWebKey: jose.JSONWebKey{Key: private, KeyID: thumbprint(private.Public()), Algorithm: string(jose.EdDSA), Use: "sig"}},
		{from: now, JSONWebKey: jose.JSONWebKey{
			Key: secret, KeyID: base64.RawURLEncoding.EncodeToString(name), Algorithm: sealAlg, Use: "enc",
		}},
	}, nil
}

// turn puts new keys before the old ones, which end after keep, and drops those
// that have ended.
func turn(old []entry, now time.Time, keep time.Duration) ([]entry, error) {
	all, err := makeKeys(now)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if end := now.Add(keep).Truncate(time.Second); e.until.IsZero() || e.until.After(end) {
			e.until = end
		}
		if now.Before(e.until) && len(all) < maxKeys {
			all = append(all, e)
		}
	}
	return all, nil
}

// readMade reads the keys that were made here, and makes them if there are
// none.
func readMade(dir string) ([]entry, error) {
	path := filepath.Join(dir, madeFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		keys, err := makeKeys(time.Now())
		if err != nil {
			return nil, err
		}
		// Link fails if another process was faster, and then its keys are ours.
		if err := writeMade(dir, keys, os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	b, err := readAll(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	keys, err := parseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// writeMade writes the file beside its place, readable for its owner alone, and
// puts it there whole.
func writeMade(dir string, keys []entry, put func(from, to string) error) error {
	b, err := json.MarshalIndent(entries{Keys: slices.Clone(keys)}, "", "  ")
	if err != nil {
		return errors.New("the keys cannot be written as JSON")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".token-keys-*") // has mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after a rename it is gone already
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return put(f.Name(), filepath.Join(dir, madeFile))
}

// exposed tells whether others than the owner may read a file.
func exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Perm()&0o077 != 0
}
