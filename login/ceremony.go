package login

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

// ceremonies are the people who were given a challenge for a passkey and have
// not answered yet. A session, or a connection without one, has at most one of
// each kind, each is used once, and of too many the oldest is forgotten.
type ceremonies struct {
	rp   *webauthn.WebAuthn
	cfg  Passkeys
	fake []byte // key of passkeys that do not exist

	mu   sync.Mutex
	m    map[ceremonyKey]*list.Element
	made *list.List // of *ceremony, the latest first
}

type ceremonyKey struct {
	kind string
	who  string
}

// Kinds of ceremonies.
const (
	toLogIn    = "login"
	toRegister = "register"
)

type ceremony struct {
	keys  ceremonyKey
	data  webauthn.SessionData
	until time.Time
}

// newCeremonies returns one that is not on if cfg has no ID.
func newCeremonies(cfg Passkeys) (*ceremonies, error) {
	c := &ceremonies{cfg: cfg, m: make(map[ceremonyKey]*list.Element), made: list.New()}
	if cfg.ID == "" {
		return c, nil
	}
	if c.fake = []byte(cfg.Key); cfg.Key == "" {
		c.fake = make([]byte, 32)
		_, _ = rand.Read(c.fake) // never fails
	}
	wait := webauthn.TimeoutConfig{Timeout: time.Duration(cfg.Timeout), TimeoutUVD: time.Duration(cfg.Timeout)}
	var err error
	c.rp, err = webauthn.New(&webauthn.Config{
		RPID: cfg.ID, RPDisplayName: cfg.Name, RPOrigins: cfg.Origins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification: protocol.UserVerificationRequirement(cfg.Verification),
		},
		Timeouts: webauthn.TimeoutsConfig{Login: wait, Registration: wait},
	})
	if err != nil {
		return nil, &message.Error{Code: message.CodeInvalidInput, Path: "passkeys", Message: fmt.Sprintf("passkeys cannot be had so: %v", err)}
	}
	return c, nil
}

func (c *ceremonies) on() bool { return c.rp != nil }

// holders are what a challenge is bound to: the session, or else the
// connection.
func holders(ctx context.Context) []string {
	var out []string
	if s := service.SessionOf(ctx); !s.Anonymous() {
		out = append(out, "session "+s.ID)
	}
	if id, _ := caller(ctx); id != "" {
		out = append(out, "client "+id)
	}
	return out
}

// put remembers a challenge in the place of the one before.
func (c *ceremonies) put(ctx context.Context, kind string, data *webauthn.SessionData) error {
	who := holders(ctx)
	if len(who) == 0 {
		return message.NewError(message.CodeConflict, "passkeys need a connection or a session", "Connect to the node, or open a session first.")
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	key := ceremonyKey{kind, who[0]}
	c.drop(c.m[key])
	for at := c.made.Back(); at != nil; at = c.made.Back() {
		if e, _ := at.Value.(*ceremony); len(c.m) < c.cfg.Pending && now.Before(e.until) {
			break
		}
		c.drop(at)
	}
	c.m[key] = c.made.PushFront(&ceremony{keys: key, data: *data, until: now.Add(time.Duration(c.cfg.Timeout))})
	return nil
}

// take returns the challenge of the caller, once.
func (c *ceremonies) take(ctx context.Context, kind string) (*webauthn.SessionData, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, who := range holders(ctx) {
		at := c.m[ceremonyKey{kind, who}]
		if at == nil {
			continue
		}
		e, _ := at.Value.(*ceremony)
		c.drop(at)
		return &e.data, time.Now().Before(e.until)
	}
	return nil, false
}

func (c *ceremonies) drop(at *list.Element) {
	if at == nil {
		return
	}
	e, _ := c.made.Remove(at).(*ceremony)
	delete(c.m, e.keys)
}

// made up is the passkey of a user who has none: always the same, so that
// asking twice does not tell it from a real one.
func (c *ceremonies) madeUp(name string) protocol.CredentialDescriptor {
	mac := hmac.New(sha256.New, c.fake)
	mac.Write([]byte(normal(name)))
	return protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: mac.Sum(nil)}
}

// holder is a user as go-webauthn sees one.
type holder struct {
	user *User
	keys []passkey
}

// maxHandle is what WebAuthn allows.
const maxHandle = 64

// WebAuthnID is the id of the user, or, if that is too long, a hash of it.
func (h *holder) WebAuthnID() []byte {
	if len(h.user.ID) <= maxHandle {
		return []byte(h.user.ID)
	}
	sum := sha256.Sum256([]byte(h.user.ID))
	return sum[:]
}

// WebAuthnName is what the authenticator shows.
func (h *holder) WebAuthnName() string {
	if h.user.Name == "" {
		return h.user.ID
	}
	return h.user.Name
}

// WebAuthnDisplayName is the same.
func (h *holder) WebAuthnDisplayName() string { return h.WebAuthnName() }

// WebAuthnCredentials are the user's passkeys.
func (h *holder) WebAuthnCredentials() []webauthn.Credential {
	out := make([]webauthn.Credential, len(h.keys))
	for i := range h.keys {
		out[i] = h.keys[i].credential
	}
	return out
}

var _ webauthn.User = (*holder)(nil)
