package ropewalk

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/login"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session/keeper"
	"github.com/ropewalk/ropewalk/session/token"
	"github.com/ropewalk/ropewalk/topic"
)

// Duration is a time in a configuration file: a text such as "30s" or "1h30m".
type Duration = duration.Duration

// Config says how a [Node] works. The zero value of every field stands for its
// default, so Config{} is a node that listens nowhere and serves this process.
// The same fields, under their JSON names, make up a configuration file.
type Config struct {
	// Name is what people call this node. Default: the host's name.
	Name string `json:"name,omitempty"`
	// Listeners are the addresses on which the node accepts connections, by
	// name. A name is a word; it is how broadcasts and metrics refer to the
	// listener.
	Listeners map[string]Listener `json:"listeners,omitempty"`
	// Limits bound what one connection, and all together, may use.
	Limits Limits `json:"limits,omitzero"`
	// Calls says how calls are routed and how long they may take.
	Calls Calls `json:"calls,omitzero"`
	// Middleware replaces the standard middleware (recover; metrics, trace, log
	// and retry). Each entry is inserted at the end of its stage, in the order of the
	// file; an empty list is no middleware at all.
	Middleware []Middleware `json:"middleware,omitempty"`
	// Services are built-in services, by name.
	Services map[string]BuiltIn `json:"services,omitempty"`
	// Topics are topics with nothing behind them but what is published, by address
	// pattern, such as "prices:/**": state, of which the latest is kept, or events.
	// They are kept in memory, but for durable events. Content that lives in files, databases and scripts
	// needs no entry here.
	Topics map[string]route.Topic `json:"topics,omitempty"`
	// Mesh makes this node one of many. Default: a node alone.
	Mesh Mesh `json:"mesh,omitzero"`
	// Sessions says how it is known who clients are, and for how long.
	Sessions Sessions `json:"sessions,omitzero"`
	// Permissions says who may do what.
	Permissions policy.Config `json:"permissions,omitzero"`
	// Login has people log in with passwords and passkeys. The program
	// "ropewalk" serves it as login:/; a node in another program uses package login.
	Login login.Config `json:"login,omitzero"`
	// Audit says where it is written who was refused something, who logged in, and
	// who changed the node.
	Audit audit.Config `json:"audit,omitzero"`
	// Log says what is logged, and how.
	Log Log `json:"log,omitzero"`
	// Trace says where traces go.
	Trace Trace `json:"trace,omitzero"`
	// Shutdown is how long a stopping node waits for calls in flight. Default: 30s.
	Shutdown Duration `json:"shutdown,omitzero"`

	// More are parts of the configuration that belong to the program and not to the
	// node, by their names in the file. [Node.Reload] says of what differs in them
	// that it needs a restart.
	More map[string]any `json:"-"`
	// Allow is asked, in place of Permissions, before a connection may serve a
	// path, broadcast, change the middleware, or tap the messages of others; it
	// may call and send what it likes. Default: Permissions decide.
	Allow Allow `json:"-"`
	// SessionStore keeps the sessions of form "server". Package session/natskv has
	// one for a mesh. Default: the memory of this node.
	SessionStore keeper.Store `json:"-"`
	// TopicLog makes the log of durable topics, of a route name:/pattern; package
	// topic/natslog has one. The node closes it. Default: none, and then no topic can
	// be durable.
	TopicLog func(name string, pattern route.Pattern, t route.Topic) topic.Durable `json:"-"`
	// SessionJournal keeps what was revoked over a restart. Default: the file
	// Sessions.Revocations.
	SessionJournal keeper.Journal `json:"-"`
	// Backplane connects the node with others as Mesh says; package
	// mesh/natsplane makes one. Default: none, and then Mesh must be empty.
	Backplane mesh.Backplane `json:"-"`
	// Discovery finds the other nodes instead of what Mesh names.
	Discovery mesh.Discovery `json:"-"`
	// Logger takes the log instead of what Log describes.
	Logger *slog.Logger `json:"-"`
	// LogLevel is the level of Logger, for [Node.Reload] to change. Default: it
	// cannot be changed; a logger made of Log has one by itself.
	LogLevel *slog.LevelVar `json:"-"`
	// Source reads the configuration again for node:/reload, with the same
	// defaults. An error should name the field. Default: node:/reload is refused.
	Source func(ctx context.Context) (Config, error) `json:"-"`
	// Registry takes the metrics. Default: a new one, served at /metrics.
	Registry *prometheus.Registry `json:"-"`
	// HTTP answers the HTTP requests that are not the node's own. Default: 404.
	HTTP http.Handler `json:"-"`
	// Tracer sends traces. Package otlp makes one for an OpenTelemetry
	// collector. Default: none; trace context is passed on all the same.
	Tracer middleware.Tracer `json:"-"`
	// Strategies are the ways to choose among servers. They know where the node
	// is, so each node needs its own. Default: the built-in ones.
	Strategies *route.Strategies `json:"-"`
}

