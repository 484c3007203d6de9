package postgres

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ropewalk/ropewalk/content/query/sqldb"
	"github.com/ropewalk/ropewalk/message"
)

const (
	// object is what the channel, the function and the triggers are called.
	object = "ropewalk_changed"
	// lockClass is the first half of the keys of advisory locks; the second is
	// the oid of a table. Who holds such a lock, shared, uses the triggers.
	lockClass = 0x726f7065
	// lockFunction is the second half of the key that who removes the function
	// holds alone, and who makes triggers shares. No table has it.
	lockFunction = 0
	// maxLock is how long to wait for the lock of a table, and who wants to write
	// to the table, too; shortLock, when there is no hurry.
	maxLock   = time.Second
	shortLock = 10 * time.Millisecond
	// check is how often is looked whether the schema is what it was.
	check = 5 * time.Second
	// ease is how many times as long as a look takes it is until the next one.
	ease = 10
	// round is how many looks it takes until is tidied up: a minute.
	round = 12
	// maxTidy bounds what tidying up keeps from being told.
	maxTidy = time.Second
	// minBack is the shortest pause between two tries to connect.
	minBack = 50 * time.Millisecond
	// maxBack is the longest pause between two tries to connect.
	maxBack = 5 * time.Second
	// maxCommand bounds what is done between two notifications.
	maxCommand = 10 * time.Second
	// maxStart is how long a query waits for the listener to come up.
	maxStart = time.Second
	// maxGoodbye bounds what is tidied up at the end.
	maxGoodbye = 5 * time.Second
)

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
	back := minBack
	for d.tracker.WaitActive(ctx) == nil {
		c, err := d.connect(ctx)
		if err == nil {
			began := time.Now()
			err = d.hear(ctx, c)
			if time.Since(began) > maxBack { // not what fails each time
				back = minBack
			}
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
	maps.Copy(cfg.RuntimeParams, map[string]string{
		"lock_timeout": strconv.FormatInt(maxLock.Milliseconds(), 10), "statement_timeout": "0", "idle_session_timeout": "0",
	})
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
	clear(d.followed)
	clear(d.held) // the locks went with the connection before
	d.mu.Unlock()
	l := &looker{d: d, c: c, stuck: map[uint32]bool{}}
	if err := l.within(ctx, l.schema); err != nil {
		return err
	}
	d.anew() // what happened meanwhile is not known
	next := time.Now().Add(d.cfg.Poll)
	for ctx.Err() == nil {
		wait, cancel := context.WithDeadline(ctx, next)
		list := d.take(cancel)
		for _, cmd := range list {
			if ctx.Err() != nil {
				cmd.done <- errAway
				continue
			}
			inner, cancel := bounded(ctx) // and not that of the caller
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
			if err := l.look(ctx); err != nil {
				return err
			}
			next = time.Now().Add(max(d.cfg.Poll, ease*l.took))
		}
	}
	return ctx.Err()
}

// bounded returns the context of what the listener does between two
// notifications. It outlives ctx by a moment: a statement that is interrupted takes
// the connection with it, which is needed for tidying up.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxCommand)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(maxLock, cancel) })
	return inner, func() {
		stop()
		cancel()
	}
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
