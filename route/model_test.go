package route_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// model is a table that looks at every route.
type model struct{ seats []modelSeat }

type modelSeat struct {
	name    string
	pattern route.Pattern
	end     route.Endpoint
	live    bool
}

func (m *model) find(name string, p route.Pattern, e route.Endpoint) int {
	return slices.IndexFunc(m.seats, func(s modelSeat) bool {
		return s.live && s.name == name && s.pattern.Equal(p) && s.end == e
	})
}

func (m *model) serve(name string, p route.Pattern, e route.Endpoint) {
	if i := m.find(name, p, e); i >= 0 {
		m.seats[i].pattern = p
		return
	}
	m.seats = append(m.seats, modelSeat{name, p, e, true})
}

func (m *model) unserve(which func(modelSeat) bool) int {
	n := 0
	for i := range m.seats {
		if m.seats[i].live && which(m.seats[i]) {
			m.seats[i].live = false
			n++
		}
	}
	return n
}

// best returns who serves one path of one service, and whether somebody ever
// did.
func (m *model) best(name, path, instance string) (best []modelSeat, ever bool) {
	for _, s := range m.seats {
		if s.name != name {
			continue
		}
		if _, ok := s.pattern.Match(path); !ok {
			continue
		}
		ever = true
		if !s.live || instance != "" && s.end.ID() != instance {
			continue
		}
		switch {
		case len(best) == 0 || s.pattern.Compare(best[0].pattern) < 0:
			best = []modelSeat{s}
		case s.pattern.Equal(best[0].pattern):
			best = append(best, s)
		}
	}
	return best, ever
}

var (
	genName    = rapid.SampledFrom([]string{"a", "b", "ü"})
	genSegment = rapid.SampledFrom([]string{"x", "y", "z", "ß"})
	genPattern = rapid.Custom(func(t *rapid.T) route.Pattern {
		var b strings.Builder
		for i := range rapid.IntRange(0, 4).Draw(t, "segments") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				b.WriteString("/*")
			case 1:
				fmt.Fprintf(&b, "/{%s%d}", rapid.SampledFrom([]string{"p", "q"}).Draw(t, "name"), i)
			default:
				b.WriteString("/" + genSegment.Draw(t, "segment"))
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "rest") == 0 {
			b.WriteString("/**")
		}
		return route.MustPattern(cmp.Or(b.String(), "/"))
	})
	genPath = rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(genSegment, 0, 5).Draw(t, "path"), "/")
	})
	genWild = rapid.Custom(func(t *rapid.T) string {
		segs := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "ß", "*"}), 0, 4).Draw(t, "wild")
		if rapid.IntRange(0, 2).Draw(t, "rest") == 0 {
			segs = append(segs, "**")
		}
		return "/" + strings.Join(segs, "/")
	})
)

// A table under any changes finds what a model that looks at every route finds.
func TestTableModel(t *testing.T) {
	t.Parallel()
	ends := servers(3)
	genEnd := rapid.SampledFrom(ends)
	rapid.Check(t, func(t *rapid.T) {
		table, m := route.NewTable(), &model{}
		t.Repeat(map[string]func(*rapid.T){
			"serve": func(t *rapid.T) {
				name, p, e := genName.Draw(t, "name"), genPattern.Draw(t, "pattern"), genEnd.Draw(t, "end")
				if err := table.Serve(name, p, e, route.Info{}); err != nil {
					t.Fatal(err)
				}
				m.serve(name, p, e)
			},
			"unserve": func(t *rapid.T) {
				name, p, e := genName.Draw(t, "name"), genPattern.Draw(t, "pattern"), genEnd.Draw(t, "end")
				want := m.unserve(func(s modelSeat) bool { return s.name == name && s.pattern.Equal(p) && s.end == e })
				if got := table.Unserve(name, p, e); got != (want == 1) {
					t.Fatalf("Unserve(%s:%s) = %v", name, p, got)
				}
			},
			"unserve service": func(t *rapid.T) {
				name, e := genName.Draw(t, "name"), genEnd.Draw(t, "end")
				want := m.unserve(func(s modelSeat) bool { return s.name == name && s.end == e })
				if got := table.UnserveService(name, e); got != want {
					t.Fatalf("UnserveService = %d, want %d", got, want)
				}
			},
			"unserve all": func(t *rapid.T) {
				e := genEnd.Draw(t, "end")
				want := m.unserve(func(s modelSeat) bool { return s.end == e })
				if got := table.UnserveAll(e); got != want || table.Count(e) != 0 {
					t.Fatalf("UnserveAll = %d, want %d", got, want)
				}
			},
			"look up": func(t *rapid.T) {
				checkLookup(t, table, m, message.Address{
					Instance: rapid.SampledFrom([]string{"", "", "s0", "s1"}).Draw(t, "instance"),
					Name:     genName.Draw(t, "name"), Path: genPath.Draw(t, "path"),
				})
			},
			"expand": func(t *rapid.T) {
				checkExpand(t, table, m, message.Address{
					Instance: rapid.SampledFrom([]string{"", "", "s0"}).Draw(t, "instance"),
					Name:     rapid.SampledFrom([]string{"a", "b", "*"}).Draw(t, "name"), Path: genWild.Draw(t, "path"),
				})
			},
			"": func(t *rapid.T) { checkList(t, table, m) },
		})
	})
}

