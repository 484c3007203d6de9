package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/ropewalk/ropewalk/message"
)

// Why a passkey was refused, for [Event.Reason].
const (
	whyNoChallenge = "no challenge"
	whyUnreadable  = "unreadable"
	whyNoPasskey   = "unknown passkey"
	whyBadPasskey  = "wrong passkey"
	whyCounter     = "the counter went back: the passkey may have been copied"
)

func errPasskey() error {
	return message.NewError(message.CodeUnauthenticated, "the passkey was not accepted", "Begin again, or log in another way.")
}

type beginIn struct {
	User string `json:"user,omitempty" jsonschema:"description=The name of the user; without it the authenticator offers the passkeys that it has."`
}

// beginPasskey answers with options whether there is such a user or not.
func (l *Login) beginPasskey(ctx context.Context, in beginIn) (*protocol.CredentialAssertion, error) {
	var opts []webauthn.LoginOption
	if in.User != "" {
		allowed, err := l.allowed(ctx, in.User)
		if err != nil {
			return nil, err
		}
		opts = append(opts, webauthn.WithAllowedCredentials(allowed))
	}
	options, data, err := l.keys.rp.BeginDiscoverableLogin(opts...)
	if err != nil {
		return nil, err
	}
	return options, l.keys.put(ctx, toLogIn, data)
}

// allowed are the passkeys of a user; of one who is not there, one that nobody
// has.
func (l *Login) allowed(ctx context.Context, name string) ([]protocol.CredentialDescriptor, error) {
	u, err := l.table.named(ctx, name)
	if errors.Is(err, errNoUser) {
		u = &User{ID: "-"}
	} else if err != nil {
		return nil, err
	}
	keys, err := l.table.passkeys(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 || u.Disabled {
		return []protocol.CredentialDescriptor{l.keys.madeUp(name)}, nil
	}
	var out []protocol.CredentialDescriptor
	for i := range keys {
		// Without transports: a made-up one could not have the right ones.
		out = append(out, protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: keys[i].credential.ID})
	}
	return out, nil
}

type finishIn struct {
	Credential json.RawMessage `json:"credential" jsonschema:"description=What navigator.credentials.get gave; as its toJSON returns it."`
}

func (l *Login) finishPasskey(ctx context.Context, in finishIn) (*Me, error) {
	_, addr := caller(ctx)
	e := &Event{Kind: EventPasskey}
	try, wait := l.throttle.try("", addr)
	if try == nil {
		e.Outcome = OutcomeThrottled
		l.tell(ctx, e)
		return nil, errWait(wait)
	}
	u, why, err := l.checkPasskey(ctx, in.Credential)
	if u != nil {
		e.Subject, e.User = u.ID, u.Name
	}
	switch {
	case err != nil:
		try.void()
		e.Outcome = OutcomeFailed
		l.tell(ctx, e)
		return nil, err
	case why != "":
		if why == whyCounter {
			l.env.Logger.LogAttrs(ctx, slog.LevelWarn, "a passkey may have been copied; have the user delete it and make another", slog.String("subject", u.ID))
		}
		e.Outcome, e.Reason = OutcomeRefused, why
		l.tell(ctx, e)
		return nil, errPasskey()
	}
	try.right()
	me, err := l.admit(ctx, u, "passkey")
	e.Outcome = OutcomeOK
	if err != nil {
		e.Outcome = OutcomeFailed
	}
	l.tell(ctx, e)
	return me, err
}

// checkPasskey says whose passkey answered the challenge of the caller, or why
// it is not accepted.
func (l *Login) checkPasskey(ctx context.Context, credential []byte) (u *User, why string, err error) {
	data, ok := l.keys.take(ctx, toLogIn)
	if !ok {
		return nil, whyNoChallenge, nil
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(credential)
	if err != nil {
		return nil, whyUnreadable, nil //nolint:nilerr // why says it, and the text may show the challenge
	}
	key, err := l.table.passkey(ctx, answer.RawID)
	if errors.Is(err, errNoPasskey) {
		return nil, whyNoPasskey, nil
	} else if err != nil {
		return nil, "", err
	}
	u, err = l.table.user(ctx, key.User)
	switch {
	case errors.Is(err, errNoUser):
		return nil, whyNoUser, nil
	case err != nil:
		return nil, "", err
	case u.Disabled:
		return u, whyDisabled, nil
	}
	keys, err := l.table.passkeys(ctx, u.ID)
	if err != nil {
		return nil, "", err
	}
	c, err := l.validate(&holder{u, keys}, data, answer)
	switch {
	case err != nil:
		return u, whyBadPasskey, nil //nolint:nilerr // likewise
	case c.Authenticator.CloneWarning:
		return u, whyCounter, nil
	}
	if ok, err = l.table.usePasskey(ctx, key, c); err == nil && !ok {
		return u, whyCounter, nil // another log-in with the same counter came first
	}
	return u, "", err
}

// validate accepts an authenticator that does not tell the user, as some do for
// a passkey that was asked for by its id.
func (l *Login) validate(h *holder, data *webauthn.SessionData, answer *protocol.ParsedCredentialAssertionData) (*webauthn.Credential, error) {
	if len(answer.Response.UserHandle) == 0 && len(data.AllowedCredentialIDs) > 0 {
		data.UserID = h.WebAuthnID()
		return l.keys.rp.ValidateLogin(h, *data, answer)
	}
	return l.keys.rp.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, *data, answer)
}

