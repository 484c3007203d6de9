package ropewalk

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
)

// formNone is the form of sessions of a node that has none.
const formNone = "none"

// stretch is how often the secret of a mesh is hashed to make a key of it: a
// tenth of a second of work.
const stretch = 300_000

// jwksPath is where others find the keys that check our tokens.
const jwksPath = "/.well-known/jwks.json"

// buildSecurity makes what knows who is there, what they may do, and keeps
// record of it.
func (n *Node) buildSecurity() error {
	cfg := &n.cfg
	var err error
	n.audit, err = audit.New(cfg.Audit, audit.Env{Logger: n.log, Metrics: audit.NewMetrics(n.registry), Node: cfg.Name})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if cfg.Allow == nil {
		p, err := policy.Compile(cfg.Permissions)
		if err != nil {
			return fmt.Errorf("permissions: %w", err)
		}
		n.guard = &guard{Guard: policy.NewGuard(p), audit: n.audit}
	}
	if cfg.Sessions.Form == formNone {
		return nil
	}
	return n.buildSessions()
}

func (n *Node) buildSessions() error {
	cfg := &n.cfg
	var err error
	n.tokens, err = token.New(cfg.tokens(), token.Options{Mesh: cfg.Mesh.Name, Log: n.log, Registry: n.registry})
	if err != nil {
		return fmt.Errorf("sessions.tokens: %w", err)
	}
	s := &cfg.Sessions
	k, err := keeper.New(context.Background(), keeper.Config{
		Form: s.Form, Lifetime: s.Lifetime, Idle: s.Idle, Limit: s.Limit, Warn: s.Warn,
	}, keeper.Parts{Codec: n.tokens, Store: cfg.SessionStore, Journal: cfg.journal(), Logger: n.log, Registry: n.registry})
	if err != nil {
		return fmt.Errorf("sessions.%w", err)
	}
	n.sessions = newSessions(n, k, n.audit)
	return nil
}

// revoked is the name of the file of revocations in the directory of keys.
const revoked = "revocations.jsonl"

// journal is what keeps revocations over a restart; nil is nothing.
func (c *Config) journal() keeper.Journal {
	s := &c.Sessions
	switch {
	case c.SessionJournal != nil:
		return c.SessionJournal
	case s.Revocations != "":
		return keeper.NewFile(s.Revocations)
	case s.Tokens.Dir != "":
		return keeper.NewFile(filepath.Join(s.Tokens.Dir, revoked))
	}
	return nil
}

// tokens is how tokens are signed: as configured, else by a key that all nodes of
// the mesh can make of its secret.
func (c *Config) tokens() token.Config {
	t := c.Sessions.Tokens
	if t.Secret != "" || len(t.Keys) > 0 || t.Dir != "" || c.Mesh.Secret == "" {
		return t
	}
	// Slowly: who has a token can try secrets on it at home, and that of a mesh
	// may be short.
	key, err := pbkdf2.Key(sha256.New, c.Mesh.Secret, []byte("ropewalk session tokens "+c.Mesh.Name), stretch, 48)
	if err == nil { // its length is allowed
		t.Secret = base64.RawStdEncoding.EncodeToString(key)
	}
	return t
}

// exchangeGuard and exchangeSessions return a nil interface for what is not
// there.
func (n *Node) exchangeGuard() exchange.Guard {
	if n.guard == nil {
		return nil
	}
	return n.guard
}

func (n *Node) exchangeSessions() exchange.Sessions {
	if n.sessions == nil {
		return nil
	}
	return n.sessions
}

func (n *Node) closeSecurity(ctx context.Context) {
	if n.sessions != nil {
		n.sessions.close()
	}
	if n.tokens != nil {
		n.tokens.Close()
	}
	if err := n.audit.Close(ctx); err != nil {
		n.log.Warn("close the audit log", "err", err)
	}
}

// credential is what a connection has brought along that says who it is.
type credential string

// admit takes the credential of a request that makes a connection.
func (n *Node) admit(listener string) func(h *edge.Handshake) error {
	return func(h *edge.Handshake) error {
		origins := n.reloading.now.Load().Listeners[listener].Origins
		if c := n.credentialOf(h.Header, origins, n.cfg.Listeners[listener].CertFile != ""); c != "" {
			h.Bring(credential(c))
		}
		return nil
	}
}

// credentialOf finds the credential in a request: in its header, or in the
// cookie, which a browser sends along whatever page it is that connects.
func (n *Node) credentialOf(header func(string) string, origins []string, tls bool) string {
	if kind, value, found := strings.Cut(header("Authorization"), " "); found && strings.EqualFold(kind, "Bearer") {
		return strings.TrimSpace(value)
	}
	name := n.cfg.Sessions.Cookie
	if name == "" || !ownPage(header("Origin"), header("Host"), origins, tls) {
		return ""
	}
	cookies, err := http.ParseCookie(header("Cookie"))
	if err != nil {
		return ""
	}
	for _, c := range cookies {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// ownPage tells whether a page of this origin may use the cookies of its
// visitor. Only browsers send an origin, and to connect they always do. A page that
// came without TLS to a listener that has it may be anybody's.
func ownPage(origin, host string, origins []string, tls bool) bool {
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if strings.EqualFold(u.Host, host) && (!tls || u.Scheme == "https") {
		return true
	}
	return slices.ContainsFunc(origins, func(o string) bool { return o != "*" && strings.EqualFold(o, origin) })
}

// jwks answers for the public keys of our tokens.
func (n *Node) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(n.tokens.JWKS())
}
