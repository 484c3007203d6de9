package login

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// private makes the file of a new SQLite database, for the owner alone: SQLite would
// have others read the hashes in it. What is wrong with the file SQLite says.
func (t *table) private() {
	if t.cfg.Driver != DriverSQLite || inMemory(t.cfg.DSN) {
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(t.cfg.DSN, "file:"), "?")
	if f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
		_ = f.Close() // nothing was written
	}
}

// create makes the tables if they are not there.
func (t *table) create(ctx context.Context) error {
	c := &t.cfg.Columns
	for _, q := range []string{
		"CREATE TABLE IF NOT EXISTS " + quote(t.cfg.Table) + " (" +
			quoted(c.ID, "id") + " TEXT PRIMARY KEY, " +
			quoted(c.Name, "name") + " TEXT NOT NULL UNIQUE, " +
			quoted(c.Hash, "hash") + " TEXT, " +
			quoted(c.Disabled, "disabled") + " BOOLEAN NOT NULL DEFAULT FALSE, " +
			quoted(c.Public, "public") + " TEXT, " +
			quoted(c.Secret, "secret") + " TEXT)",
		"CREATE TABLE IF NOT EXISTS " + quote(t.cfg.Passkeys) + " (" +
			"id TEXT PRIMARY KEY, user_id TEXT NOT NULL, label TEXT NOT NULL, " +
			"counter BIGINT NOT NULL, credential TEXT NOT NULL, created BIGINT NOT NULL, used BIGINT NOT NULL)",
	} {
		if _, err := t.db.ExecContext(ctx, q); err != nil {
			return dbError("make the tables", err)
		}
	}
	return nil
}

// add makes a user.
func (t *table) add(ctx context.Context, u *User, h string) error {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	c := &t.cfg.Columns
	names := []string{quoted(c.ID, "id"), quoted(c.Name, "name"), quoted(c.Hash, "hash")}
	values := []string{"$1", "$2", "$3"}
	args := []any{u.ID, u.Name, h}
	for _, o := range []struct {
		column string
		claims session.Claims
	}{{quoted(c.Public, "public"), u.Public}, {quoted(c.Secret, "secret"), u.Secret}} {
		if len(o.claims) == 0 {
			continue
		}
		b, err := json.Marshal(o.claims)
		if err != nil {
			return err
		}
		names = append(names, o.column)
		args = append(args, string(b))
		values = append(values, "$"+strconv.Itoa(len(args)))
	}
	//nolint:gosec // names come from the configuration, and are quoted
	_, err := t.db.ExecContext(ctx, "INSERT INTO "+quote(t.cfg.Table)+
		" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(values, ", ")+")", args...)
	if err != nil {
		return dbError("add a user", err)
	}
	return nil
}

// list returns up to limit users in the order of their names.
func (t *table) list(ctx context.Context, limit int) ([]User, error) {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	//nolint:gosec,unqueryvet // likewise; columns with claims need not be there
	rows, err := t.db.QueryContext(ctx,
		"SELECT * FROM "+quote(t.cfg.Table)+" ORDER BY "+quoted(t.cfg.Columns.Name, "name")+" LIMIT $1", limit)
	if err != nil {
		return nil, dbError("list the users", err)
	}
	defer func() { _ = rows.Close() }()
	list := []User{}
	for rows.Next() {
		u, err := t.scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, *u)
	}
	if err := rows.Err(); err != nil {
		return nil, dbError("list the users", err)
	}
	return list, nil
}

// disable says whether a user may log in.
func (t *table) disable(ctx context.Context, id string, disabled bool) error {
	ctx, cancel := t.limit(ctx)
	defer cancel()
	c := &t.cfg.Columns
	ok, err := t.exec(ctx, "disable a user",
		"UPDATE "+quote(t.cfg.Table)+" SET "+quoted(c.Disabled, "disabled")+" = $2 WHERE "+quoted(c.ID, "id")+" = $1", id, disabled)
	if err == nil && !ok {
		err = message.NewError(message.CodeNotFound, "there is no such user", "")
	}
	return err
}
