package edge

import (
	"crypto/tls"
	"fmt"
)

// SetOrigins replaces the [ListenerConfig.Origins] of a listener for the
// connections from now on, and reports whether there is such a listener.
func (s *Server) SetOrigins(name string, origins []string) bool {
	for _, l := range s.listeners {
		if l.cfg.Name == name {
			l.origins.Store(&origins)
			return true
		}
	}
	return false
}

// SetConnections replaces [Limits.Connections] and, if both the old and the new
// one are limits, [Limits.PerIP]: who is there is not counted without one.
// Connections that are too many now stay.
func (s *Server) SetConnections(connections, perIP int) {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	l := &s.cfg.Limits
	l.Connections = max(connections, 0)
	if l.PerIP > 0 && perIP > 0 {
		l.PerIP = perIP
	}
}

// ReadCertificates reads the certificates of all listeners from their files
// again. New connections get them as soon as use is called; errors name the
// listener, and then nothing has changed.
func (s *Server) ReadCertificates() (use func(), err error) {
	certs := make([]*tls.Certificate, len(s.listeners))
	for i, l := range s.listeners {
		if l.tls == nil {
			continue
		}
		cert, err := tls.LoadX509KeyPair(l.cfg.CertFile, l.cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("listeners.%s.certFile: %w", l.cfg.Name, err)
		}
		certs[i] = &cert
	}
	return func() {
		for i, l := range s.listeners {
			if certs[i] != nil {
				l.cert.Store(certs[i])
			}
		}
	}, nil
}
