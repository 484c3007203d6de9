package script_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/content/contenttest"
	"github.com/ropewalk/ropewalk/content/script"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/session"
)

// stuck is a database that does not answer: it lets no transaction begin, or begins
// it and carries nothing out.
type stuck struct {
	script.Database

	begins       bool
	asked, ended chan struct{} // closed when it does not answer, and when the transaction ends
}

func (stuck) Name() string { return "main" }

func (s stuck) Transaction(ctx context.Context, _ *session.Session, f func(script.Tx) error) error {
	defer close(s.ended)
	if s.begins {
		return f(s)
	}
	_, err := s.Run(ctx, "", nil)
	return err
}

func (s stuck) Run(ctx context.Context, _ string, _ json.RawMessage) (json.RawMessage, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestStuckTransaction calls off a run whose transaction is stuck: it ends, and so
// does the transaction.
func TestStuckTransaction(t *testing.T) {
	t.Parallel()
	const long = duration.Duration(time.Minute)
	for _, mode := range []string{script.ModeInProcess, script.ModeProcess} {
		for name, begins := range map[string]bool{"begin": false, "run": true} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				db := stuck{begins: begins, asked: make(chan struct{}), ended: make(chan struct{})}
				p, _ := provider(t, script.Settings{
					Mode: mode, Grants: []script.Grant{{Paths: []string{"/**"}, Exec: []string{"main"}}}, Limits: script.Limits{CPU: long, Wall: long},
				}, script.Host{Database: func(string) (script.Database, error) { return db, nil }}, map[string]string{
					"a.js": `export const call = () => db.transaction(async (tx) => tx.exec("DELETE FROM t"))`,
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() {
					_, err := p.Call(ctx, contenttest.Request("/a.js"), body("1"))
					ended <- err
				}()
				select {
				case <-db.asked:
				case err := <-ended:
					t.Fatalf("it ended before: %v", err)
				}
				cancel()
				select {
				case err := <-ended:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("got %v", err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("the run does not end")
				}
				<-db.ended // the end of the run waits for it
			})
		}
	}
}
