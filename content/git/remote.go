package git

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ropewalk/ropewalk/message"
)

const (
	remoteName  = "origin"
	firstRetry  = time.Second
	lastRetry   = 5 * time.Minute
	maxPushes   = 5 // when the remote moves each time
	maxPassword = 64 << 10
)

// The states of a remote.
const (
	stateUnknown  = "unknown" // nothing was tried yet
	stateOK       = "ok"
	stateDown     = "down"     // it cannot be reached, or refuses
	stateConflict = "conflict" // both have changed the same files
)

// remote keeps the branch the same as one of another repository.
type remote struct {
	store    *Store
	set      *Remote
	tracking string        // ref: what the remote's branch was
	turn     chan struct{} // holds one token while nobody talks to the remote
	push     chan struct{} // there is something to push

	mu    sync.Mutex
	state RemoteState
	ever  bool // it was fetched from since the start
}

// RemoteState is what is known of the remote.
type RemoteState struct {
	// State is unknown, ok, down or conflict.
	State string `json:"state"`
	// Since is when it became so.
	Since time.Time `json:"since,omitzero"`
	// Checked is when the remote last answered.
	Checked time.Time `json:"checked,omitzero"`
	// Error is why it is not ok: the code, and a text.
	Error *RemoteError `json:"error,omitempty"`
	// Ahead is how many commits are not pushed yet.
	Ahead int `json:"ahead"`
	// Behind is how many commits of the remote are not in the branch.
	Behind int `json:"behind"`
	// Conflicts are the files that both have changed.
	Conflicts []string `json:"conflicts,omitempty"`
}

// RemoteError says why a remote is not ok.
type RemoteError struct {
	Code    message.Code `json:"code"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`
}

func newRemote(s *Store) *remote {
	r := &remote{
		store: s, set: &s.set.Remote, tracking: "refs/remotes/" + remoteName + "/" + s.set.Remote.Branch,
		turn: make(chan struct{}, 1), push: make(chan struct{}, 1), state: RemoteState{State: stateUnknown},
	}
	r.turn <- struct{}{}
	s.lane.Go("content/git remote", r.run)
	return r
}

// wake has what was committed pushed soon.
func (r *remote) wake() {
	select {
	case r.push <- struct{}{}:
	default:
	}
}

func (r *remote) fetched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ever
}

// run pulls and pushes until the store is closed.
func (r *remote) run(ctx context.Context) {
	pull := time.Duration(r.set.Pull)
	head, err := r.store.refs.read(r.store.branch)
	empty := err == nil && head.IsZero()
	wait := pull
	if pull > 0 || empty {
		wait = 0 // at once
	}
	if r.set.Push {
		r.wake() // what a crash has left
	}
	timer := time.NewTimer(wait)
	if pull == 0 && !empty {
		timer.Stop()
	}
	defer timer.Stop()
	retry := firstRetry
	again := make(<-chan time.Time) // never
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			_, err = r.pull(ctx, "", nil)
		case <-r.push:
			_, err = r.pushAll(ctx, nil)
		case <-again:
			if r.set.Push {
				_, err = r.pushAll(ctx, nil)
			} else {
				_, err = r.pull(ctx, "", nil)
			}
		}
		if err == nil || message.CodeOf(err) == message.CodeConflict {
			retry, again = firstRetry, nil
			if pull > 0 {
				timer.Reset(pull)
			}
			continue
		}
		// Not all nodes at once when it is back.
		pause := retry/2 + rand.N(retry)
		again = time.After(pause)
		retry = min(2*retry, lastRetry)
		timer.Stop()
	}
}

