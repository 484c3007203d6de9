package postgres

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// object is what the channel, the function and the triggers are called.
	object = "ropewalk_changed"
	// lockClass is the first half of the keys of advisory locks; the second is
	// the oid of a table. Who holds such a lock, shared, uses the triggers.
	lockClass = 0x726f7065
	// sweep is how often is looked for triggers that nobody wants any more.
	sweep = time.Minute
	// maxBack is the longest pause between two tries to connect.
	maxBack = 5 * time.Second
	// maxCommand bounds what is done between two notifications.
	maxCommand = 10 * time.Second
	// maxStart is how long a query waits for the listener to come up.
	maxStart = time.Second
	// maxGoodbye bounds what is tidied up at the end.
	maxGoodbye = 5 * time.Second
)

// followed is a table that triggers are wanted on.
type followed struct {
	table

	ok   bool // there are triggers
	idle int  // sweeps since somebody watched
}

// command is something that the listener does between two notifications.
type command struct {
	do   func(ctx context.Context, c *pgx.Conn) error
	done chan error
}

var errAway = &sqldb.Fault{
	Code: message.CodeSourceDown, Message: "the database cannot be reached", Hint: "Is the server running, and are url and account right?",
}

// listen keeps a connection that hears of changes.
func (d *database) listen(ctx context.Context) {
	back := 50 * time.Millisecond
	for d.tracker.WaitActive(ctx) == nil {
		c, err := d.connect(ctx)
		if err == nil {
			back = 50 * time.Millisecond
			err = d.hear(ctx, c)
			d.leave(ctx, c)
		}
		d.fail()
		if ctx.Err() != nil {
			return
		}
		d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "a database does not tell of changes; connecting again", slog.Any("err", err))
		select {
		case <-time.After(back + rand.N(back)):
		case <-ctx.Done():
			return
		}
		back = min(2*back, maxBack)
	}
}

func (d *database) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(d.cfg.URL)
	if err != nil {
		return nil, err
	}
	settings(&cfg.Config)
	cfg.RuntimeParams["lock_timeout"] = "2000"
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.ConnectTimeout)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "LISTEN "+object); err != nil {
		_ = c.Close(ctx)
		return nil, err
	}
	return c, nil
}

// hear passes on what is told, and carries out commands.
func (d *database) hear(ctx context.Context, c *pgx.Conn) error {
	d.mu.Lock()
	d.live = true
	d.begun()
	clear(d.followed) // the locks went with the connection before
	d.mu.Unlock()
	d.tracker.All() // what happened meanwhile is not known
	next := time.Now().Add(sweep)
	for ctx.Err() == nil {
		wait, cancel := context.WithDeadline(ctx, next)
		list := d.take(cancel)
		for _, cmd := range list {
			// Not the context of the caller: when a statement is canceled the
			// connection is lost.
			inner, cancel := context.WithTimeout(ctx, maxCommand)
			cmd.done <- cmd.do(inner, c)
			cancel()
		}
		if len(list) > 0 {
			cancel()
			if c.IsClosed() {
				return errAway
			}
			continue
		}
		n, err := c.WaitForNotification(wait)
		woken := wait.Err() != nil
		cancel()
		switch {
		case err == nil:
			d.told(n.Payload)
		case c.IsClosed() || !woken:
			return err
		case !time.Now().Before(next):
			next = time.Now().Add(sweep)
			if err := d.sweep(ctx, c); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// begun lets those go on who wait for the listener: it is there, or cannot be.
func (d *database) begun() {
	if d.up != nil {
		close(d.up)
		d.up = nil
	}
}

// await waits until the listener has tried to come up.
func (d *database) await(ctx context.Context) {
	d.mu.Lock()
	up := d.up
	d.mu.Unlock()
	if up == nil {
		return
	}
	late := time.NewTimer(maxStart)
	defer late.Stop()
	select {
	case <-up:
	case <-late.C:
	case <-ctx.Done():
	}
}

// take returns the commands that are waiting. If there are none, wake is called
// when one comes.
func (d *database) take(wake func()) []*command {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.commands
	d.commands = nil
	d.wake = wake
	return list
}

// do has the listener run f.
func (d *database) do(ctx context.Context, f func(ctx context.Context, c *pgx.Conn) error) error {
	cmd := &command{do: f, done: make(chan error, 1)}
	d.mu.Lock()
	if !d.live {
		d.mu.Unlock()
		return errAway
	}
	d.commands = append(d.commands, cmd)
	d.wake()
	d.mu.Unlock()
	select {
	case err := <-cmd.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fail ends what waits for a listener that is gone.
func (d *database) fail() {
	d.mu.Lock()
	d.live, d.wake = false, func() {}
	d.begun()
	list := d.commands
	d.commands = nil
	for _, c := range d.waiting {
		close(c)
	}
	clear(d.waiting)
	d.mu.Unlock()
	for _, cmd := range list {
		cmd.done <- errAway
	}
	d.tracker.All()
}

// told passes on one notification: the name of a table, or a nonce.
func (d *database) told(payload string) {
	if !strings.HasPrefix(payload, "!") {
		d.tracker.Changed(payload)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.waiting[payload]; c != nil {
		close(c)
		delete(d.waiting, payload)
	}
}

// expect returns a word that is told together with the changes of a transaction
// and a channel that is closed then; nothing if nobody listens.
func (d *database) expect() (nonce string, told <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.live {
		return "", nil
	}
	nonce = "!" + strconv.FormatUint(d.nonce.Add(1), 36) + "." + strconv.FormatUint(rand.Uint64(), 36)
	c := make(chan struct{})
	d.waiting[nonce] = c
	return nonce, c
}

func (d *database) forget(nonce string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, nonce)
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
			d.blind.Store(true)
		case f == nil || f.oid != t.oid:
			missing = append(missing, t)
		default:
			f.idle = 0
			ok = ok && f.ok
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
			done, err := d.install(ctx, c, t)
			if err != nil {
				return fault(ctx, err)
			}
			d.mu.Lock()
			d.followed[t.name] = &followed{table: t, ok: done}
			d.mu.Unlock()
			if !done {
				ok = false
				d.blind.Store(true)
			}
		}
		return nil
	})
	return ok, err
}

// install puts triggers on a table, unless they are there. It reports false if
// the account must not.
func (d *database) install(ctx context.Context, c *pgx.Conn, t table) (bool, error) {
	// First the lock, then the look: who removes triggers holds it alone.
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock_shared($1::int4, $2::int4)", lockClass, int32(t.oid)); err != nil {
		return false, err
	}
	var there bool
	err := c.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2 AND tgenabled <> 'D')", t.oid, object).Scan(&there)
	if err != nil || there {
		return there, err
	}
	for try := 1; ; try++ {
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return create(ctx, tx, t) })
		e, isPg := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return true, nil
		case !isPg || ctx.Err() != nil:
			return false, err
		case try < 3 && (e.Code == "XX000" || e.Code == "23505" || e.Code == "40P01"):
			continue // another node made the function at the same moment
		}
		d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn,
			"no triggers can be put on a table, so its queries are polled; give the account the right TRIGGER on it, and CREATE on its schema",
			slog.String("table", t.name), slog.Any("err", err))
		_, err = c.Exec(ctx, "SELECT pg_advisory_unlock_shared($1::int4, $2::int4)", lockClass, int32(t.oid))
		return false, err
	}
}

