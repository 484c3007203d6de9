package ropewalk

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/route"
)

// logger returns the logger that the configuration describes.
func (c *Config) logger() (*slog.Logger, error) {
	if c.Logger != nil {
		return c.Logger, nil
	}
	c.LogLevel = new(slog.LevelVar)
	level := slog.LevelInfo
	if c.Log.Level != "" {
		if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
			return nil, fmt.Errorf("log.level: %q is none of debug, info, warn, error", c.Log.Level)
		}
	}
	c.LogLevel.Set(level)
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	switch c.Log.Format {
	case "", "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
}

// strategies returns the strategies of the node with this id, with the configured
// defaults.
func (c *Config) strategies(nodeID string) (*route.Strategies, error) {
	s := c.Strategies
	if s == nil {
		s = route.NewStrategies()
	}
	s.SetHome(route.Place{Node: nodeID, Name: c.Name, Zone: c.Mesh.Labels["zone"]})
	if c.Calls.Strategy != "" {
		if err := s.SetDefault(c.Calls.Strategy); err != nil {
			return nil, fmt.Errorf("calls.strategy: %w", err)
		}
	}
	for pattern, name := range c.Calls.Routes {
		if err := s.SetRoute(pattern, name); err != nil {
			return nil, fmt.Errorf("calls.routes[%q]: %w", pattern, err)
		}
	}
	for service, shares := range c.Calls.Versions {
		if err := s.SetWeights(service, shares); err != nil {
			return nil, fmt.Errorf("calls.versions[%q]: %w", service, err)
		}
	}
	return s, nil
}

// edge returns the configuration of the listeners.
func (c *Config) edge(
	nodeID string, handler http.Handler, log *slog.Logger, m *edge.Metrics, admit func(listener string) func(*edge.Handshake) error,
) (edge.Config, error) {
	out := edge.Config{
		NodeID: nodeID, HTTP: handler, Logger: log, Metrics: m,
		Limits: edge.Limits{
			Frame:         c.Limits.Frame,
			HandshakeTime: time.Duration(c.Limits.Handshake),
			Ping:          time.Duration(c.Limits.Ping),
			PendingFrames: positive(c.Limits.PendingFrames, DefaultPendingFrames),
			PendingBytes:  c.Limits.PendingBytes,
			Connections:   positive(c.Limits.Connections, DefaultConnections),
			PerIP:         c.Limits.ConnectionsPerIP,
			Leave:         c.Limits.Leave.Or(time.Second),

			FramesPerSecond: c.Limits.MessagesPerSecond,
		},
	}
	for _, name := range c.listenerNames() {
		l := c.Listeners[name]
		driver, ok := edge.ParseDriver(l.Driver)
		if !ok {
			return out, fmt.Errorf("listeners.%s.driver: %q is none of auto, poller, goroutine", name, l.Driver)
		}
		if err := l.checkAdvertise(); err != nil {
			return out, fmt.Errorf("listeners.%s.advertise: %w", name, err)
		}
		out.Listeners = append(out.Listeners, edge.ListenerConfig{
			Name: name, Addr: l.Address, CertFile: l.CertFile, KeyFile: l.KeyFile,
			Deflate: l.Compress, Origins: l.Origins, Driver: driver, Admit: admit(name),
		})
	}
	return out, nil
}

// listenerNames returns the names of the listeners in the order in which the
// edge has them.
func (c *Config) listenerNames() []string { return slices.Sorted(maps.Keys(c.Listeners)) }