// take waits for the turn to talk to the remote.
func (r *remote) take(ctx context.Context) (give func(), err error) {
	select {
	case <-r.turn:
		return func() { r.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.store.lane.Context().Done():
		return nil, message.NewError(message.CodeShuttingDown, "the repository is being closed", "")
	}
}

// pull fetches and makes the branch have what the remote has. prefer decides
// clashes; who wants it, and is the author of a merge, nil is the schedule.
func (r *remote) pull(ctx context.Context, prefer string, who *author) (*Result, error) {
	give, err := r.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	tip, err := r.fetch(ctx)
	if err != nil {
		return nil, r.note(ctx, err)
	}
	return r.settle(ctx, tip, prefer, who)
}

// settle is integrate, and notes what came of it. That somebody may not have it is
// no fault of the remote.
func (r *remote) settle(ctx context.Context, tip plumbing.Hash, prefer string, who *author) (*Result, error) {
	res, err := r.integrate(ctx, tip, prefer, who)
	if no, ok := errors.AsType[denied](err); ok {
		_ = r.note(ctx, nil)
		return nil, no.error
	}
	return res, r.note(ctx, err)
}

// pushAll makes the remote have what the branch has. What the remote has besides
// is merged first, if that is clean and who wants it may have it; nil is the
// schedule.
func (r *remote) pushAll(ctx context.Context, who *author) (*Result, error) {
	give, err := r.take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	for range maxPushes {
		head, err := r.store.refs.read(r.store.branch)
		if err != nil {
			return nil, r.note(ctx, err)
		}
		var refused error
		if !head.IsZero() {
			refused = r.send(ctx)
		}
		if refused == nil && !head.IsZero() {
			return &Result{Commit: head.String(), Changed: true}, r.note(ctx, nil)
		}
		// Was it because the remote is ahead? Then it can be helped.
		tip, err := r.fetch(ctx)
		if err != nil {
			return nil, r.note(ctx, err)
		}
		res, err := r.settle(ctx, tip, "", who)
		if err != nil {
			return nil, err
		}
		if res.Commit == hashText(head) { // nothing came of it: the remote does not want it
			return res, r.note(ctx, refused)
		}
	}
	return nil, r.note(ctx, down("the remote moves faster than can be pushed", "", nil))
}

// integrate makes a commit of the remote part of the branch.
func (r *remote) integrate(ctx context.Context, tip plumbing.Hash, prefer string, who *author) (*Result, error) {
	s := r.store
	unlock, err := s.lockWriting(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range maxTries {
		head, err := s.refs.read(s.branch)
		if err != nil {
			return nil, err
		}
		to, err := r.joined(ctx, head, tip, prefer, who)
		if err != nil {
			return nil, err
		}
		if to == head {
			return &Result{Commit: hashText(head)}, nil
		}
		if err := s.mayBring(who, head, to); err != nil {
			return nil, err
		}
		err = s.refs.update(ctx, s.branch, head, to)
		if errors.Is(err, errMoved) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.watch.check(context.WithoutCancel(ctx))
		return &Result{Commit: to.String(), Changed: true}, nil
	}
	return nil, message.NewError(message.CodeOverloaded, "others commit faster than this merge can be made", "")
}

// joined returns the commit that has what both have.
func (r *remote) joined(ctx context.Context, head, tip plumbing.Hash, prefer string, who *author) (plumbing.Hash, error) {
	s := r.store
	switch {
	case tip.IsZero() || tip == head:
		return head, nil
	case head.IsZero():
		return tip, nil
	}
	rel, err := s.objects.relate(ctx, head, tip)
	switch {
	case err != nil:
		return head, err
	case rel.base == tip:
		return head, nil // the remote is behind
	case rel.base == head:
		return tip, nil
	case s.set.ReadOnly:
		return head, conflict("the branch here and the remote have parted", "Nothing is merged here, because the content is read-only.")
	case rel.base.IsZero():
		return head, conflict("the branch here and the remote have nothing in common", "Look whether it is the right remote.")
	}
	var roots [3]plumbing.Hash
	for i, h := range []plumbing.Hash{rel.base, head, tip} {
		if roots[i], err = s.objects.treeOf(h); err != nil {
			return h, err
		}
	}
	m := &merger{store: s, batch: s.objects.batch(), prefer: prefer, who: who}
	tree, clashes, err := m.merge(ctx, roots[0], roots[1], roots[2])
	if err != nil {
		return head, err
	}
	if len(clashes) > 0 {
		return head, clashError("the branch here (ours) and the remote (theirs)", clashes)
	}
	w := &work{text: "Merge branch " + s.set.Remote.Branch + " of the remote"}
	if who != nil {
		w.author = *who
	}
	h := m.batch.addCommit(s, w, tree, []plumbing.Hash{head, tip})
	return h, m.batch.write(ctx)
}

// note keeps what became of an exchange with the remote, and returns what users
// see of it.
func (r *remote) note(ctx context.Context, err error) error {
	out := r.store.fault(ctx, err)
	if err != nil && ctx.Err() != nil {
		return out // it was called off, which says nothing
	}
	next := RemoteState{State: stateOK, Checked: time.Now()}
	if err != nil {
		e := message.AsError(out)
		next.State = stateDown
		next.Error = &RemoteError{e.Code, e.Message, e.Hint}
		if e.Code == message.CodeConflict {
			next.State = stateConflict
			next.Conflicts = conflictPaths(e)
		}
	}
	r.mu.Lock()
	was := r.state
	next.Since = was.Since
	if next.State != was.State {
		next.Since = next.Checked
	}
	if next.State == stateDown {
		next.Checked = was.Checked
	} else {
		r.ever = true
	}
	r.state = next
	r.mu.Unlock()
	if next.State != was.State {
		r.log(next, err)
	}
	r.store.watch.refsChanged()
	return out
}

func (r *remote) log(next RemoteState, err error) {
	switch next.State {
	case stateDown:
		r.store.log.Warn("the remote cannot be used; the content goes on from what is here", "err", r.scrub(err))
	case stateConflict:
		r.store.log.Warn("the branch and the remote have changed the same files; see git:/status", "err", r.scrub(err))
	default:
		r.store.log.Info("the remote answers")
	}
}

// scrub returns the text of an error without passwords, whoever put them in.
func (r *remote) scrub(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*message.Error](err); ok && e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	for _, secret := range []string{r.set.Password, r.set.KeyPassword, r.password()} {
		if len(secret) > 2 {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

// snapshot returns the state, with how far the branch and the remote are apart.
func (r *remote) snapshot(ctx context.Context) (*RemoteState, error) {
	r.mu.Lock()
	out := r.state
	r.mu.Unlock()
	head, err := r.store.refs.read(r.store.branch)
	if err != nil {
		return nil, err
	}
	tip, err := r.store.refs.read(r.tracking)
	if err != nil {
		return nil, err
	}
	rel, err := r.store.objects.relate(ctx, head, tip)
	out.Ahead, out.Behind = rel.ahead, rel.behind
	return &out, err
}
