package ropewalk

import (
	"net"
	"net/netip"
	"strings"

	"github.com/ropewalk/ropewalk/edge"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/mesh/line"
)

// What [Mesh.Lines] may be.
const (
	linesAuto = "auto"
	linesNone = "none"
)

// makeLines has the listeners take lines of other nodes, if the backplane and
// the configuration let the node have such.
func (n *Node) makeLines(cfg *edge.Config) error {
	plane, ok := n.cfg.Backplane.(mesh.Keyed)
	if !ok || n.cfg.Mesh.Lines == linesNone || plane.LineKey() == "" {
		return nil
	}
	l, err := line.New(line.Config{
		ID: n.id, Key: plane.LineKey(), Addr: n.lineAddr, Local: n.local, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.lines, cfg.Peering = l, l.Peering()
	return nil
}

// useLines has lines be made by the node's server.
func (n *Node) useLines(s *edge.Server) {
	if n.lines != nil {
		n.lines.Use(s)
	}
}

// lineAddr is where other nodes can make lines to this one: at a listener without
// TLS, under the address of the mesh. So lines go over no network but that which
// the mesh uses anyway.
func (n *Node) lineAddr() string {
	host, _, err := net.SplitHostPort(n.cfg.Backplane.Addr())
	if err != nil {
		return ""
	}
	addrs := n.Addrs()
	for _, name := range n.cfg.listenerNames() {
		if l := n.cfg.Listeners[name]; l.CertFile != "" || addrs[name] == nil {
			continue
		}
		at, err := netip.ParseAddrPort(addrs[name].String())
		if err != nil {
			continue
		}
		ip := at.Addr().Unmap()
		switch home, _ := netip.ParseAddr(host); {
		case isLoopback(host) && ip.IsLoopback(), home.Unmap() == ip:
			return at.String()
		case ip.IsUnspecified():
			_, port, _ := net.SplitHostPort(at.String()) // it has just been one
			return net.JoinHostPort(host, port)
		}
	}
	return ""
}

// local tells whether the whole mesh is on this machine.
func (n *Node) local() bool {
	host, _, err := net.SplitHostPort(n.cfg.Backplane.Addr())
	return err == nil && isLoopback(host)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}
