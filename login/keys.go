package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
)

// passkey is one row of the table of passkeys.
type passkey struct {
	ID      string // base64url
	User    string
	Label   string
	Counter int64
	Created time.Time
	Used    time.Time

	credential webauthn.Credential
}

var errNoPasskey = errors.New("there is no such passkey")

// maxCredentialID is what WebAuthn allows.
const maxCredentialID = 1023

func passkeyID(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

//nolint:gosec // the names of columns are no credentials
const passkeyColumns = "id, user_id, label, counter, credential, created, used"

// passkeys returns those of a user, the first one first.
func (t *table) passkeys(ctx context.Context, user string) ([]passkey, error) {
	return t.findPasskeys(ctx, "user_id = $1 ORDER BY created, id", user)
}

// passkey finds one by its id.
func (t *table) passkey(ctx context.Context, raw []byte) (*passkey, error) {
	if len(raw) == 0 || len(raw) > maxCredentialID {
		return nil, errNoPasskey
	}
	list, err := t.findPasskeys(ctx, "id = $1", passkeyID(raw))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errNoPasskey
	}
	return &list[0], nil
}

func (t *table) findPasskeys(ctx context.Context, where, arg string) ([]passkey, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	//nolint:gosec // names of tables come from the configuration, and are quoted
	rows, err := t.db.QueryContext(ctx, "SELECT "+passkeyColumns+" FROM "+quote(t.cfg.Passkeys)+" WHERE "+where, arg)
	if err != nil {
		return nil, dbError("find passkeys", err)
	}
	defer func() { _ = rows.Close() }()
	var list []passkey
	for rows.Next() {
		var (
			k             passkey
			credential    []byte
			created, used int64
		)
		if err := rows.Scan(&k.ID, &k.User, &k.Label, &k.Counter, &credential, &created, &used); err != nil {
			return nil, dbError("find passkeys", err)
		}
		if err := json.Unmarshal(credential, &k.credential); err != nil {
			return nil, fmt.Errorf("read a passkey: %w", err)
		}
		k.credential.Authenticator.SignCount = uint32(k.Counter)
		k.Created, k.Used = time.Unix(created, 0), time.Unix(used, 0)
		list = append(list, k)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("find passkeys", err)
	}
	return list, nil
}

// addPasskey stores a new one. It tells whether it was new.
func (t *table) addPasskey(ctx context.Context, k *passkey) (bool, error) {
	credential, err := json.Marshal(k.credential)
	if err != nil {
		return false, err
	}
	ctx, cancel := t.limit(ctx)
	defer cancel()
	return t.exec(ctx, "add a passkey", "INSERT INTO "+quote(t.cfg.Passkeys)+" ("+passkeyColumns+
		") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
		k.ID, k.User, k.Label, k.Counter, string(credential), k.Created.Unix(), k.Used.Unix())
}

// usePasskey notes a use, unless its counter was moved by somebody else since
// it was read.
func (t *table) usePasskey(ctx context.Context, k *passkey, c *webauthn.Credential) (bool, error) {
	credential, err := json.Marshal(c)
	if err != nil {
		return false, err
	}
	ctx, cancel := t.limit(ctx)
	defer cancel()
	return t.exec(ctx, "note the use of a passkey", "UPDATE "+quote(t.cfg.Passkeys)+
		" SET counter = $3, credential = $4, used = $5 WHERE id = $1 AND counter = $2",
		k.ID, k.Counter, int64(c.Authenticator.SignCount), string(credential), time.Now().Unix())
}

// deletePasskey takes one from a user.
func (t *table) deletePasskey(ctx context.Context, user, id string) (bool, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	return t.exec(ctx, "delete a passkey", "DELETE FROM "+quote(t.cfg.Passkeys)+" WHERE id = $1 AND user_id = $2", id, user)
}
