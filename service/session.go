package service

import (
	"context"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/session"
)

// SessionOf returns the session of whoever called the handler that ctx comes
// from: never nil, [session.Anonymous] if nothing is known. Services on
// connections see its secret claims only if the node lets them.
func SessionOf(ctx context.Context) *session.Session {
	if req := FromContext(ctx); req != nil {
		return req.Session()
	}
	return session.Anonymous()
}

// ChangeSession has the caller's session changed when the handler replies; a
// call that fails changes nothing. Of several changes in one handler all take
// effect, the later over the earlier. [SessionOf] goes on to return what the
// session was when the call was made.
//
// It fails with CodeInvalidInput if the session would be over its bounds, and
// with CodeConflict if ctx is not a handler's, or the call is over. Services on
// connections need the permission "session" of the node; without it nothing
// changes.
func ChangeSession(ctx context.Context, p session.Patch) error {
	j, _ := ctx.Value(jobKey{}).(*job)
	if j == nil {
		return message.NewError(message.CodeConflict, "a session can only be changed by the handler of a call",
			"Use the context that the handler was given.")
	}
	if _, err := p.Apply(SessionOf(ctx)); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over {
		return message.NewError(message.CodeConflict, "the call is over; its caller's session cannot be changed any more", "")
	}
	if j.patch == nil {
		j.patch = new(session.Patch)
	}
	j.patch.Merge(p)
	return nil
}

type jobKey struct{}
