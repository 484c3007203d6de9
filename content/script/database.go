package script

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/ropewalk/ropewalk/message"
)

// transaction is one that a script has begun and not ended. A goroutine holds
// it, since databases want one within a function.
type transaction struct {
	asks  chan txAsk
	ended chan struct{} // closed when it is over; then err is set
	err   error
}

// txAsk is something to do within a transaction.
type txAsk struct {
	sql    string
	params json.RawMessage
	end    error // errCommit or errRollback: it ends
	said   chan txSaid
}

type txSaid struct {
	result json.RawMessage
	err    error
}

var (
	errCommit   = errors.New("commit")
	errRollback = errors.New("rollback")
)

// database returns a database that the script may use.
func (v *invocation) database(name string, writes bool) (Database, error) {
	list := v.may.query
	if writes {
		list = v.may.exec
	}
	// Without any grant it is not even told which databases there are.
	if v.host.Database == nil || len(list) == 0 {
		return nil, denied(dbVerb(writes), v.origin.Path)
	}
	db, err := v.host.Database(name)
	if err != nil {
		return nil, err
	}
	if !named(list, db.Name()) {
		return nil, denied(dbVerb(writes)+" of the database "+db.Name(), v.origin.Path)
	}
	return db, nil
}

func dbVerb(writes bool) string {
	if writes {
		return "db.exec"
	}
	return "db.query"
}

// sql runs a statement, in a transaction if tx is not 0.
func (v *invocation) sql(ctx context.Context, verb, name string, tx int, sql string, params json.RawMessage) (json.RawMessage, error) {
	if tx != 0 {
		out, err := v.within(ctx, tx, txAsk{sql: sql, params: params})
		if err != nil || verb == "db.exec" {
			return out, err
		}
		var result struct {
			Rows json.RawMessage `json:"rows"`
		}
		if err := json.Unmarshal(out, &result); err != nil {
			return nil, message.AsError(err)
		}
		if result.Rows == nil {
			return json.RawMessage("[]"), nil
		}
		return result.Rows, nil
	}
	db, err := v.database(name, verb == "db.exec")
	if err != nil {
		return nil, err
	}
	if verb == "db.exec" {
		return db.Exec(ctx, sql, params, v.origin.Session)
	}
	rows, read, err := db.Query(ctx, sql, params, v.origin.Session, v.follow)
	v.depend(read)
	return rows, err
}

// begin begins a transaction and returns its number. It ends with the run at the
// latest, by being rolled back.
func (v *invocation) begin(ctx context.Context, name string) (json.RawMessage, error) {
	db, err := v.database(name, true)
	if err != nil {
		return nil, err
	}
	t := &transaction{asks: make(chan txAsk), ended: make(chan struct{})}
	begun := make(chan struct{})
	if !v.lane.Go("transaction", func(ctx context.Context) {
		defer close(t.ended)
		t.err = message.NewError(message.CodeInternal, "the transaction failed on the serving side", "")
		t.err = db.Transaction(ctx, v.origin.Session, func(tx Tx) error {
			close(begun)
			return t.serve(ctx, tx)
		})
	}) {
		return nil, context.Canceled
	}
	select {
	case <-begun:
	case <-t.ended:
		if t.err != nil {
			return nil, t.err
		}
	case <-ctx.Done(): // the end of the run is that of the transaction, once nothing here waits
		return nil, context.Cause(ctx)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next++
	if v.txs == nil {
		v.txs = map[int]*transaction{}
	}
	v.txs[v.next] = t
	return json.RawMessage(strconv.Itoa(v.next)), nil
}

// serve does what the script asks for within the transaction.
func (t *transaction) serve(ctx context.Context, tx Tx) error {
	for {
		select {
		case a := <-t.asks:
			if a.end != nil {
				if errors.Is(a.end, errCommit) {
					return nil
				}
				return a.end
			}
			result, err := tx.Run(ctx, a.sql, a.params)
			a.said <- txSaid{result, err}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// within has something done within a transaction.
func (v *invocation) within(ctx context.Context, n int, a txAsk) (json.RawMessage, error) {
	v.mu.Lock()
	t := v.txs[n]
	if a.end != nil {
		delete(v.txs, n)
	}
	v.mu.Unlock()
	if t == nil {
		return nil, message.NewError(message.CodeConflict, "the transaction has ended", "Wait, with await, for all that is done within a transaction.")
	}
	a.said = make(chan txSaid, 1)
	select {
	case t.asks <- a:
	case <-t.ended:
		return nil, t.over()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case s := <-a.said:
		return s.result, s.err
	case <-t.ended:
		return nil, t.over()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// over returns the error that a transaction ended with.
func (t *transaction) over() error {
	if errors.Is(t.err, errRollback) {
		return nil
	}
	return t.err
}

// end ends a transaction.
func (v *invocation) end(ctx context.Context, n int, commit bool) error {
	how := errRollback
	if commit {
		how = errCommit
	}
	_, err := v.within(ctx, n, txAsk{end: how})
	return err
}
