package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// looker looks every now and then for what no trigger tells: that the schema is
// another, that triggers are gone, that the connection is dead. It is used by the
// listener.
type looker struct {
	d *database
	c *pgx.Conn

	print string // of the schema
	took  time.Duration
	looks int
	stuck map[uint32]bool // tables whose triggers cannot be removed
}

// fingerprint is another when the schema is: tables, views and columns, rules,
// functions, policies. Triggers do not count, nor what is temporary.
const fingerprint = `WITH own AS (SELECT oid, relname, relnamespace, relispartition, relrowsecurity
		FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't' AND oid >= 16384)
	SELECT concat_ws(' ',
		(SELECT bit_xor(hashtextextended(concat_ws(' ', oid, relname, relnamespace, relispartition, relrowsecurity), 0)) FROM own),
		(SELECT bit_xor(hashtextextended(concat_ws(' ', attrelid, attnum, pg_attribute.xmin), 0))
			FROM pg_attribute JOIN own ON own.oid = attrelid WHERE attnum > 0),
		(SELECT bit_xor(hashtextextended(concat_ws(' ', oid, xmin), 0)) FROM pg_rewrite WHERE oid >= 16384),
		(SELECT bit_xor(hashtextextended(concat_ws(' ', oid, xmin), 0)) FROM pg_proc WHERE oid >= 16384 AND proname <> '` + object + `'),
		(SELECT bit_xor(hashtextextended(concat_ws(' ', oid, xmin), 0)) FROM pg_policy))`

// within runs f, which must not take long: a connection that died without a word
// answers never.
func (l *looker) within(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return f(ctx)
}

// schema takes the fingerprint of the schema.
func (l *looker) schema(ctx context.Context) error {
	began := time.Now()
	defer func() { l.took = time.Since(began) }()
	return l.c.QueryRow(ctx, fingerprint).Scan(&l.print)
}

// look tells of what has changed, and now and then tidies up. After an error the
// connection is to be given up.
func (l *looker) look(ctx context.Context) error {
	before := l.print
	if err := l.within(ctx, l.schema); err != nil {
		return err
	}
	if l.print != before {
		l.d.anew()
	}
	there := map[uint32]bool{} // the tables that have triggers
	err := l.within(ctx, func(ctx context.Context) error {
		rows, err := l.c.Query(ctx, "SELECT tgrelid FROM pg_trigger WHERE tgname = $1 AND tgenabled <> 'D'", object)
		if err != nil {
			return err
		}
		var oid uint32
		_, err = pgx.ForEachRow(rows, []any{&oid}, func() error {
			there[oid] = true
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	l.lost(there)
	if l.looks++; l.looks%round == 0 {
		return l.tidy(ctx, there)
	}
	return nil
}

// tidy removes the triggers that no node uses: those that nobody has wanted here
// for a while, and those of nodes that have died. What it has no time for, and
// what is locked, has until the next time.
func (l *looker) tidy(ctx context.Context, there map[uint32]bool) error {
	used := l.used()
	for oid := range l.d.held {
		if used[oid] {
			continue
		}
		if err := l.within(ctx, func(ctx context.Context) error { return l.d.release(ctx, l.c, oid) }); err != nil {
			return err
		}
	}
	until := time.Now().Add(maxTidy)
	for oid := range there { // in another order each time
		if used[oid] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(until) {
			return nil
		}
		err := l.within(ctx, func(ctx context.Context) error {
			refused, err := remove(ctx, l.c, oid, shortLock)
			if refused != nil && !busy(refused) && !l.stuck[oid] {
				l.stuck[oid] = true
				l.d.stay(ctx, oid, refused)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lost has tables told that somebody has taken the triggers from.
func (l *looker) lost(there map[uint32]bool) {
	var told []string
	l.d.mu.Lock()
	for name, f := range l.d.followed {
		if f.refused == nil && !there[f.oid] {
			told = append(told, name)
			delete(l.d.followed, name)
		}
	}
	l.d.mu.Unlock()
	l.d.tracker.Changed(told...)
}

// used forgets the tables that nobody here has wanted for a while, and returns
// those that have triggers which are used. Those that are wanted and have none
// may be tried anew.
func (l *looker) used() map[uint32]bool {
	wanted := map[string]bool{}
	for _, name := range l.d.tracker.Tables() {
		wanted[name] = true
	}
	used := map[uint32]bool{}
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	for name, f := range l.d.followed {
		switch {
		case wanted[name]:
			f.idle, f.again = 0, f.refused != nil
		case f.idle == 0:
			f.idle++
		default:
			delete(l.d.followed, name)
			continue
		}
		if f.refused == nil {
			used[f.oid] = true
		}
	}
	return used
}