func checkLookup(t *rapid.T, table *route.Table, m *model, a message.Address) {
	want, ever := m.best(a.Name, a.Path, a.Instance)
	got, err := table.Lookup(a)
	switch {
	case err == nil && len(want) == 0:
		t.Fatalf("%v found %s, want none", a, got.Route)
	case err != nil && len(want) > 0:
		t.Fatalf("%v: %v; want %s", a, err, want[0].pattern)
	case err != nil:
		code := message.CodeNoService
		if ever {
			code = message.CodeServiceDown
		}
		if message.CodeOf(err) != code {
			t.Fatalf("%v: %v, want %s", a, err, code)
		}
		return
	}
	if got.Route != a.Name+":"+want[0].pattern.String() || got.Name != a.Name || len(got.Endpoints) != len(want) {
		t.Fatalf("%v found %s with %v, want %s with %d", a, got.Route, ids(got.Endpoints), want[0].pattern, len(want))
	}
	for i, s := range want {
		if got.Endpoints[i] != s.end {
			t.Fatalf("%v: server %d is %s, want %s", a, i, got.Endpoints[i].ID(), s.end.ID())
		}
		ps, _ := s.pattern.Match(a.Path)
		if one := got.For(s.end); params(one.Params) != params(ps) || one.Route != a.Name+":"+s.pattern.String() {
			t.Fatalf("%v for %s: %s with %q", a, s.end.ID(), one.Route, params(one.Params))
		}
	}
}

// checkExpand compares with a look-up of every path that can be made of the
// segments that occur.
func checkExpand(t *rapid.T, table *route.Table, m *model, a message.Address) {
	want := map[string]bool{}
	for _, name := range []string{"a", "b", "ü"} {
		if a.Name != "*" && a.Name != name {
			continue
		}
		for _, path := range m.paths(name, a.Path, a.Instance) {
			best, _ := m.best(name, path, a.Instance)
			for _, s := range best {
				want[s.end.ID()+"@"+name+":"+path] = true
			}
		}
	}
	got, err := table.Expand(a)
	if (err == nil) != (len(want) > 0) {
		t.Fatalf("%v: %v, want %v", a, err, want)
	}
	for i, x := range got {
		key := x.Endpoint.ID() + "@" + x.Name + ":" + x.Path
		if !want[key] {
			t.Fatalf("%v found %s, which is not in %v or came twice", a, key, want)
		}
		delete(want, key)
		if i > 0 && cmp.Or(cmp.Compare(got[i-1].Name, x.Name), cmp.Compare(got[i-1].Path, x.Path)) > 0 {
			t.Fatalf("%v: %s is out of order", a, key)
		}
		name, text, _ := strings.Cut(x.Route, ":")
		if ps, ok := route.MustPattern(text).Match(x.Path); !ok || params(ps) != params(x.Params) || name != x.Name {
			t.Fatalf("%s does not fit the route %s, or its parameters", key, x.Route)
		}
		req := &route.Request{}
		req.Matched(x.Match())
		req.Chosen(x.Endpoint)
		if req.Route != x.Route || params(req.Params()) != params(x.Params) {
			t.Fatalf("%s as a match is %s", key, req.Route)
		}
	}
	if len(want) > 0 {
		t.Fatalf("%v did not find %v", a, want)
	}
}

