//go:build linux

package load_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/load"
)

func TestTopics(t *testing.T) {
	t.Parallel()
	node := startFloor(t, "")
	_, web := startNATS(t)
	for name, tc := range map[string]func(*load.Config){
		"fan-out": func(c *load.Config) { c.Mode, c.InFlight = load.ModeFanout, 3 },
		"lone":    func(c *load.Config) { c.Mode, c.Every = load.ModeFanout, 10*time.Millisecond },
		"stalled": func(c *load.Config) { c.Mode, c.InFlight, c.Stalled = load.ModeFanout, 3, 1 },
		"topics":  func(c *load.Config) { c.Mode, c.InFlight, c.Topics = load.ModeTopics, 8, 8*100 },
		"watches": func(c *load.Config) { c.Mode, c.Topics = load.ModeWatches, 200 },
		"storm":   func(c *load.Config) { c.Mode, c.Missed = load.ModeStorm, 20 },
	} {
		for proto, addr := range map[string]func(*load.Config){
			load.ProtoRope:   func(c *load.Config) { c.Addr, c.Far = node, node },
			load.ProtoNATSWS: func(c *load.Config) { c.Addr = web },
		} {
			cfg := config(load.ModeFanout, proto, node)
			tc(&cfg)
			addr(&cfg)
			cfg.To = "bench." + name
			if cfg.Mode == load.ModeStorm && proto == load.ProtoNATSWS {
				continue // it recovers nothing
			}
			t.Run(proto+"/"+name, func(t *testing.T) {
				t.Parallel()
				res, err := load.Run(cfg)
				if err != nil {
					t.Fatal(err)
				}
				want := uint64(1)
				switch cfg.Mode {
				case load.ModeWatches:
					want = 8 * 199
				case load.ModeStorm:
					want = 8
				}
				exact := cfg.Mode == load.ModeWatches || cfg.Mode == load.ModeStorm
				if res.Count < want || exact && res.Count != want || res.Server <= 0 || res.Seconds <= 0 {
					t.Errorf("%+v, want %d", res, want)
				}
			})
		}
	}
}

func TestTopicsFail(t *testing.T) {
	t.Parallel()
	node := startFloor(t, "")
	for name, tc := range map[string]struct {
		change func(*load.Config)
		want   error
	}{
		"uneven":      {func(c *load.Config) { c.Mode, c.Topics = load.ModeTopics, 9 }, load.ErrConfig},
		"all stalled": {func(c *load.Config) { c.Mode, c.Stalled = load.ModeFanout, 8 }, load.ErrConfig},
		"NATS storms": {func(c *load.Config) { c.Mode, c.Proto = load.ModeStorm, load.ProtoNATSWS }, load.ErrProto},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(load.ModeFanout, load.ProtoRope, node)
			tc.change(&cfg)
			if _, err := load.Run(cfg); !errors.Is(err, tc.want) {
				t.Errorf("Run = %v, want %v", err, tc.want)
			}
		})
	}
}
