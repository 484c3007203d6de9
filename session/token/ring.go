package token

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ring is the keys of this mesh. It never changes.
type ring struct {
	sign []*signKey // in the order of the configuration
	seal []*sealKey
}

// load reads all keys of a configuration. Made are the keys that were made here
// and are nowhere in a file.
func load(cfg *Config, made []entry) (*ring, error) {
	r := &ring{}
	for i, k := range cfg.Keys {
		entries, err := readFile(k)
		for n := 0; n < len(entries) && err == nil; n++ {
			err = r.add(entries[n], k.File)
		}
		if err != nil {
			return nil, fmt.Errorf("keys[%d].file: %s: %w", i, k.File, err)
		}
	}
	if err := r.addSecrets(cfg); err != nil {
		return nil, err
	}
	if cfg.generates() && cfg.Dir != "" {
		var err error
		if made, err = readMade(cfg.Dir); err != nil {
			return nil, fmt.Errorf("dir: %w", err)
		}
	}
	if cfg.generates() {
		for _, e := range made {
			if err := r.add(e, originMade); err != nil {
				return nil, fmt.Errorf("dir: %w", err)
			}
		}
	}
	return r, r.unique()
}

// add takes a key out of a file.
func (r *ring) add(e entry, origin string) error {
	at := span{kid: e.KeyID, from: e.from, until: e.until, origin: origin}
	secret, symmetric := e.Key.([]byte)
	if symmetric && e.Algorithm == sealAlg {
		k, err := newSealKey(at, secret, false)
		if err == nil {
			r.seal = append(r.seal, k)
		}
		return err
	}
	k, err := newSignKey(at, e.Algorithm, e.Key)
	if err == nil {
		r.sign = append(r.sign, k)
	}
	return err
}

// addSecrets derives keys from the secrets.
func (r *ring) addSecrets(cfg *Config) error {
	for i, s := range append([]string{cfg.Secret}, cfg.OldSecrets...) {
		if s == "" {
			continue
		}
		origin := nth("secret", "oldSecrets", i)
		b, err := derive(s, "sign")
		if err != nil {
			return err
		}
		k, err := newSignKey(span{origin: origin}, string(jose.HS256), b)
		if err != nil {
			return fmt.Errorf("%s: %w", origin, err)
		}
		if i > 0 {
			k.signer = nil
		}
		r.sign = append(r.sign, k)
	}
	seals := append([]string{cfg.Sealing}, cfg.OldSealing...)
	names := [2]string{"sealing", "oldSealing"}
	for range 2 { // what Sealing seals, then what Secret does
		for i, s := range seals {
			if err := r.addSealing(s, nth(names[0], names[1], i), i > 0); err != nil {
				return err
			}
		}
		seals, names = append([]string{cfg.Secret}, cfg.OldSecrets...), [2]string{"secret", "oldSecrets"}
	}
	return nil
}

func (r *ring) addSealing(secret, origin string, opens bool) error {
	if secret == "" {
		return nil
	}
	b, err := derive(secret, "seal")
	if err != nil {
		return err
	}
	k, err := newSealKey(span{origin: origin}, b, opens)
	if err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	if r.opener(k.kid, time.Time{}) == nil { // the same secret may stand for both
		r.seal = append(r.seal, k)
	}
	return nil
}

func nth(first, others string, i int) string {
	if i == 0 {
		return first
	}
	return fmt.Sprintf("%s[%d]", others, i-1)
}

// unique refuses two keys with one name: a token could not say which it means.
func (r *ring) unique() error {
	seen := make(map[string]string)
	for _, k := range r.spans() {
		if before, ok := seen[k.kid]; ok {
			return fmt.Errorf("keys: %s and %s both have the kid %q", before, k.origin, k.kid)
		}
		seen[k.kid] = k.origin
	}
	return nil
}

func (r *ring) spans() []*span {
	all := make([]*span, 0, len(r.sign)+len(r.seal))
	for _, k := range r.sign {
		all = append(all, &k.span)
	}
	for _, k := range r.seal {
		all = append(all, &k.span)
	}
	return all
}

// signing is the key that signs now, or nil.
func (r *ring) signing(now time.Time) *signKey {
	var best *signKey
	for _, k := range r.sign {
		if k.signer != nil && k.begun(now) && (best == nil || k.from.After(best.from)) {
			best = k
		}
	}
	return best
}

// sealing is the key that seals now, or nil.
func (r *ring) sealing(now time.Time) *sealKey {
	var best *sealKey
	for _, k := range r.seal {
		if k.sealer != nil && k.begun(now) && (best == nil || k.from.After(best.from)) {
			best = k
		}
	}
	return best
}

// verifier is the key with this name, or nil if there is none or its time is over.
func (r *ring) verifier(kid string, now time.Time) *signKey {
	for _, k := range r.sign {
		if k.kid == kid && !k.over(now) {
			return k
		}
	}
	return nil
}

func (r *ring) opener(kid string, now time.Time) *sealKey {
	for _, k := range r.seal {
		if k.kid == kid && !k.over(now) {
			return k
		}
	}
	return nil
}

// jwks is the JWK set of the public keys that are accepted now or will be.
func (r *ring) jwks(now time.Time) []byte {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range r.sign {
		jwk := jose.JSONWebKey{Key: k.verify, KeyID: k.kid, Algorithm: string(k.alg), Use: "sig"}
		if jwk.IsPublic() && !k.over(now) {
			set.Keys = append(set.Keys, jwk)
		}
	}
	b, err := json.Marshal(set)
	if err != nil {
		return []byte(`{"keys":[]}`)
	}
	return b
}

// KeyInfo is what may be told about a key.
type KeyInfo struct {
	Kid string `json:"kid"`
	// Alg is the algorithm: A256GCM for a key that seals.
	Alg string `json:"alg"`
	// State is "signs" or "seals" for the key that does so now, "waits" until
	// From, "ended" after Until, and "verifies" or "opens" in all other cases.
	State string `json:"state"`
	// Origin is the file, or the field of the configuration, that it is from, or
	// "made here".
	Origin string    `json:"origin,omitempty"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

func (r *ring) infos(now time.Time) []KeyInfo {
	infos := make([]KeyInfo, 0, len(r.sign)+len(r.seal))
	signing, sealing := r.signing(now), r.sealing(now)
	for _, k := range r.sign {
		infos = append(infos, k.info(now, string(k.alg), k == signing, k.signer != nil, "signs", "verifies"))
	}
	for _, k := range r.seal {
		infos = append(infos, k.info(now, sealAlg, k == sealing, k.sealer != nil, "seals", "opens"))
	}
	return infos
}

func (s *span) info(now time.Time, alg string, used, makes bool, active, passive string) KeyInfo {
	i := KeyInfo{Kid: s.kid, Alg: alg, Origin: s.origin, From: s.from, Until: s.until}
	switch {
	case used:
		i.State = active
	case s.over(now):
		i.State = "ended"
	case makes && s.from.After(now):
		i.State = "waits"
	default:
		i.State = passive
	}
	i.Origin = cmp.Or(i.Origin, originMade)
	return i
}
