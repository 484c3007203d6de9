package web

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errAddress is that a host has an address that must not be reached.
var errAddress = errors.New("the address is not public")

// notPublic are the parts of the public ranges that are not, and those of which
// it does not show where they lead: to an IPv4 address in an IPv6 one.
// https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-.
var notPublic = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/3",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

// public6 is all of IPv6 that was ever given to anybody for the internet.
var public6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// isPublic reports whether an address is one of the internet.
func isPublic(ip netip.Addr) bool {
	if !ip.IsValid() || ip.Zone() != "" || ip.Is4In6() || ip.Is6() && !public6.Contains(ip) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// isPrivate reports whether an address may be reached where private addresses
// are allowed: all but those that do not stand for one machine. 0.0.0.0 is not
// one of them although Linux takes it for this machine.
func isPrivate(ip netip.Addr) bool {
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// control looks at the address of each connection before it is made: what a
// name stands for may change from one look to the next.
func control(allowed func(netip.Addr) bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" || !allowed(at.Addr()) {
			return errAddress
		}
		return nil
	}
}

const (
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
	keepAlive   = 30 * time.Second
	// maxHeader bounds the headers of an answer.
	maxHeader = 64 << 10
	maxIdle   = 100
)

// transport makes connections to addresses that are allowed. Each kind has its
// own connections: an entry for public addresses never gets one that an entry
// for private ones has opened.
func (s *Settings) transport(allowed func(netip.Addr) bool) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Resolver: s.Resolver, ControlContext: control(allowed)}
	return &http.Transport{
		Proxy:                  nil, // none of the environment
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.RootCAs},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // unpacked here, within limits
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    s.PerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
}
