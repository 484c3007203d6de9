package ropewalk

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
)

// noAdvertise as [Listener.Advertise] keeps a listener out of what clients are
// told.
const noAdvertise = "none"

// urls returns where clients can connect to the node, best first: what the
// configuration advertises, then what follows from addresses. It is empty
// before [Node.Start].
func (n *Node) urls() []string {
	var told, made []string
	for name, addr := range n.Addrs() {
		switch l := n.cfg.Listeners[name]; l.Advertise {
		case "":
			if u := l.madeURL(addr); u != "" {
				made = append(made, u)
			}
		case noAdvertise:
		default:
			told = append(told, l.Advertise)
		}
	}
	slices.Sort(told)
	slices.Sort(made)
	return slices.Compact(append(told, made...))
}

// madeURL is the URL of a listener that is bound to addr, or "" if its address
// does not say at which of the machine's addresses others see it.
func (l *Listener) madeURL(addr net.Addr) string {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil || host == "" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil && (ip.IsUnspecified() || ip.Zone() != "") {
		return ""
	}
	_, port, err := net.SplitHostPort(addr.String()) // the configured one may be 0
	if err != nil {
		return ""
	}
	scheme := "ws"
	if l.CertFile != "" {
		scheme = "wss"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// checkAdvertise says what is wrong with what is advertised.
func (l *Listener) checkAdvertise() error {
	if l.Advertise == "" || l.Advertise == noAdvertise {
		return nil
	}
	u, err := url.Parse(l.Advertise)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("%q is neither \"none\" nor a URL such as wss://a.example.com", l.Advertise)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%q has a user or a fragment, which all clients would be told", u.Redacted())
	}
	return nil
}
