package script_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// stuck is a database that does not answer: it lets no transaction begin, or begins
// it and carries nothing out.
type stuck struct {
	script.Database

	begins bool
	ended  chan struct{} // takes the end of each transaction
}

func (stuck) Name() string { return "main" }

func (s stuck) Transaction(ctx context.Context, _ *session.Session, f func(script.Tx) error) error {
	defer func() { s.ended <- struct{}{} }()
	if s.begins {
		return f(s)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (stuck) Run(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestStuckTransaction has a run that has begun a transaction reach its limit: it
// ends, and so does the transaction.
func TestStuckTransaction(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{script.ModeInProcess, script.ModeProcess} {
		for name, begins := range map[string]bool{"begin": false, "run": true} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				db := stuck{begins: begins, ended: make(chan struct{}, 1)}
				p, _ := provider(t, script.Settings{
					Mode: mode, Grants: []script.Grant{{Paths: []string{"/**"}, Exec: []string{"main"}}}, Limits: script.Limits{Wall: duration.Duration(100 * time.Millisecond)},
				}, script.Host{Database: func(string) (script.Database, error) { return db, nil }}, map[string]string{
					"a.js": `export default () => db.transaction(async (tx) => tx.exec("DELETE FROM t"))`,
				})
				ended := make(chan error, 1)
				go func() {
					_, err := get(t, p, "/a.js", nil, "")
					ended <- err
				}()
				select {
				case err := <-ended:
					if message.CodeOf(err) != message.CodeLimitExceeded {
						t.Errorf("got %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("the run does not end")
				}
				select {
				case <-db.ended:
				case <-time.After(20 * time.Second):
					t.Error("the transaction does not end")
				}
			})
		}
	}
}