// paths returns the concrete paths that an address stands for: each wildcard
// is a literal of a pattern that is served.
func (m *model) paths(name, wild, instance string) []string {
	if !strings.Contains(wild, "*") {
		return []string{wild}
	}
	var out []string
	for _, s := range m.seats {
		if !s.live || s.name != name || instance != "" && s.end.ID() != instance {
			continue
		}
		if path, ok := meet(segments(s.pattern.String()), segments(wild)); ok && !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

func segments(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path[1:], "/")
}

// meet makes the path in which a served pattern and a wild address agree.
func meet(served, wild []string) (string, bool) {
	var out strings.Builder
	for i := 0; ; i++ {
		switch {
		case i == len(wild):
			return cmp.Or(out.String(), "/"), i == len(served)
		case i == len(served):
			return "", false
		case wild[i] == "**":
			for _, s := range served[i:] {
				if strings.ContainsAny(s, "*{") {
					return "", false
				}
				out.WriteString("/" + s)
			}
			return out.String(), true
		case served[i] == "**":
			rest := strings.Join(wild[i:], "/")
			return out.String() + "/" + rest, !strings.Contains(rest, "*")
		case strings.ContainsAny(served[i], "*{"):
			if wild[i] == "*" {
				return "", false
			}
			out.WriteString("/" + wild[i])
		case wild[i] == "*" || wild[i] == served[i]:
			out.WriteString("/" + served[i])
		default:
			return "", false
		}
	}
}

func checkList(t *rapid.T, table *route.Table, m *model) {
	want := map[string]int{}
	for _, s := range m.seats {
		if s.live {
			// The oldest server's spelling is the route's; count by shape.
			want[s.name+":"+shape(s.pattern)]++
		}
	}
	list := table.Services()
	if len(list) != len(want) || table.Len() != len(want) {
		t.Fatalf("%d routes listed, Len %d, want %d", len(list), table.Len(), len(want))
	}
	for _, s := range list {
		if n := want[s.Name+":"+shape(route.MustPattern(s.Path))]; n != len(s.Servers) {
			t.Fatalf("%s:%s has %d servers, want %d", s.Name, s.Path, len(s.Servers), n)
		}
	}
}

func shape(p route.Pattern) string {
	segs := segments(p.String())
	for i, s := range segs {
		if strings.HasPrefix(s, "{") {
			segs[i] = "*"
		}
	}
	return strings.Join(segs, "/")
}

func FuzzLookup(f *testing.F) {
	f.Add("math:/decimal/mul\nmath:/{a}/**\nx:/", "*:/decimal/*")
	f.Add("s:/a/{b}/c\ns:/a/b", "s0@s:/a/b/c/")
	f.Add("ü:/ß", "ü:/ss")
	f.Fuzz(func(t *testing.T, routes, address string) {
		table, all := route.NewTable(), servers(3)
		i := 0
		for line := range strings.Lines(routes) {
			name, text, _ := strings.Cut(strings.TrimSpace(line), ":")
			p, err := route.ParsePattern(text)
			if err != nil || i > 50 {
				continue
			}
			if table.Serve(name, p, all[i%3], route.Info{}) == nil {
				i++
			}
		}
		table.UnserveAll(all[2])
		a, err := message.ParseAddress(address)
		if err != nil {
			return
		}
		m, err := table.Lookup(a)
		checkFuzzed(t, err, len(m.Endpoints))
		targets, err := table.Expand(a)
		checkFuzzed(t, err, len(targets))
		if err == nil && !a.HasWildcard() && len(targets) != len(m.Endpoints) {
			t.Fatalf("%q: %d targets, %d servers", address, len(targets), len(m.Endpoints))
		}
	})
}

func checkFuzzed(t *testing.T, err error, found int) {
	t.Helper()
	if err == nil {
		if found == 0 {
			t.Fatal("nobody found, and no error")
		}
		return
	}
	if e := message.AsError(err); e.Code == message.CodeInternal || e.Hint == "" || found > 0 {
		t.Fatalf("%d found, %+v", found, e)
	}
}
