package postgres

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

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
	for _, t := range missing {
		switch refused, err := d.equip(ctx, t); {
		case errors.Is(err, errAway):
			return false, nil
		case err != nil:
			return false, err
		case busy(refused):
			return false, nil // which has taken long; the others are tried another time
		case refused != nil:
			ok = false
		}
	}
	return ok, nil
}

// equip has the listener put triggers on a table, unless it has just done so for
// somebody else. refused says why there are none.
func (d *database) equip(ctx context.Context, t table) (refused, err error) {
	var why error
	err = d.do(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		d.mu.Lock()
		before := d.followed[t.name]
		d.mu.Unlock()
		if before != nil && before.oid == t.oid && !before.again {
			why = before.refused
			return nil
		}
		if why, err = d.install(ctx, c, t); err != nil {
			return fault(ctx, err)
		}
		d.mu.Lock()
		d.followed[t.name] = &followed{table: t, refused: why}
		d.mu.Unlock()
		if why != nil && (before == nil || before.refused == nil) {
			d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "no triggers can be put on a table, so its queries are polled; "+
				"if it is not for a lock, give the account the right TRIGGER on it, and CREATE on the schema that is first in its search_path",
				slog.String("table", t.name), slog.Any("err", why))
		}
		return nil
	})
	if err != nil {
		return nil, err // the listener may be at it yet
	}
	return why, nil
}

// busy tells whether triggers were refused for a lock of somebody else.
func busy(refused error) bool {
	e, ok := errors.AsType[*pgconn.PgError](refused)
	return ok && e.Code == "55P03"
}

var errNoRight = errors.New("the account has not the right TRIGGER")

// install puts triggers on a table, unless they are there. refused says why they
// cannot be put there now.
func (d *database) install(ctx context.Context, c *pgx.Conn, t table) (refused, err error) {
	// First the lock, then the look: who removes triggers holds it alone.
	if err := d.hold(ctx, c, t.oid); err != nil {
		return refusal(c, err)
	}
	var there, may bool // CREATE TRIGGER takes its lock before it looks at rights
	err = c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2 AND tgenabled <> 'D'), "+
		"coalesce(has_table_privilege($1::oid, 'TRIGGER'), true)", t.oid, object).Scan(&there, &may)
	switch {
	case err != nil || there:
		return nil, err
	case !may:
		return errNoRight, d.release(ctx, c, t.oid)
	}
	for try := 1; ; try++ {
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return create(ctx, tx, t) })
		e, isPg := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return nil, nil
		case !isPg && !errors.Is(err, pgx.ErrNoRows) || ctx.Err() != nil:
			return nil, err
		case isPg && try < 3 && (e.Code == "XX000" || e.Code == "23505" || e.Code == "40P01"):
			continue // another node made the function at the same moment
		}
		return err, d.release(ctx, c, t.oid)
	}
}

// refusal sorts an error: what the server refuses leaves the connection usable.
func refusal(c *pgx.Conn, err error) (refused, fatal error) {
	if _, isPg := errors.AsType[*pgconn.PgError](err); isPg && !c.IsClosed() {
		return err, nil
	}
	return nil, err
}