// Listener is one address on which a node accepts connections.
type Listener struct {
	// Address is HOST:PORT. Port 0 takes a free one.
	Address string `json:"address"`
	// Advertise is the URL by which clients of other nodes of the mesh find this
	// listener, such as wss://a.example.com; "none" keeps it to those who know
	// it. Default: made of Address, if that names one host rather than all
	// addresses.
	Advertise string `json:"advertise,omitempty"`
	// CertFile and KeyFile are PEM files; together they switch TLS on.
	CertFile string `json:"certFile,omitempty" path:"file"`
	// KeyFile is the key that belongs to CertFile.
	KeyFile string `json:"keyFile,omitempty" path:"file"`
	// Origins are the web origins whose pages may connect, besides those that
	// the node itself serves: "https://app.example.com", or "*" for all.
	Origins []string `json:"origins,omitempty"`
	// Compress allows permessage-deflate. It saves bandwidth and costs CPU and
	// memory. Default: false.
	Compress bool `json:"compress,omitempty"`
	// Driver is how connections are read: "poller" (Linux without TLS; an
	// idle connection costs next to nothing), "goroutine" (everywhere), or
	// "auto", the best that works here. Default: auto.
	Driver string `json:"driver,omitempty"`
}

// Limits bound what connections may use. Each has an error code, and counts in
// ropewalk_edge_limit_hits_total.
type Limits struct {
	// Frame is the largest frame in bytes, in and out. Default: 1 MiB.
	Frame int `json:"frame,omitempty"`
	// Connections is how many there may be. Default: 100000.
	Connections int `json:"connections,omitempty"`
	// ConnectionsPerIP is how many may come from one address. Default: no limit.
	ConnectionsPerIP int `json:"connectionsPerIP,omitempty"`
	// MessagesPerSecond is how many frames a connection may send. Default: no limit.
	MessagesPerSecond int `json:"messagesPerSecond,omitempty"`
	// Calls is how many calls a connection may have in flight. Default: 1024.
	Calls int `json:"calls,omitempty"`
	// Routes is how many routes a connection may serve. Default: 1000.
	Routes int `json:"routes,omitempty"`
	// Watches is how many topics a connection may watch. Default: 10000.
	Watches int `json:"watches,omitempty"`
	// Topics is how many topics all connections together may watch. Default:
	// 500000.
	Topics int `json:"topics,omitempty"`
	// History is how large the histories of all topics may be together, in bytes;
	// those to which nothing was added for longest are forgotten when they are larger,
	// and contents of topics with nothing behind them that nobody watches; those that
	// are watched stay, however many they are. Of each pattern of durable topics the
	// newest events, up to 16 MiB, are in memory besides. Default: 256 MiB.
	History int `json:"history,omitempty"`
	// PendingBytes is how much may wait for a connection that does not read.
	// Default: 4 MiB.
	PendingBytes int `json:"pendingBytes,omitempty"`
	// PendingFrames is how many frames may wait for it. Default: 16384.
	PendingFrames int `json:"pendingFrames,omitempty"`
	// Handshake is how long opening a connection may take. Default: 10s.
	Handshake Duration `json:"handshake,omitzero"`
	// Ping is how often a silent connection is asked whether it is there; after
	// two pings without an answer it is closed. Default: 25s.
	Ping Duration `json:"ping,omitzero"`
	// Leave is how long a node that stops leaves connections open when all calls
	// have their answers, so that what clients sent before they knew of it is
	// refused rather than lost. Clients of ours that have nothing to wait for are
	// gone sooner. Default: 1s, a few round trips.
	Leave Duration `json:"leave,omitzero"`
}

