package token

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
)

const (
	// MaxSize is how many bytes a token may have. It holds a session at its
	// bounds.
	MaxSize = 32 << 10
	// MinSecret is how many bytes a secret has at least: whoever has a token can
	// try secrets on it at home.
	MinSecret = 32

	defaultLifetime = time.Hour
	// defaultKeep is longer than the longest session that we would recommend.
	defaultKeep    = 30 * 24 * time.Hour
	defaultRefresh = 15 * time.Minute
	maxIssuers     = 32
	maxKeys        = 64
	maxText        = 512 // bytes of an issuer or audience
)

// Config says how tokens of sessions are signed, and whose tokens are accepted.
// The zero Config is a good one for a node alone: it makes its own keys. All
// nodes of a mesh need the same Secret or the same Keys.
type Config struct {
	// Secret is what signs tokens (HS256) and seals secret claims, of 32
	// characters and more. Better given as ROPEWALK_SESSIONS_TOKENS_SECRET than in a
	// file.
	Secret string `json:"secret,omitempty" secret:"true"`
	// OldSecrets are secrets of before. They sign nothing, and their tokens are
	// accepted.
	OldSecrets []string `json:"oldSecrets,omitempty" secret:"true"`
	// Sealing is a secret for secret claims alone, for those who sign with Keys.
	// Default: Secret.
	Sealing string `json:"sealing,omitempty" secret:"true"`
	// OldSealing are secrets of before, which open and do not seal.
	OldSealing []string `json:"oldSealing,omitempty" secret:"true"`
	// Keys are files with keys. The one with the latest From that is in its time
	// signs; of several, the first. The others verify.
	Keys []Key `json:"keys,omitempty"`
	// Dir is the directory in which the node keeps the keys that it makes itself
	// if there is neither Secret nor Keys. Default: they are kept nowhere, and live
	// as long as the process.
	Dir string `json:"dir,omitempty" path:"file"`
	// Keep is for how long keys that were made here verify tokens after they
	// have been replaced. Default: 720h.
	Keep duration.Duration `json:"keep,omitzero"`
	// Issuer is who issues our tokens. Default: ropewalk: and the name of the
	// mesh.
	Issuer string `json:"issuer,omitempty"`
	// Audience is for whom our tokens are. Default: Issuer.
	Audience string `json:"audience,omitempty"`
	// Lifetime is how long a token is valid if its session does not say when it
	// ends. Default: 1h.
	Lifetime duration.Duration `json:"lifetime,omitzero"`
	// Issuers are others whose tokens are accepted, such as an OpenID Connect
	// provider.
	Issuers []Issuer `json:"issuers,omitempty"`
}

// Key is a file with keys: a PEM file, a JWK or a JWK set. A public key verifies
// and does not sign.
type Key struct {
	// File is the path. It should be readable for the node alone.
	File string `json:"file" path:"file"`
	// Kid is the name of the key in tokens. Default: what a JWK says, else a
	// thumbprint. Not for a JWK set.
	Kid string `json:"kid,omitempty"`
	// Alg is EdDSA, ES256 or HS256 for signing, A256GCM for sealing. Default:
	// what fits the key.
	Alg string `json:"alg,omitempty"`
	// From is when the key begins to sign, such as 2026-01-31T00:00:00Z. It
	// verifies before that. Default: always.
	From time.Time `json:"from,omitzero"`
	// Until is when the key is no longer accepted. Default: never.
	Until time.Time `json:"until,omitzero"`
}

// Issuer is somebody else whose tokens are accepted.
type Issuer struct {
	// URL is what their tokens have as iss, letter by letter. It has to be https,
	// or http on this machine.
	URL string `json:"url"`
	// Audience is what their tokens must have in aud: with OpenID Connect, the
	// id under which this application is registered there.
	Audience string `json:"audience"`
	// Algorithms are those that may sign. Default: EdDSA, ES256, RS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// JWKSURL is where their keys are. Default: what
	// URL/.well-known/openid-configuration says.
	JWKSURL string `json:"jwksURL,omitempty"`
	// SubjectClaim is the claim that says who it is. Default: sub.
	SubjectClaim string `json:"subjectClaim,omitempty"`
	// Prefix stands before the subject, so that nobody there can be taken for
	// somebody here. Default: URL and a bar.
	Prefix string `json:"prefix,omitempty"`
	// Public are the claims that become public claims of the session.
	Public []string `json:"public,omitempty"`
	// Secret are the claims that become secret claims of the session. What
	// is named nowhere is dropped.
	Secret []string `json:"secret,omitempty"`
	// Refresh is how old their keys may get before they are fetched again.
	// Default: 15m.
	Refresh duration.Duration `json:"refresh,omitzero"`
}