// create makes the function, if need be, and the trigger. The function runs with
// the rights of whoever writes to the table: it is one of this account, of the
// table's owner, who could put triggers there in any case, or of a superuser.
func create(ctx context.Context, tx pgx.Tx, t table) error {
	// PostgreSQL itself lets a function go that a trigger is just being made for.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock_shared($1::int4, $2::int4)", lockClass, lockFunction); err != nil {
		return err
	}
	var function *string
	if err := tx.QueryRow(ctx, "SELECT quote_ident(nspname) || '."+object+"' FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "+
		"WHERE proname = $1 AND pronargs = 0 AND prorettype = 'trigger'::regtype AND has_function_privilege(p.oid, 'EXECUTE') "+
		"AND has_schema_privilege(n.oid, 'USAGE') AND proowner IN (SELECT oid FROM pg_roles WHERE rolname = current_user OR rolsuper "+
		"UNION SELECT relowner FROM pg_class WHERE oid = $2) UNION ALL SELECT NULL LIMIT 1", object, t.oid).Scan(&function); err != nil {
		return err
	}
	if function == nil {
		var made string
		if err := tx.QueryRow(ctx, "SELECT quote_ident(coalesce(current_schema(), nspname)) || '."+object+"' "+
			"FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = $1", t.oid).Scan(&made); err != nil {
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

// hold says that this node uses the triggers of a table. It may wait for one that
// is about to remove them.
func (d *database) hold(ctx context.Context, c *pgx.Conn, oid uint32) error {
	if d.held[oid] {
		return nil // the server would count
	}
	_, err := c.Exec(ctx, "SELECT pg_advisory_lock_shared($1::int4, $2::int4)", lockClass, int32(oid))
	if err == nil {
		d.held[oid] = true
	}
	return err
}

// release says that this node does not need the triggers of a table.
func (d *database) release(ctx context.Context, c *pgx.Conn, oid uint32) error {
	_, err := c.Exec(ctx, "SELECT pg_advisory_unlock_shared($1::int4, $2::int4)", lockClass, int32(oid))
	if err == nil {
		delete(d.held, oid)
	}
	return err
}

// remove takes the triggers off a table, if no node uses them. Whoever wants to
// read the table waits as long as this waits for its lock. refused says why they
// cannot be taken off now.
func remove(ctx context.Context, c *pgx.Conn, oid uint32, wait time.Duration) (refused, err error) {
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var name string // as it is called now
		err := tx.QueryRow(ctx, "SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "+
			"WHERE c.oid = $3 AND pg_try_advisory_xact_lock($1::int4, $2::int4)", lockClass, int32(oid), oid).Scan(&name)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			_, err = tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", strconv.FormatInt(wait.Milliseconds(), 10))
		}
		if err == nil {
			_, err = tx.Exec(ctx, "DROP TRIGGER IF EXISTS "+object+" ON "+name)
		}
		return err
	})
	if err != nil {
		return refusal(c, err)
	}
	return nil, nil
}

// removeFunctions takes away the functions of this account that no trigger runs,
// nor one that is being made.
func removeFunctions(ctx context.Context, c *pgx.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT quote_ident(nspname) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "+
			"JOIN pg_roles r ON r.oid = proowner WHERE proname = $3 AND pronargs = 0 AND prorettype = 'trigger'::regtype AND rolname = current_user "+
			"AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = p.oid) AND pg_try_advisory_xact_lock($1::int4, $2::int4)", lockClass, lockFunction, object)
		if err != nil {
			return err
		}
		schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, schema := range schemas {
			if err == nil {
				_, err = tx.Exec(ctx, "DROP FUNCTION "+schema+"."+object+"()")
			}
		}
		return err
	})
}

// stay logs that triggers were not removed.
func (d *database) stay(ctx context.Context, oid uint32, err error) {
	d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "triggers stay on a table; its owner can remove them", slog.Any("oid", oid), slog.Any("err", err))
}

// leave closes the connection. When the node goes it removes all that was
// installed before.
func (d *database) leave(ctx context.Context, c *pgx.Conn) {
	going := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxGoodbye)
	defer cancel()
	defer func() { _ = c.Close(ctx) }()
	if !going || c.IsClosed() {
		return
	}
	for oid := range d.held {
		err := d.release(ctx, c, oid)
		var refused error
		if err == nil {
			refused, err = remove(ctx, c, oid, maxLock)
		}
		if err := errors.Join(refused, err); err != nil {
			d.stay(ctx, oid, err)
		}
		if c.IsClosed() {
			return
		}
	}
	_ = removeFunctions(ctx, c) // refused while others use them, which is right
}
