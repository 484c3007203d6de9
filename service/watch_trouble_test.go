package service_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

func TestWatchBadRequests(t *testing.T) {
	t.Parallel()
	k := newTicker()
	s := service.New("s")
	s.Handle("/t/{symbol}", service.Watch(k.watch))
	v := serveFirst(t, s)
	for body, code := range map[string]message.Code{
		`{"params":{"scale":-1}}`: message.CodeInvalidInput, `{"params":[]}`: message.CodeInvalidInput, `{"params":{"scale":"x"}}`: message.CodeInvalidInput,
		`[]`: message.CodeInvalidInput, `{`: message.CodeInvalidInput,
	} {
		if got := v.watch("s:/t/A", body).wait(t); got.code() != code {
			t.Errorf("%s: %v", body, got.err)
		}
	}
	if got := v.ask(message.VerbPublish, "s:/t/A", "1").wait(t); got.code() != message.CodeUnimplemented {
		t.Error(got.err)
	}
	c := v.request(message.VerbSubscribe, "s:/t/A", "")
	v.route.Handler.Handle(t.Context(), c.req, c)
	if c.code() != message.CodeInternal || k.runs.Load() != 0 {
		t.Error("without a runner", c.err)
	}
}

func TestWatchFunctionFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var run atomic.Int32
		s := service.New("s")
		s.Handle("/", service.Watch(func(_ context.Context, _ struct{}, set func(int) error) error {
			switch n := run.Add(1); n {
			case 1:
				_ = set(1)
				return errors.New("secret reason")
			case 2:
				return message.NewError(message.CodeSourceDown, "it is down", "")
			case 3:
				panic("secret, too")
			case 4:
				return nil // without a content
			case 5:
				return set(1)
			}
			t.Error("it has said that there will be nothing more")
			return nil
		}))
		v := serveFirst(t, s)
		c := v.watch("s:/", "")
		synctest.Wait()
		time.Sleep(time.Hour)
		c.has(t, "1", "internal", "source_down", "internal", "internal", "1")
		if got := v.ask(message.VerbGet, "s:/", "").wait(t); got.err != nil || string(got.reply.Bytes) != "1" {
			t.Error(got.err)
		}
		if log := v.log.String(); strings.Count(log, "secret") != 2 {
			t.Error(log)
		}
		c.leave()
		run.Store(1)
		if got := v.ask(message.VerbGet, "s:/", "").wait(t); got.code() != message.CodeSourceDown {
			t.Error(got.err)
		}
		v.runner.Close()
	})
}

func TestWatchEndsWithTheRunner(t *testing.T) {
	t.Parallel()
	k := newTicker()
	s := service.New("s")
	s.Handle("/t/{symbol}", service.Watch(k.watch))
	v := serveFirst(t, s)
	c := v.watch("s:/t/A", "")
	<-k.begun
	v.runner.Close()
	if c.wait(t).code() != message.CodeShuttingDown {
		t.Fatal(c.err)
	}
	if c = v.watch("s:/t/A", ""); c.wait(t).code() != message.CodeShuttingDown {
		t.Fatal(c.err)
	}
}

func TestWatchMisused(t *testing.T) {
	t.Parallel()
	bad := map[string]func(s *service.Service){
		"no {x}": func(s *service.Service) {
			s.Handle("/", service.Watch(func(context.Context, struct {
				X string `path:"x"`
			}, func(int) error) error {
				return nil
			}))
		},
		"has no JSON": func(s *service.Service) {
			s.Handle("/", service.Events(func(context.Context, struct{}, func(chan int) error) error { return nil }))
		},
		"Watch and Events": func(s *service.Service) { s.Handle("/", answer("1"), service.OnPublish(answer("1"))) },
		"OnPublish: the input": func(s *service.Service) {
			s.Handle("/", service.Watch(func(context.Context, struct{}, func(int) error) error { return nil }),
				service.OnPublish(service.Handle(func(context.Context, struct {
					X string `path:"x"`
				}) (int, error) {
					return 0, nil
				})))
		},
	}
	for name, f := range bad {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(p.(string), name) {
					t.Errorf("%s: %v", name, p)
				}
			}()
			f(service.New("s"))
		}()
	}
}