// Options are what a Codec gets from its node.
type Options struct {
	// Mesh is the name of the mesh. Default: ropewalk.
	Mesh string
	// Log takes the log. Default: slog.Default.
	Log *slog.Logger
	// Registry takes the metrics. Nil: they are not registered.
	Registry prometheus.Registerer
	// Transport reaches other issuers. Default: one of its own, with the proxy
	// of the environment.
	Transport http.RoundTripper
}

// own are the algorithms that a key of this mesh may have.
var own = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.HS256}

// foreign are the algorithms that may be allowed for others. They are all
// asymmetric: a public key must never be taken for the secret of an HMAC.
var foreign = append([]jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.ES384, jose.ES512}, foreignRSA...)

var foreignRSA = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}

var defaultAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256}

// Validate checks what can be checked without reading files or fetching
// anything. Each of its errors, which are joined, begins with the name of the
// field.
func (c *Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, secrets := range map[string][]string{
		"secret": {c.Secret}, "sealing": {c.Sealing}, "oldSecrets": c.OldSecrets, "oldSealing": c.OldSealing,
	} {
		for i, s := range secrets {
			switch single := !strings.HasPrefix(name, "old"); {
			case single && (s == "" || len(s) >= MinSecret), !single && len(s) >= MinSecret:
			case single:
				fail("%s: it has %d characters, and %d are the least; make one with: openssl rand -base64 48", name, len(s), MinSecret)
			default:
				fail("%s[%d]: it has %d characters, and %d are the least", name, i, len(s), MinSecret)
			}
		}
	}
	if len(c.Issuer) > maxText {
		fail("issuer: it has more than %d characters", maxText)
	}
	if len(c.Audience) > maxText {
		fail("audience: it has more than %d characters", maxText)
	}
	if len(c.Keys) > maxKeys {
		fail("keys: there are more than %d", maxKeys)
	}
	for i, k := range c.Keys {
		if err := k.check(); err != nil {
			fail("keys[%d].%w", i, err)
		}
	}
	if len(c.Issuers) > maxIssuers {
		fail("issuers: there are more than %d", maxIssuers)
	}
	for i := range c.Issuers {
		if err := c.Issuers[i].check(); err != nil {
			fail("issuers[%d].%w", i, err)
		}
		if slices.ContainsFunc(c.Issuers[:i], func(o Issuer) bool { return o.URL == c.Issuers[i].URL }) || c.Issuers[i].URL == c.Issuer {
			fail("issuers[%d].url: %s is there twice", i, c.Issuers[i].URL)
		}
	}
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (k Key) check() error {
	switch {
	case k.File == "":
		return errors.New("file: it names no file")
	case len(k.Kid) > maxKid:
		return fmt.Errorf("kid: it has more than %d characters", maxKid)
	case k.Alg != "" && k.Alg != sealAlg && !slices.Contains(own, jose.SignatureAlgorithm(k.Alg)):
		return fmt.Errorf("alg: %q is none of EdDSA, ES256, HS256, A256GCM", k.Alg)
	case !k.Until.IsZero() && !k.From.Before(k.Until):
		return errors.New("until: the key ends before it begins")
	}
	return nil
}

func (i *Issuer) check() error {
	if err := checkURL(i.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if i.Audience == "" {
		return errors.New("audience: it is empty; without it tokens for any application of the issuer would be accepted")
	}
	for n, a := range i.Algorithms {
		if !slices.Contains(foreign, jose.SignatureAlgorithm(a)) {
			return fmt.Errorf("algorithms[%d]: %q is none of %v", n, a, foreign)
		}
	}
	if i.JWKSURL != "" {
		if err := checkURL(i.JWKSURL); err != nil {
			return fmt.Errorf("jwksURL: %w", err)
		}
	}
	for n, name := range i.Secret {
		if slices.Contains(i.Public, name) {
			return fmt.Errorf("secret[%d]: the claim %q is public, too", n, name)
		}
	}
	return nil
}

// checkURL tells whether keys may be fetched from a URL: by https, or by http
// if nobody is between.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxText:
		return fmt.Errorf("it has more than %d characters", maxText)
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a URL such as https://login.example.com", text)
	case u.User != nil || u.Fragment != "":
		return errors.New("it must have neither a user nor a fragment")
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q is not https; http is for this machine alone", text)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// generates tells whether the node makes its own keys.
func (c *Config) generates() bool { return c.Secret == "" && len(c.Keys) == 0 }

func (c *Config) issuer(o Options) string {
	if c.Issuer != "" {
		return c.Issuer
	}
	if o.Mesh == "" {
		return "ropewalk:ropewalk"
	}
	return "ropewalk:" + o.Mesh
}

func (c *Config) audience(o Options) string {
	if c.Audience != "" {
		return c.Audience
	}
	return c.issuer(o)
}
