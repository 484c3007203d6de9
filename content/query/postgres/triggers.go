package postgres

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// followed is a table that triggers are wanted on.
type followed struct {
	table

	refused error // why there are none; nil: there are
	again   bool  // it is to be tried again
	idle    int   // looks since somebody watched
}

// follow makes sure that tables tell of changes. It reports false if one of
// them cannot.
func (d *database) follow(ctx context.Context, tables []table) (bool, error) {
	var missing []table
	ok := true
	d.await(ctx)
	d.mu.Lock()
	for _, t := range tables {
		switch f := d.followed[t.name]; {
		case !t.plain:
			ok = false
		case f == nil || f.oid != t.oid || f.again:
			missing = append(missing, t)
		default:
			f.idle = 0
			ok = ok && f.refused == nil
		}
	}
	live := d.live
	d.mu.Unlock()
	if !live {
		return false, nil // polled until the listener is there, which then tells all
	}
	if len(missing) == 0 {
		return ok, nil
	}
	err := d.do(ctx, func(ctx context.Context, c *pgx.Conn) error {
		for _, t := range missing {
			refused, err := install(ctx, c, t)
			if err != nil {
				return fault(ctx, err)
			}
			d.mu.Lock()
			before := d.followed[t.name]
			d.followed[t.name] = &followed{table: t, refused: refused}
			d.mu.Unlock()
			if refused == nil {
				continue
			}
			ok = false
			if before == nil || before.refused == nil {
				d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "no triggers can be put on a table, so its queries are polled; "+
					"if it is not for a lock, give the account the right TRIGGER on it, and CREATE on its schema",
					slog.String("table", t.name), slog.Any("err", refused))
			}
		}
		return nil
	})
	return err == nil && ok, err
}

// install puts triggers on a table, unless they are there. refused says why they
// cannot be put there now.
func install(ctx context.Context, c *pgx.Conn, t table) (refused, err error) {
	// First the lock, then the look: who removes triggers holds it alone.
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock_shared($1::int4, $2::int4)", lockClass, int32(t.oid)); err != nil {
		return nil, err
	}
	var there bool
	err = c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2 AND tgenabled <> 'D')", t.oid, object).Scan(&there)
	if err != nil || there {
		return nil, err
	}
	for try := 1; ; try++ {
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return create(ctx, tx, t) })
		e, isPg := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return nil, nil
		case !isPg || ctx.Err() != nil:
			return nil, err
		case try < 3 && (e.Code == "XX000" || e.Code == "23505" || e.Code == "40P01"):
			continue // another node made the function at the same moment
		}
		return err, release(ctx, c, t.oid)
	}
}

// create makes the function, if need be, and the trigger. The function runs with
// the rights of whoever writes to the table: it is one of this account, of the
// table's owner, who could put triggers there in any case, or of a superuser.
func create(ctx context.Context, tx pgx.Tx, t table) error {
	var function *string
	if err := tx.QueryRow(ctx, "SELECT quote_ident(nspname) || '."+object+"' FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "+
		"WHERE proname = $1 AND pronargs = 0 AND prorettype = 'trigger'::regtype AND has_function_privilege(p.oid, 'EXECUTE') "+
		"AND has_schema_privilege(n.oid, 'USAGE') AND proowner IN (SELECT oid FROM pg_roles WHERE rolname = current_user OR rolsuper "+
		"UNION SELECT relowner FROM pg_class WHERE oid = $2) UNION ALL SELECT NULL LIMIT 1", object, t.oid).Scan(&function); err != nil {
		return err
	}
	if function == nil {
		var made string
		if err := tx.QueryRow(ctx, "SELECT quote_ident(current_schema()) || '."+object+"'").Scan(&made); err != nil {
			return err
		}
		function = &made
		if _, err := tx.Exec(ctx, "CREATE OR REPLACE FUNCTION "+made+`() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS `+
			`$$ BEGIN PERFORM pg_notify('`+object+`', quote_ident(TG_TABLE_SCHEMA) || '.' || quote_ident(TG_TABLE_NAME)); RETURN NULL; END $$`); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "CREATE OR REPLACE TRIGGER "+object+" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "+t.name+
		" FOR EACH STATEMENT EXECUTE FUNCTION "+*function+"()")
	return err
}

// release says that this node does not need the triggers of a table.
func release(ctx context.Context, c *pgx.Conn, oid uint32) error {
	_, err := c.Exec(ctx, "SELECT pg_advisory_unlock_shared($1::int4, $2::int4)", lockClass, int32(oid))
	return err
}

// remove takes the triggers off a table, if no node uses them. refused says why
// they cannot be taken off now.
func remove(ctx context.Context, c *pgx.Conn, oid uint32) (refused, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var name string // as it is called now
		err := tx.QueryRow(ctx, "SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "+
			"WHERE c.oid = $3 AND pg_try_advisory_xact_lock($1::int4, $2::int4)", lockClass, int32(oid), oid).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = tx.Exec(ctx, "DROP TRIGGER IF EXISTS "+object+" ON "+name)
		}
		return err
	})
	if _, isPg := errors.AsType[*pgconn.PgError](err); isPg && !c.IsClosed() {
		return err, nil
	}
	return nil, err
}

// stay logs that triggers were not removed.
func (d *database) stay(ctx context.Context, oid uint32, err error) {
	d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "triggers stay on a table; its owner can remove them", slog.Any("oid", oid), slog.Any("err", err))
}

// leave removes all that was installed, and closes the connection.
func (d *database) leave(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxGoodbye)
	defer cancel()
	defer func() { _ = c.Close(ctx) }()
	if c.IsClosed() {
		return
	}
	d.mu.Lock()
	list := make([]uint32, 0, len(d.followed))
	for _, f := range d.followed {
		if f.refused == nil {
			list = append(list, f.oid)
		}
	}
	clear(d.followed)
	d.mu.Unlock()
	for _, oid := range list {
		err := release(ctx, c, oid)
		var refused error
		if err == nil {
			refused, err = remove(ctx, c, oid)
		}
		if err := errors.Join(refused, err); err != nil {
			d.stay(ctx, oid, err)
		}
		if c.IsClosed() {
			return
		}
	}
	// Refused while triggers of other tables use it, which is right.
	_, _ = c.Exec(ctx, "DROP FUNCTION IF EXISTS "+object+"()")
}
