package route_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/internal/race"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// trail is a middleware that writes its name into the request's type on the way
// in.
func trail(name string) route.Entry {
	return route.Entry{Name: name, Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			req.Message.Type = append(req.Message.Type, name...)
			next.Handle(ctx, req, res)
		})
	}}
}

var nothing = route.HandlerFunc(func(context.Context, *route.Request, route.Responder) {})

func pass(t testing.TB, h route.Handler) string {
	t.Helper()
	req := &route.Request{}
	h.Handle(t.Context(), req, nil)
	return string(req.Message.Type)
}

func TestStackPositions(t *testing.T) {
	t.Parallel()
	s := route.NewStack()
	chain := s.Chain(route.StageCall, nothing)
	if !chain.Empty() || pass(t, chain) != "" {
		t.Error("a new stage is not empty")
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return s.Insert(route.StageCall, trail("a"), route.Last()) }, "a"},
		{func() error { return s.Insert(route.StageCall, trail("b"), route.Last()) }, "ab"},
		{func() error { return s.Insert(route.StageCall, trail("c"), route.First()) }, "cab"},
		{func() error { return s.Insert(route.StageCall, trail("d"), route.Before("b")) }, "cadb"},
		{func() error { return s.Insert(route.StageCall, trail("e"), route.After("c")) }, "ceadb"},
		{func() error { return s.Insert(route.StageCall, trail("f"), route.At(1)) }, "cfeadb"},
		{func() error { return s.Insert(route.StageCall, trail("g"), route.At(99)) }, "cfeadbg"},
		{func() error { return s.Insert(route.StageCall, trail("h"), route.At(-1)) }, "hcfeadbg"},
		{func() error { return s.Insert(route.StageServe, trail("z"), route.Position{}) }, "hcfeadbg"},
		{func() error { return s.Move(route.StageCall, "h", route.Last()) }, "cfeadbgh"},
		{func() error { return s.Move(route.StageCall, "c", route.After("b")) }, "feadbcgh"},
		{func() error { return s.Replace(route.StageCall, "d", trail("D")) }, "feaDbcgh"},
		{func() error { return s.Replace(route.StageCall, "D", trail("D")) }, "feaDbcgh"},
		{func() error { return s.Remove(route.StageCall, "f") }, "eaDbcgh"},
		{func() error { return s.Remove(route.StageServe, "z") }, "eaDbcgh"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("on the way to %s: %v", step.want, err)
		}
		if got := pass(t, chain); got != step.want || chain.Empty() {
			t.Fatalf("order %s, want %s", got, step.want)
		}
		if late := pass(t, s.Chain(route.StageCall, nothing)); late != step.want {
			t.Fatalf("a new chain has order %s, want %s", late, step.want)
		}
	}
}

func TestStackRefuses(t *testing.T) {
	t.Parallel()
	s := route.NewStack()
	if err := s.Insert(route.StageCall, trail("a"), route.Last()); err != nil {
		t.Fatal(err)
	}
	none := route.Entry{Name: "none", Middleware: func(route.Handler) route.Handler { return nil }}
	for _, tt := range []struct {
		err  error
		code message.Code
	}{
		{s.Insert("nowhere", trail("b"), route.Last()), message.CodeNotFound},
		{s.Insert(route.StageCall, trail("a"), route.Last()), message.CodeConflict},
		{s.Insert(route.StageCall, trail("b"), route.Before("x")), message.CodeNotFound},
		{s.Insert(route.StageCall, trail(""), route.Last()), message.CodeInvalidInput},
		{s.Insert(route.StageCall, route.Entry{Name: "b"}, route.Last()), message.CodeInvalidInput},
		{s.Insert(route.StageCall, none, route.Last()), message.CodeInvalidInput},
		{s.Remove(route.StageCall, "x"), message.CodeNotFound},
		{s.Move(route.StageCall, "x", route.Last()), message.CodeNotFound},
		{s.Move(route.StageCall, "a", route.After("a")), message.CodeNotFound},
		{s.Replace(route.StageCall, "x", trail("b")), message.CodeNotFound},
		{s.Replace(route.StageCall, "a", none), message.CodeInvalidInput},
	} {
		wantError(t, tt.err, tt.code, ".")
	}
	if got := pass(t, s.Chain(route.StageCall, nothing)); got != "a" {
		t.Errorf("a refused change left %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a chain of no stage did not panic")
		}
	}()
	s.Chain("nowhere", nothing)
}