// Sessions says how it is known who clients are, and for how long.
type Sessions struct {
	// Form is where the state of a session is: "token" in the signed token that
	// the client holds, "server" on the nodes, where it can be changed by several
	// connections at once and is gone as soon as it ends, or "none", if there are
	// to be no sessions. Default: token.
	Form string `json:"form,omitempty"`
	// Lifetime is how long after it began, or was refreshed, a session ends that
	// has no idle time. Default: 1h.
	Lifetime Duration `json:"lifetime,omitzero"`
	// Idle is how long after its last use a session ends. Handlers can change it
	// for a session. Default: 30m for sessions on the nodes; those in tokens end
	// by their lifetime.
	Idle Duration `json:"idle,omitzero"`
	// Limit is how long after it began a session ends however much it is used.
	// Default: 12h.
	Limit Duration `json:"limit,omitzero"`
	// Warn is how long before the end the client is told, but never more than a
	// quarter of the time that the session has. Default: 2m.
	Warn Duration `json:"warn,omitzero"`
	// Cookie is the name of a cookie that is taken as a credential, if the page
	// that connects is the node's own or of one of the listener's origins; "*"
	// does not count. Default: cookies are not looked at.
	Cookie string `json:"cookie,omitempty"`
	// Revocations is a file in which a node keeps which sessions were ended before
	// their time, for after a restart: their tokens may be good by then but for
	// that. Nodes of a mesh tell each other, and need it only if all may stop at
	// once; with a mesh.store it is not used. Default: revocations.jsonl in
	// Tokens.Dir; nowhere, without one.
	Revocations string `json:"revocations,omitempty" path:"file"`
	// Tokens says how tokens are signed, and whose tokens are accepted. Default:
	// keys that are made of the secret of the mesh; a node alone makes its own.
	Tokens token.Config `json:"tokens,omitzero"`
}

// Calls says how calls are routed and how long they may take.
type Calls struct {
	// Timeout is what a call gets that names none. Default: 30s.
	Timeout Duration `json:"timeout,omitzero"`
	// MaxTimeout is the most a call can ask for. Default: 1h.
	MaxTimeout Duration `json:"maxTimeout,omitzero"`
	// Strategy chooses among several servers when neither the call nor its
	// route says: first, round-robin, random, least-busy, sticky, prefer-local,
	// prefer-zone. Default: least-busy.
	Strategy string `json:"strategy,omitempty"`
	// Routes is the strategy of single routes, by "name:/pattern".
	Routes map[string]string `json:"routes,omitempty"`
	// Versions splits the calls of a service among ranges of its versions, such
	// as {"math": {"^1": 95, "^2.0.0-0": 5}}: 5 percent of the calls that ask
	// for no version go to version 2. Default: versions do not matter.
	Versions map[string]map[string]float64 `json:"versions,omitempty"`
}

// Middleware is one middleware in a configuration file.
type Middleware struct {
	// Stage is where it stands: inbound, call, serve, deliver or outbound.
	Stage string `json:"stage"`
	// Kind is which, such as log or rate-limit; docs/reference/middleware.md has
	// all of them.
	Kind string `json:"kind"`
	// Name tells two of a kind apart. Default: the kind.
	Name string `json:"name,omitempty"`
	// Settings depend on the kind; see docs/reference/middleware.md.
	Settings map[string]any `json:"settings,omitempty"`
}

// noCluster as Mesh.Cluster accepts none.
const noCluster = "none"

