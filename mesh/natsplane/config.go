package natsplane

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
)

const (
	// DefaultName is the name of a mesh that was given none.
	DefaultName = "ropewalk"
	// MinSecret is the least length of a secret, in bytes: what 16 random
	// letters hold cannot be tried out.
	MinSecret = 16
)

// Config says how nodes meet over NATS. The zero value is a node alone.
// Either Cluster or Join or both make the nodes meet each other, or NATS makes
// them meet in a NATS cluster that somebody else runs.
type Config struct {
	// Cluster is HOST:PORT on which the node accepts other nodes. Port 0 takes a
	// free one. Default: it accepts none; but a node that joins others on this
	// machine takes a free port of the loopback interface, since nodes connect
	// to each other in both directions.
	Cluster string `json:"cluster,omitempty"`
	// Advertise is HOST or HOST:PORT at which other nodes reach Cluster, if that
	// is not what it says. Default: Cluster.
	Advertise string `json:"advertise,omitempty"`
	// Join are HOST:PORT of nodes that are there already, or will be. One is
	// enough: they tell of the others. The node itself may be among them.
	Join []string `json:"join,omitempty"`
	// NATS are the URLs of a NATS cluster that somebody else runs, such as
	// nats://10.0.0.5:4222 or tls://nats.example.com. Cluster and Join must be
	// empty.
	NATS []string `json:"nats,omitempty"`
	// Credentials is a NATS credentials file for that cluster.
	Credentials string `json:"credentials,omitempty"`
	// Name tells meshes apart that share a network or a NATS cluster: letters,
	// digits, - and _. Default: ropewalk.
	Name string `json:"name,omitempty"`
	// Secret is what all nodes of the mesh know and nobody else, of 16
	// characters and more. It is required as soon as Cluster or Join are beyond
	// this machine.
	Secret string `json:"secret,omitempty"`
	// CertFile, KeyFile and CAFile are PEM files; together they switch on TLS
	// between nodes, in which both sides show a certificate of that authority.
	// Whoever has such a certificate counts as a node whatever host it names,
	// so it should be an authority of the mesh alone. With NATS, CAFile is the
	// authority of the servers, and the others are only needed if the servers
	// ask for a certificate.
	CertFile string `json:"certFile,omitempty"`
	// KeyFile is the key that belongs to CertFile.
	KeyFile string `json:"keyFile,omitempty"`
	// CAFile is the authority whose certificates are accepted.
	CAFile string `json:"caFile,omitempty"`
	// Store is a directory in which the node takes part in keeping what has to
	// outlive a node: JetStream, the part of NATS that has a disk. A node alone
	// keeps it for itself. Nodes of a mesh keep it together: all of them need a
	// store of their own, a fixed port in cluster, and in join the same list of
	// all of them, themselves included. It works while more than half of them are
	// there: with three, one may be away; with two, none. Default: none. With
	// nats the servers there keep it.
	Store string `json:"store,omitempty"`
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate reports what is wrong with c, all of it, naming the fields as in a
// configuration file and saying what to do. It opens no file and no port.
func (c *Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name != "" && !goodName.MatchString(c.Name) {
		add("name: %q is not made of up to 64 letters, digits, - and _", c.Name)
	}
	if c.Cluster != "" {
		if _, _, err := hostPort(c.Cluster); err != nil {
			add("cluster: %w", err)
		}
	}
	for _, j := range c.Join {
		if host, port, err := hostPort(j); err != nil {
			add("join: %w", err)
		} else if host == "" || port == 0 {
			add("join: %q names no node; it takes a host and a port, such as 10.0.0.5:7421", j)
		}
	}
	if c.Advertise != "" {
		switch host, _, err := hostPort(c.advertised()); {
		case err != nil:
			add("advertise: %w", err)
		case host == "" || net.ParseIP(host).IsUnspecified():
			add("advertise: %q is an address that others cannot connect to; name one of this machine", c.Advertise)
		case c.Cluster == "":
			add("advertise: there is nothing to advertise without cluster; set both")
		}
	}
	errs = append(errs, c.validateNATS(), c.validateTLS(), c.validateSecret(), c.validateStore())
	return errors.Join(errs...)
}

func (c *Config) validateNATS() error {
	if len(c.NATS) == 0 {
		if c.Credentials != "" {
			return errors.New("credentials: they are for the cluster that nats names; set both or none")
		}
		return nil
	}
	if c.Cluster != "" || len(c.Join) > 0 {
		return errors.New("nats: nodes meet there, or with cluster and join, but not both; leave one of them out")
	}
	for _, raw := range c.NATS {
		u, err := url.Parse(raw)
		switch {
		case err != nil: // the text of err holds the URL, and that perhaps a password
			return errors.New("nats: one of the URLs cannot be read; one looks like nats://10.0.0.5:4222")
		case u.Hostname() == "":
			return fmt.Errorf("nats: %q names no host; a URL looks like nats://10.0.0.5:4222", u.Redacted())
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("nats: %q is no URL of a NATS server; one looks like nats://10.0.0.5:4222", u.Redacted())
		}
	}
	return nil
}

func (c *Config) validateTLS() error {
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("certFile: a certificate and its key belong together; set certFile and keyFile")
	case len(c.NATS) == 0 && (c.CertFile == "") != (c.CAFile == ""):
		return errors.New("certFile: nodes show each other certificates of one authority; set certFile, keyFile and caFile")
	}
	return nil
}