func TestStackList(t *testing.T) {
	t.Parallel()
	s := route.NewStack()
	e := trail("slow-log")
	e.Kind, e.Description, e.Settings = route.KindLog, "Logs calls that take long.", map[string]string{"over": "1s"}
	for _, x := range []route.Entry{e, trail("own")} {
		if err := s.Insert(route.StageCall, x, route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := json.Marshal(s.List())
	want := `[{"stage":"inbound","entries":[]},{"stage":"call","entries":[` +
		`{"name":"slow-log","kind":"log","description":"Logs calls that take long.","settings":{"over":"1s"}},{"name":"own","kind":"own"}]},` +
		`{"stage":"serve","entries":[]},{"stage":"deliver","entries":[]},{"stage":"outbound","entries":[]}]`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stage route.Stage
		kinds string
		want  []string // of each warning a piece
	}{
		{route.StageCall, "", nil},
		{route.StageCall, "recover trace log metrics secret rate-limit shed deadline in-order retry idempotency cache hedge breaker limit own", nil},
		{route.StageInbound, "recover log rate-limit secret", nil},
		{route.StageCall, "log recover", []string{"recover is not the first: it does not catch panics in log"}},
		{route.StageCall, "limit metrics", []string{"metrics stands after limit: it does not count what limit refuses; move it before limit"}},
		{route.StageCall, "rate-limit log", []string{"does not log what rate-limit refuses"}},
		{route.StageCall, "secret trace", []string{"traces do not show what secret refuses"}},
		{route.StageCall, "log trace", []string{"the lines of log lack the trace id"}},
		{route.StageCall, "limit deadline", []string{"the time a call waits in limit is not limited by it"}},
		{route.StageServe, "limit rate-limit", []string{"has waited in the queue of limit"}},
		{route.StageCall, "limit secret", []string{"strangers can fill the queue of limit"}},
		{route.StageInbound, "log-bodies secret", []string{"log-bodies writes down whatever strangers send"}},
		{route.StageCall, "limit limit", []string{"limit0 and limit1 are both of the kind limit"}},
		{route.StageInbound, "deadline", []string{"only calls have deadlines; use stage call or serve"}},
		{route.StageInbound, "limit", []string{"calls that nobody serves"}},
		{route.StageOutbound, "metrics", []string{"route is not known"}},
		{route.StageInbound, "trace", []string{"who gets the message is not known"}},
		{route.StageDeliver, "secret", []string{"on its way; use stage inbound or call"}},
		{route.StageCall, "retry metrics", []string{"it counts each try of retry as a call"}},
		{route.StageCall, "retry log", []string{"it logs each try of retry as a call"}},
		{route.StageCall, "retry trace", []string{"each try of retry becomes a span"}},
		{route.StageCall, "retry deadline limit", nil},
		{route.StageCall, "breaker retry", nil},
		{route.StageCall, "retry rate-limit", []string{"each try of retry counts as a message"}},
		{route.StageCall, "rate-limit rate-limit breaker breaker", nil},
		{route.StageCall, "breaker metrics", []string{"does not count what breaker refuses"}},
		{route.StageCall, "cache log", []string{"does not log what cache answers"}},
		{route.StageCall, "idempotency trace", []string{"do not show what idempotency answers"}},
		{route.StageCall, "hedge metrics", []string{"counts each try of hedge"}},
		{route.StageCall, "hedge retry", []string{"what passes hedge is not tried again"}},
		{route.StageCall, "cache retry", nil},
		{route.StageCall, "hedge deadline", []string{"no longer time than the node's own"}},
		{route.StageCall, "cache deadline", []string{"no longer time than the node's own"}},
		{route.StageCall, "in-order deadline", []string{"the time a call waits in in-order"}},
		{route.StageCall, "limit shed", []string{"has waited in the queue of limit first"}},
		{route.StageCall, "cache secret", []string{"strangers get the answers that cache has"}},
		{route.StageCall, "limit cache", []string{"wait in the queue of limit"}},
		{route.StageCall, "retry in-order", []string{"tries again has lost its turn"}},
		{route.StageCall, "limit in-order", []string{"take places of limit"}},
		{route.StageCall, "hedge in-order", []string{"waits for the end of the first"}},
		{route.StageCall, "hedge cache idempotency", []string{"cache stands after hedge", "idempotency stands after hedge"}},
		{route.StageServe, "breaker", []string{"another server be chosen; use stage call"}},
		{route.StageInbound, "hedge", []string{"another server be chosen; use stage call"}},
		{route.StageInbound, "cache", []string{"it answers calls of routes"}},
		{route.StageCall, "fallback", []string{"which is before routing; use stage inbound"}},
		{route.StageServe, "retry", []string{"another server be chosen; use stage call"}},
		{route.StageCall, "limit log metrics", []string{"log stands after limit", "metrics stands after limit"}},
	} {
		t.Run(string(tt.stage)+" "+tt.kinds, func(t *testing.T) {
			t.Parallel()
			s := route.NewStack()
			kinds := strings.Fields(tt.kinds)
			for i, kind := range kinds {
				e := trail(kind)
				if e.Kind = kind; slices.Index(kinds, kind) != i || slices.Contains(kinds[i+1:], kind) {
					e.Name = fmt.Sprint(kind, i)
				}
				if err := s.Insert(tt.stage, e, route.Last()); err != nil {
					t.Fatal(err)
				}
			}
			got := s.Warnings()
			if len(got) != len(tt.want) {
				t.Fatalf("warnings %q, want %q", got, tt.want)
			}
			for i, w := range tt.want {
				if !strings.Contains(got[i], w) || !strings.HasPrefix(got[i], "stage "+string(tt.stage)+": ") {
					t.Errorf("warning %q, want %q", got[i], w)
				}
			}
		})
	}
}

// drawPlace draws a position in a list, and its number.
func drawPlace(t *rapid.T, list []string) (route.Position, int) {
	i := rapid.IntRange(0, len(list)).Draw(t, "at")
	switch how := rapid.IntRange(0, 2).Draw(t, "how"); {
	case how == 0 && i < len(list):
		return route.Before(list[i]), i
	case how == 1 && i > 0:
		return route.After(list[i-1]), i
	}
	return route.At(i), i
}

// Any sequence of changes leaves the order that the same changes leave in a
// list of names.
func TestStackModel(t *testing.T) {
	t.Parallel()
	genName := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	rapid.Check(t, func(t *rapid.T) {
		s, model := route.NewStack(), []string{}
		chain := s.Chain(route.StageServe, nothing)
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				name := genName.Draw(t, "name")
				at, i := drawPlace(t, model)
				err := s.Insert(route.StageServe, trail(name), at)
				if taken := slices.Contains(model, name); taken != (err != nil) {
					t.Fatalf("Insert(%s): %v", name, err)
				} else if !taken {
					model = slices.Insert(model, i, name)
				}
			},
			"remove": func(t *rapid.T) {
				name := genName.Draw(t, "name")
				i := slices.Index(model, name)
				if err := s.Remove(route.StageServe, name); (i < 0) != (err != nil) {
					t.Fatalf("Remove(%s): %v", name, err)
				}
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
			},
			"move": func(t *rapid.T) {
				i := slices.Index(model, genName.Draw(t, "name"))
				if i < 0 {
					return
				}
				name := model[i]
				rest := slices.Delete(slices.Clone(model), i, i+1)
				at, to := drawPlace(t, rest)
				if err := s.Move(route.StageServe, name, at); err != nil {
					t.Fatal(err)
				}
				model = slices.Insert(rest, to, name)
			},
			"": func(t *rapid.T) {
				req := &route.Request{}
				chain.Handle(context.Background(), req, nil)
				if got, want := string(req.Message.Type), strings.Join(model, ""); got != want {
					t.Fatalf("order %s, want %s", got, want)
				}
				if chain.Empty() != (len(model) == 0) {
					t.Fatal("Empty is wrong")
				}
			},
		})
	})
}

