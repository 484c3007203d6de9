package main

import (
	"context"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session"
)

// notes is a service that does not know of permissions: the rules are enough.
func notes() *ropewalk.Service {
	s := ropewalk.NewService("notes")
	s.Handle("/read", ropewalk.Handle(func(context.Context, struct{}) ([]string, error) {
		return []string{"The rope is 300 fathoms long.", "The night watch has the key."}, nil
	}))
	s.Handle("/promote", ropewalk.Handle(promote))
	return s
}

// promote gives the caller's session the role of an editor. What is a claim in
// the session is not one in the user table: the next log-in begins without it.
func promote(ctx context.Context, _ struct{}) (string, error) {
	return "editor", service.ChangeSession(ctx, session.Patch{Set: session.Claims{"role": "editor"}})
}