func (c *Config) validateSecret() error {
	switch {
	case c.Secret != "" && len(c.Secret) < MinSecret:
		return fmt.Errorf("secret: it has %d characters, and needs %d; openssl rand -hex 16 makes a good one", len(c.Secret), MinSecret)
	case len(c.NATS) > 0:
		return nil
	case c.Cluster == "" && !c.joinsLoopback():
		return errors.New("join: nodes connect to each other in both directions, " +
			"and the others cannot reach this one; set cluster to the HOST:PORT on which it accepts them, such as 0.0.0.0:7421")
	case c.Secret == "" && c.beyond():
		return errors.New("secret: other machines can reach this mesh; set the same secret of 16 characters or more on every node " +
			"(openssl rand -hex 16 makes a good one)")
	}
	return nil
}

// beyond tells whether other machines take part.
func (c *Config) beyond() bool {
	if c.Cluster != "" {
		if host, _, err := hostPort(c.Cluster); err == nil && !isLoopback(host) {
			return true
		}
	}
	return !c.joinsLoopback()
}

// joinsLoopback tells whether all nodes to join are on this machine.
func (c *Config) joinsLoopback() bool {
	for _, j := range c.Join {
		if host, _, err := hostPort(j); err == nil && !isLoopback(host) {
			return false
		}
	}
	return true
}

// alone tells whether there is nobody to meet.
func (c *Config) alone() bool { return c.Cluster == "" && len(c.Join) == 0 && len(c.NATS) == 0 }

func (c *Config) name() string {
	if c.Name == "" {
		return DefaultName
	}
	return c.Name
}

// listen is where the server inside accepts routes.
func (c *Config) listen() (host string, port int) {
	if c.Cluster != "" {
		host, port, _ = hostPort(c.Cluster) // Validate has seen it
	} else {
		host, _, _ = hostPort(c.Join[0])
	}
	if strings.EqualFold(host, "localhost") { // it may be two addresses
		host = "127.0.0.1"
	}
	return host, port
}

// advertised is Advertise with a port; 0 is that of Cluster.
func (c *Config) advertised() string {
	if _, _, err := net.SplitHostPort(c.Advertise); err == nil {
		return c.Advertise
	}
	return net.JoinHostPort(strings.Trim(c.Advertise, "[]"), "0")
}

func (c *Config) tls() bool { return c.CertFile != "" }

func hostPort(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not HOST:PORT, such as 127.0.0.1:7421", s)
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	if strings.ContainsAny(host, " /@?#") {
		return "", 0, fmt.Errorf("%q has no host name", s)
	}
	return host, port, nil
}

// isLoopback tells whether a host is this machine and cannot be reached from
// another one. Other names than localhost are not looked up: what they mean may
// change.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// readable checks the files that c names.
func (c *Config) readable() error {
	for _, f := range []struct{ field, name string }{
		{"credentials", c.Credentials}, {"certFile", c.CertFile}, {"keyFile", c.KeyFile}, {"caFile", c.CAFile},
	} {
		if f.name == "" {
			continue
		}
		r, err := os.Open(f.name)
		if err != nil {
			return fmt.Errorf("%s: %w", f.field, err)
		}
		_ = r.Close()
	}
	return nil
}
