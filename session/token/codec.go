package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// Codec makes tokens and reads them. Make one with [New]; all its methods may be
// called from any goroutine, until Close. Only Fetch and DecodeWait wait for the
// network, only New, Reload, Configure and Rotate use files.
type Codec struct {
	opts    Options
	log     *slog.Logger
	lane    *lane.Lane
	fetcher *fetcher
	metrics *metrics

	mu   sync.Mutex // held while state is made anew
	made []entry    // keys that were made here and are in no file

	state atomic.Pointer[state]
}

// state is one configuration with its keys. It never changes, but for what its
// issuers have fetched.
type state struct {
	cfg      Config
	iss, aud string
	ring     *ring
	issuers  map[string]*issuer
}

// New returns a Codec with the keys of cfg. It makes keys if cfg names none. It
// fetches nothing; see [Codec.Prefetch].
func New(cfg Config, o Options) (*Codec, error) {
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, err
	}
	c := &Codec{opts: o, log: o.Log, metrics: m}
	if c.log == nil {
		c.log = slog.Default()
	}
	c.fetcher = newFetcher(o.Transport)
	c.lane = lane.New(context.Background(), c.log)
	if err := c.Configure(cfg); err != nil {
		c.lane.Close()
		return nil, err
	}
	return c, nil
}

// Close ends what runs in the background and waits for it.
func (c *Codec) Close() { c.lane.Close() }

// Configure takes another configuration, and the files that it names as they
// are now. Keys that were fetched stay. If it fails, all stays as it was.
func (c *Codec) Configure(cfg Config) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.configure(cfg)
}

// Reload reads the files with keys again. If it fails, all stays as it was.
func (c *Codec) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.configure(c.state.Load().cfg)
}

func (c *Codec) configure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	next := &state{
		cfg: cfg, iss: cfg.issuer(c.opts), aud: cfg.audience(c.opts),
		issuers: make(map[string]*issuer, len(cfg.Issuers)),
	}
	if cfg.generates() && cfg.Dir == "" && c.made == nil {
		made, err := makeKeys(time.Now())
		if err != nil {
			return err
		}
		c.made = made
	}
	var err error
	if next.ring, err = load(&cfg, c.made); err != nil {
		return err
	}
	before := c.state.Load()
	for _, i := range cfg.Issuers {
		if i.URL == next.iss {
			return fmt.Errorf("issuers: %s is this mesh itself", i.URL)
		}
		if before != nil && before.issuers[i.URL] != nil && reflect.DeepEqual(before.issuers[i.URL].cfg, i) {
			next.issuers[i.URL] = before.issuers[i.URL]
			continue
		}
		next.issuers[i.URL] = newIssuer(i)
	}
	c.state.Store(next)
	c.warn(next)
	return nil
}

// warn tells of files with private keys that others may read.
func (c *Codec) warn(st *state) {
	files := make([]string, 0, len(st.cfg.Keys)+1)
	for _, k := range st.ring.sign {
		if k.signer != nil {
			files = append(files, k.origin)
		}
	}
	for _, k := range st.ring.seal {
		files = append(files, k.origin)
	}
	if st.cfg.generates() && st.cfg.Dir != "" {
		files = append(files, filepath.Join(st.cfg.Dir, madeFile))
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		if exposed(f) {
			c.log.Warn("others on this machine may read the keys of tokens; chmod 600 the file", "path", f)
		}
	}
}

// Made tells whether the keys are those that this node made itself. The other
// nodes of a mesh do not know them, and will refuse its tokens.
func (c *Codec) Made() bool { return c.state.Load().cfg.generates() }

// Rotate makes new keys, with which tokens are signed and sealed from now on.
// The keys of before are accepted for as long as Config.Keep says. It fails with
// CodeConflict if the keys are from the configuration. Other processes with the
// same directory see the new keys after their next Reload; they should not
// rotate at the same time. A key should not seal more than 2^32 tokens, which is
// years for most: rotate before.
func (c *Codec) Rotate() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state.Load()
	if !st.cfg.generates() {
		return message.NewError(message.CodeConflict, "the keys are from the configuration",
			"Add a key to sessions.tokens.keys, or move sessions.tokens.secret to sessions.tokens.oldSecrets and set another; then reload the configuration.")
	}
	old := c.made
	if st.cfg.Dir != "" {
		var err error
		if old, err = readMade(st.cfg.Dir); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	keys, err := turn(old, time.Now(), st.cfg.Keep.Or(defaultKeep))
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	if st.cfg.Dir == "" {
		c.made = keys
	} else if err := writeMade(st.cfg.Dir, keys, os.Rename); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	return c.configure(st.cfg)
}

// Keys tells of the keys of this mesh, without anything secret.
func (c *Codec) Keys() []KeyInfo { return c.state.Load().ring.infos(time.Now()) }

// JWKS returns the JWK set of the public keys with which others verify our
// tokens. Secrets and keys that seal are not in it.
func (c *Codec) JWKS() []byte { return c.state.Load().ring.jwks(time.Now()) }

// Issuer returns what our tokens have as iss.
func (c *Codec) Issuer() string { return c.state.Load().iss }

// Issuers tells of the other issuers, in the order of their URLs.
func (c *Codec) Issuers() []IssuerInfo {
	st := c.state.Load()
	infos := make([]IssuerInfo, 0, len(st.issuers))
	for _, url := range slices.Sorted(maps.Keys(st.issuers)) {
		infos = append(infos, st.issuers[url].info())
	}
	return infos
}

// DecodeWait is Decode that fetches the keys of another issuer if need be. It
// waits for the network until ctx ends, 10 seconds at most; call it where
// nothing else has to wait.
func (c *Codec) DecodeWait(ctx context.Context, tok string) (*session.Session, error) {
	s, err := c.Decode(ctx, tok)
	url, ok := Needs(err)
	if !ok {
		return s, err
	}
	if err := c.Fetch(ctx, url); err != nil {
		return nil, err
	}
	return c.Decode(ctx, tok)
}

// Fetch gets the keys of another issuer now, unless that was tried in the last
// 10 seconds; then it returns how that went. Several calls at once share one
// fetch. Its error has CodeServiceDown, and its cause says what went wrong.
func (c *Codec) Fetch(ctx context.Context, issuer string) error {
	i := c.state.Load().issuers[issuer]
	if i == nil {
		return refuse(ReasonIssuer)
	}
	f := c.start(i)
	select {
	case <-f.done:
	case <-ctx.Done():
		return down(i.cfg.URL, ctx.Err())
	}
	if f.err != nil {
		return down(i.cfg.URL, f.err)
	}
	return nil
}

// Prefetch begins to fetch the keys of all other issuers, in the background, so
// that the first log-in does not have to wait.
func (c *Codec) Prefetch() {
	for _, i := range c.state.Load().issuers {
		c.start(i)
	}
}

func down(issuer string, cause error) error {
	e := message.NewError(message.CodeServiceDown, "the keys of the token's issuer cannot be fetched",
		"Try again when the issuer can be reached; the log of the node says what is wrong.")
	e.Cause = &needError{issuer: issuer, err: cause}
	return e
}

var errClosed = errors.New("the codec is closed")