// Mesh says how a node meets others. A node that neither listens for others nor
// joins any is alone.
type Mesh struct {
	// Cluster is HOST:PORT on which the node accepts other nodes. Port 0 takes a
	// free one; "none" accepts none. Default: it accepts none, but "ropewalk dev"
	// accepts those of this machine at 127.0.0.1:7421.
	Cluster string `json:"cluster,omitempty"`
	// Join are HOST:PORT of nodes that are there already. One is enough: they
	// tell of the others.
	Join []string `json:"join,omitempty"`
	// NATS are the URLs of a NATS cluster that somebody else runs, such as
	// nats://10.0.0.5:4222. The nodes then meet there: Cluster and Join must be
	// empty.
	NATS []string `json:"nats,omitempty"`
	// Credentials is a NATS credentials file for that cluster.
	Credentials string `json:"credentials,omitempty" secret:"true" path:"file"`
	// Advertise is HOST:PORT at which other nodes reach Cluster, if that is not
	// what it says. Default: Cluster.
	Advertise string `json:"advertise,omitempty"`
	// Name tells meshes apart that share a network. Default: ropewalk.
	Name string `json:"name,omitempty"`
	// Secret is what all nodes of the mesh know and nobody else, of 16
	// characters and more. It is required as soon as a node can be reached from,
	// or joins, another machine. Better given as ROPEWALK_MESH_SECRET than in a
	// file.
	Secret string `json:"secret,omitempty" secret:"true"`
	// CertFile, KeyFile and CAFile are PEM files; together they switch on TLS
	// between nodes, in which both sides show a certificate of that authority.
	CertFile string `json:"certFile,omitempty" path:"file"`
	// KeyFile is the key that belongs to CertFile.
	KeyFile string `json:"keyFile,omitempty" path:"file"`
	// CAFile is the authority whose certificates are accepted.
	CAFile string `json:"caFile,omitempty" path:"file"`
	// Lines says whether nodes talk to each other over direct connections to their
	// listeners, which costs less than the way over Cluster: "auto", where they
	// can, or "none". They can if a listener without TLS has the same host as
	// Cluster, and the mesh has neither TLS nor NATS; without Secret only on one
	// machine. Where they cannot they do without. Default: auto.
	Lines string `json:"lines,omitempty"`
	// Discovery is how nodes find each other: "nats" (all that reach the
	// backplane), "static" (of these, those that Nodes names), or "none".
	// Default: nats.
	Discovery string `json:"discovery,omitempty"`
	// Nodes are the names of the nodes of the mesh, for static discovery.
	Nodes []string `json:"nodes,omitempty"`
	// Store is a directory in which the node takes part in keeping what has to
	// outlive a node: events of durable topics, sessions of form "server", and which
	// sessions were revoked. Nodes keep it together: each needs a store, a fixed
	// port in Cluster, and in Join the list of all of them.
	// It works while more than half of them are there. Default: none.
	Store string `json:"store,omitempty" path:"file"`
	// Labels are told to the other nodes. "zone" is a rack, data center or
	// region, for zone-aware strategies.
	Labels map[string]string `json:"labels,omitempty"`
	// DeadAfter is how long nothing may be heard of a node before it counts as
	// lost. Default: 2.6s.
	DeadAfter Duration `json:"deadAfter,omitzero"`
}

// Alone tells whether the node meets no others.
func (m *Mesh) Alone() bool {
	return (m.Cluster == "" || m.Cluster == noCluster) && len(m.Join) == 0 && len(m.NATS) == 0 && m.Store == ""
}

// BuiltIn is a service that the node brings along.
type BuiltIn struct {
	// Kind is which: "echo" returns what it gets, for checks.
	Kind string `json:"kind"`
}

// Log says what is logged, and how.
type Log struct {
	// Level is debug, info, warn or error. Default: info.
	Level string `json:"level,omitempty"`
	// Format is text or json. Default: text.
	Format string `json:"format,omitempty"`
}

// Trace says where traces go.
type Trace struct {
	// Endpoint is the URL of an OpenTelemetry collector that speaks OTLP over
	// HTTP, such as http://127.0.0.1:4318. Default: no traces are exported;
	// trace context is passed on all the same.
	Endpoint string `json:"endpoint,omitempty"`
	// Headers go with what is sent there, such as {"Authorization": "Bearer …"}.
	// Better given as ROPEWALK_TRACE_HEADERS, in JSON, than in a file.
	Headers map[string]string `json:"headers,omitempty" secret:"true"`
	// Sample is the share of calls without a sampling decision of their own
	// that are traced, from 0 to 1. Default: 1 when there is an endpoint.
	Sample *float64 `json:"sample,omitempty"`
}

// Defaults of [Config], where they are not those of a package below.
const (
	// DefaultShutdown lets nearly every call end, and is what container
	// platforms wait for before they kill.
	DefaultShutdown = 30 * time.Second
	// DefaultPendingFrames lets a service link hold the calls of many clients
	// while it is busy; the bytes are bounded on their own.
	DefaultPendingFrames = 16384
	// DefaultConnections is what the memory of a small machine holds with ease.
	DefaultConnections = 100_000
)

// Allow says whether a connection may do what a message asks for; see
// [Config.Allow].
type Allow = exchange.Allow
