package natsplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// nameFile has the name that a node has among those that keep something. It
	// must be the same after a restart: to the others, a node with another name
	// is one more, and the old one away for ever.
	nameFile = "ropewalk-name"
	// storeMemory bounds what JetStream keeps in memory; we keep nothing there.
	storeMemory = 64 << 20
)

var (
	errNoStore   = errors.New("the node keeps nothing; set mesh.store to a directory, or mesh.nats")
	errKeepNoNet = errors.New("store: the servers that nats names keep what is to be kept; leave store out")
)

func (c *Config) validateStore() error {
	switch {
	case c.Store == "":
		return nil
	case len(c.NATS) > 0:
		return errKeepNoNet
	case c.alone():
		return nil
	}
	if _, port, err := hostPort(c.Cluster); err != nil || port == 0 {
		return errors.New("store: the other nodes need to find this one again; give cluster a port, such as 0.0.0.0:7421")
	}
	return nil
}

// keep has the server inside keep things, if it shall.
func (c *Config) keep(opts *natsserver.Options) error {
	if c.Store == "" {
		return nil
	}
	dir, err := filepath.Abs(c.Store)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if opts.ServerName, err = lastingName(dir, opts.ServerName); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	opts.JetStream, opts.StoreDir, opts.JetStreamMaxMemory = true, dir, storeMemory
	opts.NoSystemAccount = false // servers that keep something together need to talk
	if len(opts.Routes) == 0 && !c.alone() {
		// JetStream asks for a list of servers; the server does not connect to
		// itself.
		host, port := c.listen()
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		opts.Routes = append(opts.Routes, &url.URL{
			Scheme: "nats-route", Host: net.JoinHostPort(host, strconv.Itoa(port)), User: url.UserPassword(routeUser, c.word("route")),
		})
	}
	return nil
}

// lastingName is the name that a node had when the directory was new.
func lastingName(dir, node string) (string, error) {
	file := filepath.Join(dir, nameFile)
	b, err := os.ReadFile(file)
	switch name := strings.TrimSpace(string(b)); {
	case err == nil && goodNode.MatchString(name):
		return name, nil
	case err == nil:
		return "", fmt.Errorf("%s has no name of a node in it", file)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	return node, os.WriteFile(file, []byte(node+"\n"), 0o600)
}

// openStore starts the server inside of a node alone, if it keeps something.
// Called with p.mu held.
func (p *Plane) openStore(ctx context.Context) error {
	if p.cfg.Store == "" {
		return nil
	}
	s, err := startInside(ctx, &p.cfg, p.node, p.log)
	if err != nil {
		return err
	}
	p.server = s
	return p.connectStore()
}

// connectStore connects to JetStream of the server inside. If that fails, so
// does Open. Called with p.mu held.
func (p *Plane) connectStore() error {
	conn, err := nats.Connect("", nats.InProcessServer(p.server.Server), nats.Name("ropewalk store "+p.node),
		nats.MaxReconnects(-1), nats.ReconnectWait(redial), nats.CustomInboxPrefix("_INBOX."+p.node),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			p.log.Debug("nats store", slog.Any("err", err))
		}))
	if err != nil {
		if p.to != nil {
			p.settle(false) // it may wait for that
			p.to.close()
		}
		p.server.stop()
		return fmt.Errorf("store: %w", err)
	}
	p.keeps = conn
	return nil
}

// JetStream returns the way to what the nodes keep, or the servers that
// Config.NATS names. It fails before Open, after Close, and if there is neither
// Config.Store nor Config.NATS. Whether enough servers are there to keep
// something shows when it is used.
func (p *Plane) JetStream() (jetstream.JetStream, error) {
	p.mu.Lock()
	conn, ok := p.keeps, p.open && !p.closed
	p.mu.Unlock()
	switch {
	case !ok:
		return nil, errNotOpen
	case conn == nil:
		return nil, errNoStore
	}
	return jetstream.New(conn)
}