// beginRegister needs somebody who has logged in a short time ago, so that who
// finds an open page cannot make a key to it.
func (l *Login) beginRegister(ctx context.Context, _ struct{}) (*protocol.CredentialCreation, error) {
	u, s, err := l.self(ctx)
	if err == nil {
		err = l.fresh(s)
	}
	if err != nil {
		return nil, err
	}
	keys, err := l.table.passkeys(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	if len(keys) >= l.cfg.Passkeys.PerUser {
		return nil, errManyKeys()
	}
	h := &holder{u, keys}
	options, data, err := l.keys.rp.BeginRegistration(h,
		webauthn.WithExclusions(webauthn.Credentials(h.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return nil, err
	}
	return options, l.keys.put(ctx, toRegister, data)
}

func errManyKeys() error {
	return message.NewError(message.CodeConflict, "you have as many passkeys as there may be", "Delete one that you do not use.")
}

type registerIn struct {
	Credential json.RawMessage `json:"credential" jsonschema:"description=What navigator.credentials.create gave; as its toJSON returns it."`
	Label      string          `json:"label,omitempty" jsonschema:"maxLength=100,description=What the user calls it."`
}

// PasskeyInfo is what a user may know of their passkey.
type PasskeyInfo struct {
	ID      string    `json:"id"`
	Label   string    `json:"label,omitempty"`
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`
}

func (k *passkey) info() PasskeyInfo {
	return PasskeyInfo{ID: k.ID, Label: k.Label, Created: k.Created.UTC(), Used: k.Used.UTC()}
}

func (l *Login) finishRegister(ctx context.Context, in registerIn) (*PasskeyInfo, error) {
	u, s, err := l.self(ctx)
	if err == nil {
		err = l.fresh(s)
	}
	if err != nil {
		return nil, err
	}
	e := &Event{Kind: EventAddPasskey, Outcome: OutcomeRefused, Subject: u.ID}
	defer func() { l.tell(ctx, e) }()
	data, ok := l.keys.take(ctx, toRegister)
	if !ok {
		e.Reason = whyNoChallenge
		return nil, errRegister()
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(in.Credential)
	if err != nil {
		e.Reason = whyUnreadable
		return nil, errRegister()
	}
	c, err := l.keys.rp.CreateCredential(&holder{user: u}, *data, answer)
	if err != nil {
		e.Reason = whyBadPasskey
		return nil, errRegister()
	}
	keys, err := l.table.passkeys(ctx, u.ID) // several sessions may have begun
	if err != nil {
		e.Outcome = OutcomeFailed
		return nil, err
	}
	if len(keys) >= l.cfg.Passkeys.PerUser {
		e.Reason = "too many"
		return nil, errManyKeys()
	}
	now := time.Now().Truncate(time.Second)
	k := &passkey{
		ID: passkeyID(c.ID), User: u.ID, Label: oneLine(in.Label), Counter: int64(c.Authenticator.SignCount),
		Created: now, Used: now, credential: *c,
	}
	if ok, err = l.table.addPasskey(ctx, k); err != nil {
		e.Outcome = OutcomeFailed
		return nil, err
	}
	if !ok {
		e.Reason = "there already"
		return nil, message.NewError(message.CodeConflict, "this passkey is there already", "Take another authenticator.")
	}
	e.Outcome = OutcomeOK
	info := k.info()
	return &info, nil
}

func errRegister() error {
	return message.NewError(message.CodeInvalidInput, "the new passkey was not accepted", "Begin again.")
}

func (l *Login) listPasskeys(ctx context.Context, _ struct{}) ([]PasskeyInfo, error) {
	u, _, err := l.self(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := l.table.passkeys(ctx, u.ID)
	out := make([]PasskeyInfo, len(keys))
	for i := range keys {
		out[i] = keys[i].info()
	}
	return out, err
}

type deleteIn struct {
	ID string `json:"id" jsonschema:"description=The id of the passkey."`
}

func (l *Login) deletePasskey(ctx context.Context, in deleteIn) (*done, error) {
	u, s, err := l.self(ctx)
	if err == nil {
		err = l.fresh(s)
	}
	if err != nil {
		return nil, err
	}
	ok := false
	if raw, bad := base64.RawURLEncoding.DecodeString(in.ID); bad == nil {
		if ok, err = l.table.deletePasskey(ctx, u.ID, passkeyID(raw)); err != nil {
			return nil, err
		}
	}
	if !ok {
		return nil, message.NewError(message.CodeNotFound, "you have no such passkey", "login:/passkey/list shows those that you have.")
	}
	l.tell(ctx, &Event{Kind: EventDeletePasskey, Outcome: OutcomeOK, Subject: u.ID})
	return &done{true}, nil
}
