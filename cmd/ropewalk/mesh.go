package main

import (
	"errors"
	"log/slog"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/config"
	"github.com/ropewalk/ropewalk/content/standard"
	"github.com/ropewalk/ropewalk/mesh/natsplane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/natskv"
	"github.com/ropewalk/ropewalk/topic"
	"github.com/ropewalk/ropewalk/topic/natslog"
)

const (
	// defaultCluster is where "ropewalk dev" accepts other nodes.
	defaultCluster = "127.0.0.1:7421"
	// noCluster as mesh.cluster accepts none.
	noCluster = "none"
)

// meshFlags are how a node meets others.
type meshFlags struct {
	Cluster    string            `group:"mesh" placeholder:"HOST:PORT" help:"Accept other nodes here; port 0 takes a free one, none accepts none."`
	Join       []string          `group:"mesh" placeholder:"HOST:PORT" help:"Join the mesh that this node is in. One is enough, since it tells of the others; may be given more than once."`
	Nats       []string          `group:"mesh" placeholder:"URL" help:"Meet other nodes in this NATS cluster, which somebody else runs, such as nats://10.0.0.5:4222; may be given more than once."`
	Zone       string            `group:"mesh" placeholder:"NAME" help:"Where the node stands, such as a rack or region. Nodes of one zone prefer each other."`
	Label      map[string]string `group:"mesh" placeholder:"NAME=VALUE" mapsep:"none" help:"Tell the others this about the node; may be given more than once."`
	SecretFile string            `group:"mesh" placeholder:"FILE" help:"The secret of the mesh is in this file. It is needed as soon as other machines take part; ROPEWALK_MESH_SECRET holds it, too."`
}

// apply puts the flags over what the file and the environment say.
func (f *meshFlags) apply(cfg *standard.Config, report *config.Report) error {
	m := &cfg.Mesh
	if f.Cluster != "" {
		m.Cluster = f.Cluster
		report.Set("mesh.cluster", "--cluster")
	}
	if len(f.Join) > 0 {
		m.Join = f.Join
		report.Set("mesh.join", "--join")
	}
	if len(f.Nats) > 0 {
		m.NATS = f.Nats
		report.Set("mesh.nats", "--nats")
	}
	labels := make(map[string]string, len(m.Labels)+len(f.Label)+1)
	maps.Copy(labels, m.Labels)
	maps.Copy(labels, f.Label)
	for name := range f.Label {
		report.Set("mesh.labels."+name, "--label")
	}
	if f.Zone != "" {
		labels["zone"] = f.Zone
		report.Set("mesh.labels.zone", "--zone")
	}
	if len(labels) > 0 {
		m.Labels = labels
	}
	if f.SecretFile == "" {
		return nil
	}
	text, err := os.ReadFile(f.SecretFile)
	if err != nil {
		return usage("--secret-file: "+err.Error(), "Name a file that can be read and holds the secret.")
	}
	m.Secret = strings.TrimSpace(string(text))
	if m.Secret == "" {
		return usage("--secret-file: the file "+f.SecretFile+" is empty", "Make one with: openssl rand -hex 16 > FILE")
	}
	report.Set("mesh.secret", "--secret-file")
	return nil
}

// natsConfig is what the configuration says about the backplane.
func natsConfig(m *ropewalk.Mesh) natsplane.Config {
	cluster := m.Cluster
	if cluster == noCluster {
		cluster = ""
	}
	return natsplane.Config{
		Cluster: cluster, Advertise: m.Advertise, Join: m.Join, NATS: m.NATS, Credentials: m.Credentials, Name: m.Name,
		Secret: m.Secret, CertFile: m.CertFile, KeyFile: m.KeyFile, CAFile: m.CAFile, Store: m.Store,
	}
}

// connectNodes adds the backplane that the configuration describes, if any.
func connectNodes(cfg *standard.Config, log *slog.Logger) error {
	if cfg.Mesh.Alone() {
		return nil
	}
	plane, err := natsplane.New(natsConfig(&cfg.Mesh), log)
	if err != nil {
		return err
	}
	cfg.Backplane = plane
	if cfg.Mesh.Store != "" || len(cfg.Mesh.NATS) > 0 {
		mesh := cfg.Mesh.Name
		cfg.TopicLog = func(name string, pattern route.Pattern, t route.Topic) topic.Durable {
			return natslog.New(plane.JetStream, natslog.Config{Mesh: mesh, Logger: log}, name, pattern, t)
		}
	}
	return storeSessions(cfg, plane.JetStream, log)
}

