package ropewalk

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// maxEchoParts bounds what one call of the echo service can cause.
const maxEchoParts = 100_000

// newEcho returns the built-in service for checks: / returns its body, and
// /parts?n=3 sends n parts first.
func newEcho(name string) *Service {
	s := service.New(name, service.WithVersion(Version))
	s.HandleFunc("/", func(_ context.Context, req *route.Request, res route.Responder) {
		_ = res.Reply(bodyOf(req))
	}, service.WithDescription("Returns its body."))
	s.HandleFunc("/parts", echoParts, service.WithDescription("Sends its body as n parts, then as reply: /parts?n=3."))
	return s
}

func echoParts(ctx context.Context, req *route.Request, res route.Responder) {
	q, err := url.ParseQuery(req.Address.Query)
	n, numErr := strconv.Atoi(q.Get("n"))
	if err != nil || numErr != nil || n < 0 || n > maxEchoParts {
		_ = res.Fail(&message.Error{
			Code: message.CodeInvalidInput, Path: "n",
			Message: fmt.Sprintf("n must be a number from 0 to %d", maxEchoParts),
			Hint:    "Write the address like echo:/parts?n=3.",
		})
		return
	}
	for range n {
		if ctx.Err() != nil || res.Part(bodyOf(req)) != nil {
			return
		}
	}
	_ = res.Reply(bodyOf(req))
}

func bodyOf(req *route.Request) route.Body {
	return route.Body{Bytes: req.Message.Body, ContentType: string(req.Message.ContentType)}
}