// create makes the function, if need be, and the trigger.
func create(ctx context.Context, tx pgx.Tx, t table) error {
	var function *string
	if err := tx.QueryRow(ctx, "SELECT quote_ident(nspname) || '."+object+"' FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "+
		"WHERE proname = $1 AND prorettype = 'trigger'::regtype AND has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(n.oid, 'USAGE') "+
		"UNION ALL SELECT NULL LIMIT 1", object).Scan(&function); err != nil {
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

// sweep removes triggers that nobody here has wanted for a while.
func (d *database) sweep(ctx context.Context, c *pgx.Conn) error {
	wanted := d.tracker.Tables()
	d.mu.Lock()
	var old []table
	for name, f := range d.followed {
		if slices.Contains(wanted, name) {
			f.idle = 0
			continue
		}
		if f.idle++; f.idle > 1 {
			old = append(old, f.table)
			delete(d.followed, name)
		}
	}
	d.mu.Unlock()
	for _, t := range old {
		if err := remove(ctx, c, t); err != nil {
			return err
		}
	}
	return c.Ping(ctx)
}

// remove takes the triggers off a table, if no other node uses them.
func remove(ctx context.Context, c *pgx.Conn, t table) error {
	if _, err := c.Exec(ctx, "SELECT pg_advisory_unlock_shared($1::int4, $2::int4)", lockClass, int32(t.oid)); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		var alone bool
		err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1::int4, $2::int4) AND to_regclass($3) IS NOT NULL",
			lockClass, int32(t.oid), t.name).Scan(&alone)
		if err != nil || !alone {
			return err
		}
		_, err = tx.Exec(ctx, "DROP TRIGGER IF EXISTS "+object+" ON "+t.name)
		return err
	})
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
	list := make([]table, 0, len(d.followed))
	for _, f := range d.followed {
		if f.ok {
			list = append(list, f.table)
		}
	}
	clear(d.followed)
	d.mu.Unlock()
	for _, t := range list {
		if err := remove(ctx, c, t); err != nil {
			d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "triggers stay behind", slog.String("table", t.name), slog.Any("err", err))
			if c.IsClosed() {
				return
			}
		}
	}
	// Refused while triggers of other tables use it, which is right.
	_, _ = c.Exec(ctx, "DROP FUNCTION IF EXISTS "+object+"()")
}
