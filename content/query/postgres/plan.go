package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

// plan is what is known of what a query reads.
type plan struct {
	tables []table
	age    uint64 // of the schema
	until  time.Time
}

// table is a table, or something like it, that a query reads.
type table struct {
	name string // schema.table
	oid  uint32
	// plain is true if it can have triggers that tell of its changes.
	plain bool
}

// keepPlan is how long a plan is believed: that the schema is another may be
// noticed late.
const keepPlan = 30 * time.Second

// unseen stands for all that triggers do not tell of. Who reads some of it is
// told of what is published here.
const unseen = "*"

var blind = sqldb.Reads{Tables: []string{unseen}, Blind: true}

// Follow implements sqldb.Database.
func (d *database) Follow(ctx context.Context, list []sqldb.Statement, more []string) (sqldb.Reads, error) {
	if !d.triggers() {
		return blind, nil
	}
	reads := sqldb.Reads{}
	var tables []table
	for _, s := range list {
		p, err := d.plan(ctx, s, more)
		if err != nil {
			return blind, err
		}
		tables = append(tables, p.tables...)
	}
	for _, t := range tables {
		reads.Tables = append(reads.Tables, t.name)
	}
	ok, err := d.follow(ctx, tables)
	if err != nil {
		return blind, err
	}
	if reads.Blind = !ok; reads.Blind {
		reads.Tables = append(reads.Tables, unseen)
	}
	return reads, nil
}

func (d *database) plan(ctx context.Context, s sqldb.Statement, more []string) (plan, error) {
	key := s.SQL + "\x00" + strings.Join(more, ",")
	now, age := time.Now(), d.age.Load()
	p, ok := d.plans.Get(key)
	if ok && now.Before(p.until) && p.age == age {
		return p, nil
	}
	p = plan{age: age, until: now.Add(keepPlan)}
	err := d.inTx(ctx, d.readers, reading, func(tx pgx.Tx) error {
		found, err := explain(ctx, tx, s)
		if err == nil {
			p.tables, err = resolve(ctx, tx, found, more)
		}
		return fault(ctx, err)
	})
	if err != nil {
		return p, err
	}
	d.plans.Put(key, p)
	return p, nil
}

// relations are the names of what a plan reads.
type relations struct{ schemas, names []string }

// explain returns the names of what a query reads, whatever its parameters are:
// the plan is made as if they were not known, and leaves no partition out.
func explain(ctx context.Context, tx pgx.Tx, s sqldb.Statement) (found relations, err error) {
	const head = "PREPARE ropewalk_plan AS "
	for _, text := range []string{"SET LOCAL plan_cache_mode = force_generic_plan", "SET LOCAL enable_partition_pruning = off"} {
		if _, err := tx.Exec(ctx, text); err != nil {
			return found, err
		}
	}
	// Not the simple protocol, which would take several statements at once.
	if err := tx.Conn().PgConn().ExecParams(ctx, head+s.SQL, nil, nil, nil, nil).Read().Err; err != nil {
		err = faultIn(ctx, err, head+s.SQL)
		if f, ok := err.(*sqldb.Fault); ok { //nolint:errorlint // it was made in the line above
			f.Pos -= len(head)
		}
		return found, err
	}
	done := false
	defer func() {
		if !done { // what was prepared outlives the transaction
			_ = tx.Conn().Close(context.WithoutCancel(ctx))
		}
	}()
	call := "ropewalk_plan"
	if n := len(s.Args); n > 0 {
		call += "(" + strings.TrimSuffix(strings.Repeat("NULL,", n), ",") + ")"
	}
	var text string
	if err := tx.QueryRow(ctx, "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE "+call).Scan(&text); err != nil {
		return found, err
	}
	if _, err := tx.Exec(ctx, "DEALLOCATE ropewalk_plan"); err != nil {
		return found, err
	}
	done = true
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return found, &sqldb.Fault{Code: message.CodeInternal, Message: "the plan of the query cannot be read", Cause: err}
	}
	found.walk(tree)
	return found, nil
}

// walk collects the relations of a plan.
func (r *relations) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.walk(e)
		}
	case map[string]any:
		relation, _ := v["Relation Name"].(string)
		schema, _ := v["Schema"].(string)
		if relation != "" {
			r.schemas, r.names = append(r.schemas, schema), append(r.names, relation)
		}
		for _, e := range v {
			r.walk(e)
		}
	}
}

// resolve finds the tables of a plan, which may be in schemas that the account
// must not use, those of more names, and those that they inherit from.
func resolve(ctx context.Context, tx pgx.Tx, found relations, more []string) ([]table, error) {
	rows, err := tx.Query(ctx, `WITH RECURSIVE t(oid) AS (
			(SELECT c.oid FROM unnest($1::text[], $2::text[]) f(schema, name)
				JOIN pg_namespace s ON s.nspname = f.schema JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = f.name
				UNION SELECT to_regclass(n)::oid FROM unnest($3::text[]) n)
			UNION SELECT i.inhparent FROM pg_inherits i JOIN t ON i.inhrelid = t.oid)
		SELECT c.oid, quote_ident(s.nspname) || '.' || quote_ident(c.relname),
			c.relkind::text IN ('r', 'p') AND s.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT c.relpersistence = 't'
		FROM t JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace s ON s.oid = c.relnamespace`, found.schemas, found.names, more)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (table, error) {
		var t table
		var oid pgtype.Uint32
		err := row.Scan(&oid, &t.name, &t.plain)
		t.oid = oid.Uint32
		return t, err
	})
}
