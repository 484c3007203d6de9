package token

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTime    = 10 * time.Second // for discovery and keys together
	maxDocument  = 256 << 10        // bytes
	maxRedirects = 3
)

// fetcher gets documents of issuers. The addresses are those of the
// configuration, and those that a document says which was got from there.
type fetcher struct{ client *http.Client }

func newFetcher(t http.RoundTripper) *fetcher {
	if t == nil {
		// Fetches are rare: no connection is worth keeping.
		t = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: fetchTime, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &fetcher{client: &http.Client{
		Transport: t,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
				return errors.New("it redirects to another host, or too often")
			}
			return nil
		},
	}}
}

// get returns the body of a JSON document.
func (f *fetcher) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ropewalk")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers with status %d", url, res.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	if len(b) > maxDocument {
		return nil, fmt.Errorf("%s has more than %d bytes", url, maxDocument)
	}
	return b, nil
}

// keys finds and gets the keys of an issuer.
func (f *fetcher) keys(ctx context.Context, cfg Issuer) ([]foreignKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	at := cfg.JWKSURL
	if at == "" {
		var err error
		if at, err = f.discover(ctx, cfg.URL); err != nil {
			return nil, err
		}
	}
	b, err := f.get(ctx, at)
	if err != nil {
		return nil, err
	}
	keys, err := parseJWKS(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return keys, nil
}

// discover asks an issuer where its keys are.
func (f *fetcher) discover(ctx context.Context, issuer string) (string, error) {
	b, err := f.get(ctx, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var doc struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return "", errors.New("what it says about itself is not JSON")
	}
	if doc.Issuer != issuer {
		return "", fmt.Errorf("it says that it is %.200q; write its url like that, if that is who you mean", doc.Issuer)
	}
	if err := checkURL(doc.JWKS); err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(doc.JWKS, "https:") {
		return "", errors.New("jwks_uri: it is on this machine, and the issuer is not") // what listens here is not for others to ask
	}
	return doc.JWKS, nil
}

// parseJWKS reads a JWK set. It skips what is not a public key for signatures,
// and fails if nothing is left.
func parseJWKS(b []byte) ([]foreignKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("it is not a JWK set")
	}
	var keys []foreignKey
	for _, raw := range doc.Keys[:min(len(doc.Keys), maxKeys)] {
		// Who gives away a private key has lost it. A secret is never a public key.
		var private struct {
			D json.RawMessage `json:"d"`
			K json.RawMessage `json:"k"`
			P json.RawMessage `json:"p"`
		}
		if json.Unmarshal(raw, &private) != nil || private.D != nil || private.K != nil || private.P != nil {
			continue
		}
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(raw) != nil || !jwk.IsPublic() || !jwk.Valid() || jwk.Use != "" && jwk.Use != "sig" || len(jwk.KeyID) > maxKid {
			continue
		}
		keys = append(keys, foreignKey{kid: jwk.KeyID, alg: jwk.Algorithm, verify: jwk.Key})
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no public key for signatures in it")
	}
	return keys, nil
}

// start begins a fetch, unless one is under way or was a short time ago; then it
// returns that one.
func (c *Codec) start(i *issuer) *flight {
	now := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.flight
	if before != nil && (before.running() || now.Sub(i.tried) < retryFetch) {
		return before
	}
	f := &flight{done: make(chan struct{})}
	i.flight, i.tried = f, now
	if !c.lane.Go("token keys", func(ctx context.Context) { c.fetch(ctx, i, f, before) }) {
		f.err = errClosed
		close(f.done)
	}
	return f
}

// fetch gets the keys. It logs when that begins to fail and when it is over.
func (c *Codec) fetch(ctx context.Context, i *issuer, f, before *flight) {
	f.err = errors.New("it panicked") // is overwritten below
	defer close(f.done)
	keys, err := c.fetcher.keys(ctx, i.cfg)
	f.err = err
	c.metrics.fetched(i.cfg.URL, err == nil)
	failed := before != nil && before.err != nil
	switch {
	case err != nil && !failed && ctx.Err() == nil:
		c.log.Warn("the keys of an issuer cannot be fetched; look whether its url is right and it can be reached", "url", i.cfg.URL, "err", err)
	case err == nil:
		i.keys.Store(&keySet{keys: keys, at: time.Now()})
		if failed {
			c.log.Info("the keys of an issuer are here again", "url", i.cfg.URL, "keys", len(keys))
		}
	}
}
