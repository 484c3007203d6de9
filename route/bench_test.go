package route_test

import (
	"fmt"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// mixed returns a table with n routes, of which a third each is literal, has a
// parameter, and ends in **, over a tenth as many services; and addresses that
// match.
func mixed(b *testing.B, n int) (*route.Table, []message.Address) {
	b.Helper()
	table, e := route.NewTable(), &server{id: "a"}
	var asked []message.Address
	for i := range n {
		name, path := fmt.Sprintf("service-%d", i%max(n/10, 1)), ""
		switch i % 3 {
		case 0:
			path = fmt.Sprintf("/v1/things/%d", i)
			serve(b, table, e, name, path)
		case 1:
			serve(b, table, e, name, fmt.Sprintf("/v1/%d/{id}/parts", i))
			path = fmt.Sprintf("/v1/%d/77/parts", i)
		case 2:
			serve(b, table, e, name, fmt.Sprintf("/files/%d/**", i))
			path = fmt.Sprintf("/files/%d/a/b/c", i)
		}
		if i%max(n/1000, 1) == 0 {
			asked = append(asked, message.Address{Name: name, Path: path})
		}
	}
	return table, asked
}

// Few addresses show the cost of the look-up, many that of memory which the
// processor's caches do not hold.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		table, all := mixed(b, n)
		for _, few := range []int{10, 1000} {
			asked := all[:min(few, len(all))]
			b.Run(fmt.Sprintf("routes=%d/addresses=%d", n, few), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if _, err := table.Lookup(asked[i]); err != nil {
						b.Fatal(err)
					}
					if i++; i == len(asked) {
						i = 0
					}
				}
			})
		}
	}
}

// One service with many literals beside one another, and a wildcard to fall
// back to.
func BenchmarkLookupWide(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("siblings=%d", n), func(b *testing.B) {
			table, e := route.NewTable(), &server{id: "a"}
			for i := range n {
				serve(b, table, e, "s", fmt.Sprintf("/users/%d/cart", i))
			}
			serve(b, table, e, "s", "/users/{id}/orders")
			hit, back := message.Address{Name: "s", Path: "/users/7/cart"}, message.Address{Name: "s", Path: "/users/7/orders"}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = table.Lookup(hit)
				_, _ = table.Lookup(back)
			}
		})
	}
}

func BenchmarkLookupParallel(b *testing.B) {
	table, asked := mixed(b, 1000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, _ = table.Lookup(asked[i%len(asked)])
		}
	})
}

// A look-up that finds nobody makes a suggestion: that is the dear one, and
// anybody can ask for it.
func BenchmarkLookupNobody(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			table, _ := mixed(b, n)
			a := message.Address{Name: "service-0", Path: "/v1/thingz/1"}
			stranger := message.Address{Name: "servise-x", Path: "/v1/thingz/1"}
			b.ReportAllocs()
			for b.Loop() {
				_, _ = table.Lookup(a)
				_, _ = table.Lookup(stranger)
			}
		})
	}
}

func BenchmarkServe(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			table, _ := mixed(b, n)
			e, p := &server{id: "b"}, route.MustPattern("/v1/{id}/fresh")
			b.ReportAllocs()
			for b.Loop() {
				_ = table.Serve("service-0", p, e, route.Info{})
				table.Unserve("service-0", p, e)
			}
		})
	}
}

// A version is read once, when its server begins to serve.
func BenchmarkServeVersion(b *testing.B) {
	table, e, p := route.NewTable(), &server{id: "b"}, route.MustPattern("/v1/{id}/fresh")
	b.ReportAllocs()
	for b.Loop() {
		_ = table.Serve("s", p, e, route.Info{Version: "1.2.3-rc.1"})
		table.Unserve("s", p, e)
	}
}

// The first call with a range after a server came or went.
func BenchmarkFirstOfRange(b *testing.B) {
	known, e, p := route.NewStrategies(), &server{id: "b"}, route.MustPattern("/")
	table, _ := versioned(b, "1.0.0", "1.1.0", "2.0.0")
	b.ReportAllocs()
	for b.Loop() {
		_ = table.Serve("s", p, e, route.Info{Version: "1.2.3"})
		m, _ := table.Lookup(message.Address{Name: "s"})
		if _, err := known.Choose(route.Selection{Version: "^1"}, m, ""); err != nil {
			b.Fatal(err)
		}
		table.Unserve("s", p, e)
	}
}

// The next ones.
func BenchmarkChooseRange(b *testing.B) {
	known := route.NewStrategies()
	_, m := versioned(b, "1.0.0", "1.1.0", "2.0.0")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := known.Choose(route.Selection{Version: "^1"}, m, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	table, _ := mixed(b, 1000)
	a := message.Address{Name: "*", Path: "/v1/things/*"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.Expand(a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, name := range []string{route.ByFirst, route.ByRoundRobin, route.ByRandom, route.ByLeastBusy, route.BySticky, route.ByPreferLocal, route.ByPreferZone} {
		b.Run(name, func(b *testing.B) {
			s, cands := strategy(b, name), servers(5)
			b.ReportAllocs()
			for b.Loop() {
				s.Choose(cands, "customer-4711")
			}
		})
	}
}

func BenchmarkChain(b *testing.B) {
	s, req := route.NewStack(), &route.Request{}
	chain := s.Chain(route.StageCall, nothing)
	b.ReportAllocs()
	for b.Loop() {
		chain.Handle(b.Context(), req, nil)
	}
}
