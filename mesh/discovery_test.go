package mesh_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/ropewalktest"
)

func TestDiscoveries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		features ropewalktest.DiscoveryFeatures
		make     func() mesh.Discovery
	}{
		{"nats", ropewalktest.DiscoveryFeatures{Finds: true}, mesh.Broadcast},
		{"static", ropewalktest.DiscoveryFeatures{Finds: true, Stranger: "c"}, func() mesh.Discovery { return mesh.Static("a", "b") }},
		{"none", ropewalktest.DiscoveryFeatures{}, mesh.NoDiscovery},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.make().Name(); got != tt.name {
				t.Errorf("it calls itself %s", got)
			}
			ropewalktest.TestDiscovery(t, tt.features, func(*testing.T) (a, b mesh.Discovery) { return tt.make(), tt.make() })
		})
	}
}

func TestStaticDiscoveryTakesOnlyThoseItNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := ropewalktest.NewNetwork(1)
		only := func(c *mesh.Config) { c.Discovery = mesh.Static("a", "b") }
		a, b := start(t, h, "a", only), start(t, h, "b", only)
		c := start(t, h, "c", only)
		d := start(t, h, "d", func(c *mesh.Config) { c.Discovery = mesh.NoDiscovery() })
		time.Sleep(3 * time.Second)
		for _, w := range []*world{a, b} {
			if len(w.known()) != 1 {
				t.Errorf("%s knows %v", w.name, w.known())
			}
		}
		if len(d.known()) != 0 {
			t.Errorf("d, which is alone, knows %v", d.known())
		}
		for _, w := range []*world{a, b, c, d} {
			w.stop(t)
			w.check(t)
		}
	})
}

// probe is a discovery that hears of nodes in a way of its own.
type probe struct {
	mesh.Discovery
	f func(mesh.Directory)
}

func (p probe) Run(ctx context.Context, d mesh.Directory) {
	p.f(d)
	p.Discovery.Run(ctx, d)
}

func TestBadCardsAreRefused(t *testing.T) {
	t.Parallel()
	good := mesh.Card{Protocol: mesh.Protocol, ID: "00112233445566778899aabbccddeeff", Name: "x", State: mesh.Alive}
	for _, tt := range []struct {
		name   string
		change func(*mesh.Card)
		ok     bool
	}{
		{"ok", func(*mesh.Card) {}, true},
		{"no id", func(c *mesh.Card) { c.ID = "" }, false},
		{"id of another form", func(c *mesh.Card) { c.ID = "00112233445566778899AABBCCDDEEFF" }, false},
		{"no name", func(c *mesh.Card) { c.Name = "" }, false},
		{"a name that writes lines", func(c *mesh.Card) { c.Name = "x\nlevel=ERROR" }, false},
		{"a state of its own", func(c *mesh.Card) { c.State = "mad" }, false},
		{"a label that writes lines", func(c *mesh.Card) { c.Labels = map[string]string{"zone": "a\x1b[2J"} }, false},
		{"too many addresses", func(c *mesh.Card) { c.URLs = make([]string, 100) }, false},
		{"half a tag", func(c *mesh.Card) { c.Hears = "0011" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			card := good
			tt.change(&card)
			synctest.Test(t, func(t *testing.T) {
				errs := make(chan error, 1)
				w := start(t, ropewalktest.NewNetwork(1), "a", func(c *mesh.Config) {
					c.Discovery = probe{mesh.NoDiscovery(), func(d mesh.Directory) { errs <- d.Seen(card) }}
				})
				if err := <-errs; (err == nil) != tt.ok {
					t.Errorf("Seen: %v", err)
				}
				w.stop(t)
			})
		})
	}
}
