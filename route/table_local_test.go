package route_test

import (
	"context"
	"slices"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// elsewhere is a server of another node.
type elsewhere struct {
	id    string
	place route.Place
}

func (p *elsewhere) Handle(context.Context, *route.Request, route.Responder) {}
func (p *elsewhere) ID() string                                              { return p.id }
func (p *elsewhere) InFlight() int                                           { return 0 }
func (p *elsewhere) Local() bool                                             { return false }
func (p *elsewhere) Place() *route.Place                                     { return &p.place }

// at is a server of this node.
type onSpot struct{ elsewhere }

func (*onSpot) Local() bool { return true }

func pattern(t *testing.T, s string) route.Pattern {
	t.Helper()
	p, err := route.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLocalSeats(t *testing.T) {
	t.Parallel()
	table := route.NewTable()
	here, too, far := &onSpot{elsewhere{id: "here"}}, &onSpot{elsewhere{id: "too"}}, &elsewhere{id: "far"}
	for _, s := range []struct {
		e       route.Endpoint
		name    string
		pattern string
	}{{here, "a", "/x/{one}"}, {here, "a", "/**"}, {far, "a", "/x/{one}"}, {too, "a", "/x/{two}"}, {here, "b", "/"}, {far, "c", "/"}} {
		if err := table.Serve(s.name, pattern(t, s.pattern), s.e, route.Info{Version: s.pattern}); err != nil {
			t.Fatal(err)
		}
	}
	list := func() []string {
		var out []string
		for _, s := range table.Local() {
			if s.Info.Version != s.Pattern.String() {
				t.Errorf("%s is described as %s", s.Pattern, s.Info.Version)
			}
			out = append(out, s.Server+" "+s.Name+":"+s.Pattern.String())
		}
		slices.Sort(out)
		return out
	}
	if got, want := list(), []string{"here a:/**", "here a:/x/{one}", "here b:/", "too a:/x/{two}"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	table.UnserveAll(here)
	if got, want := list(), []string{"too a:/x/{two}"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWithout(t *testing.T) {
	t.Parallel()
	table := route.NewTable()
	var all []route.Endpoint
	for _, name := range []string{"one", "two", "three"} {
		e := &elsewhere{id: name}
		all = append(all, e)
		if err := table.Serve("a", pattern(t, "/{"+name+"}"), e, route.Info{Version: name}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := table.Lookup(message.Address{Name: "a", Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	rest, ok := m.Without(all[:1])
	if !ok || !slices.Equal(rest.Endpoints, all[1:]) || rest.Route != "a:/{two}" || rest.Info(all[2]).Version != "three" {
		t.Errorf("%+v", rest)
	}
	if last := rest.For(all[2]); last.Params.Get("three") != "x" || last.Route != "a:/{three}" {
		t.Errorf("%+v", last)
	}
	if rest, ok = rest.Without(all[:2]); !ok || len(rest.Endpoints) != 1 {
		t.Errorf("%+v", rest)
	}
	if _, ok = rest.Without(all); ok {
		t.Error("somebody is left of nobody")
	}
}

func TestGatheredNodes(t *testing.T) {
	t.Parallel()
	targets := []route.Target{
		{Endpoint: &elsewhere{"far", route.Place{Name: "node-b"}}, Name: "a", Path: "/"},
		{Endpoint: &elsewhere{"gone", route.Place{Name: "node-b"}}, Name: "a", Path: "/"},
	}
	g := route.NewGather(route.Selection{By: route.ByAll}, targets)
	g.Add(0, route.Answer{Body: []byte("1")})
	g.End(nil)
	got, err := g.Result()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"answers":[{"server":"far","node":"node-b","name":"a","path":"/","took":0,"body":1}],` +
		`"missing":[{"server":"gone","node":"node-b","name":"a","path":"/"}],"servers":2}`
	if b := got.AppendJSON(nil); string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}