// While a and b are swapped again and again every message passes both, in the
// old or the new order.
func TestStackChangesWhileMessagesPass(t *testing.T) {
	t.Parallel()
	s := route.NewStack()
	chain := s.Chain(route.StageCall, nothing)
	for _, name := range []string{"a", "b"} {
		if err := s.Insert(route.StageCall, trail(name), route.Last()); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := pass(t, chain); got != "ab" && got != "ba" {
					t.Errorf("a message passed %q", got)
					return
				}
				s.List()
				s.Warnings()
			}
		})
	}
	for range 500 {
		if err := s.Move(route.StageCall, "a", route.Last()); err != nil {
			t.Error(err)
		}
		if err := s.Move(route.StageCall, "b", route.Last()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestChainDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("allocation counts mean nothing under the race detector")
	}
	s := route.NewStack()
	chain, req := s.Chain(route.StageCall, nothing), &route.Request{}
	through := route.Entry{Name: "through", Middleware: func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) { next.Handle(ctx, req, res) })
	}}
	for range 2 {
		if n := testing.AllocsPerRun(1000, func() { chain.Handle(t.Context(), req, nil) }); n != 0 {
			t.Errorf("%v allocations, want 0", n)
		}
		_ = s.Insert(route.StageCall, through, route.Last())
	}
}