// storeSessions has what outlives a node kept where the nodes meet, if there is
// such a place.
func storeSessions(cfg *standard.Config, source natskv.Source, log *slog.Logger) error {
	held := cfg.Sessions.Form == keeper.FormServer
	if cfg.Mesh.Store == "" && (len(cfg.Mesh.NATS) == 0 || !held) {
		if held && len(cfg.Mesh.Join)+len(cfg.Mesh.Cluster) > 0 {
			return errors.New("store: sessions of form \"server\" have to be known to all nodes; name a directory, or set sessions.form to \"token\"")
		}
		return nil
	}
	kv := natskv.Config{Bucket: kvBucket(cfg.Mesh.Name), MaxAge: keeper.Config{Limit: cfg.Sessions.Limit}.MaxAge(), Secret: cfg.Mesh.Secret}
	journal, err := natskv.NewJournal(source, kv, log)
	if err != nil {
		return err
	}
	cfg.SessionJournal = journal
	if held {
		store, err := natskv.New(source, kv, log)
		if err != nil {
			return err
		}
		cfg.SessionStore = store
	}
	return nil
}

// kvBucket is where the sessions of a mesh are, for meshes that share a cluster.
func kvBucket(mesh string) string {
	if mesh == "" {
		return natskv.DefaultBucket
	}
	return natskv.DefaultBucket + "_" + mesh
}

// mesh notes what is wrong with how the node meets others.
func (c *checker) mesh() {
	m := &c.cfg.Mesh
	c.oneOf("mesh.discovery", m.Discovery, "nats", "static", "none")
	switch {
	case m.Discovery == "static" && len(m.Nodes) == 0:
		c.add("mesh.nodes", "static discovery needs the names of the nodes", "Name all nodes of the mesh, this one included.")
	case m.Discovery != "static" && len(m.Nodes) > 0:
		c.add("mesh.nodes", "the names are for static discovery", `Set mesh.discovery to "static", or leave the names out.`)
	}
	if m.DeadAfter < 0 {
		c.add("mesh.deadAfter", "a negative time", "Leave it out for the default.")
	}
	if m.Alone() {
		return
	}
	nats := natsConfig(m)
	for _, text := range faults(nats.Validate()) {
		field, what, _ := strings.Cut(text, ": ")
		what, hint := whatToDo(what)
		if field == "secret" {
			hint = "Give all nodes the same one, of 16 characters or more, in ROPEWALK_MESH_SECRET or with --secret-file; openssl rand -hex 16 makes one."
		}
		c.add("mesh."+field, what, hint)
	}
}

// faults are the texts of errors that were joined.
func faults(err error) []string {
	if err == nil {
		return nil
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var list []string
		for _, e := range all.Unwrap() {
			list = append(list, faults(e)...)
		}
		return list
	}
	return []string{err.Error()}
}

// whatToDo splits "what is wrong; what to do".
func whatToDo(text string) (what, hint string) {
	at := strings.LastIndex(text, "; ")
	if at < 0 {
		return text, ""
	}
	hint = text[at+2:]
	return text[:at], strings.ToUpper(hint[:1]) + hint[1:] + "."
}

// meshTaken reports whether a node that could not be started could not because
// the port for other nodes is taken.
func meshTaken(err error) bool {
	var e *meshError
	return errors.As(err, &e) && errors.Is(err, syscall.EADDRINUSE)
}

// meshError is that a node could not join its mesh.
type meshError struct{ error }

func (e *meshError) Unwrap() error { return e.error }

// cannotJoin explains why a node that listens already could not join its mesh.
func cannotJoin(cfg *standard.Config, err error) error {
	what, hint := whatToDo(strings.TrimPrefix(err.Error(), "mesh: "))
	e := message.NewError(message.CodeNotReady, "cannot meet other nodes: "+what, hint)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.Code = message.CodeConflict
		e.Message = "another program listens on " + cfg.Mesh.Cluster + " already, so other nodes cannot be accepted there"
		e.Hint = "Stop it, or choose another address with --cluster."
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Code = message.CodeConflict
		e.Hint = "Choose an address of this machine with --cluster; ports below 1024 need rights."
	case len(cfg.Mesh.NATS) > 0 && hint == "":
		e.Hint = "Check that a NATS server runs at " + strings.Join(redactedURLs(cfg.Mesh.NATS), ", ") + "."
	}
	e.Cause = err
	return &meshError{e}
}

// redactedURLs are URLs without their passwords.
func redactedURLs(list []string) []string {
	out := make([]string, len(list))
	for i, raw := range list {
		scheme, rest, _ := strings.Cut(raw, "://")
		out[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return out
}

// clusterAddress is where other nodes can join, "" if they cannot.
func clusterAddress(n *runningNode) string {
	if m := n.Mesh(); m != nil {
		return m.Card().Addr
	}
	return ""
}

// moved is an address with the next port, if there is one.
func moved(address string) (string, bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	n, err := strconv.Atoi(port)
	if err != nil || n <= 0 || n >= 65535 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1)), true
}
