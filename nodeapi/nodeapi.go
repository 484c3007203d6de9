// Package nodeapi is the node's own service, node:/: what it serves, who is
// connected, which other nodes there are, how a message finds its way, and the middleware it passes. It is
// an ordinary service; clients, the CLI and pages call it like any other.
package nodeapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/topic"
)

// Name is the service under which a node answers for itself.
const Name = "node"

const (
	clientName = "client" // under which connections are addressed
	zoneLabel  = "zone"
)

// Host is what the service tells about, and what it can change. The root package
// fills it in.
type Host struct {
	Exchange   *exchange.Exchange
	Strategies *route.Strategies // the ones of Exchange
	ID         string
	NodeName   string
	Version    string
	Labels     map[string]string
	Started    time.Time
	Logger     *slog.Logger
	// Listeners are the addresses by name.
	Listeners func() map[string]string
	// URLs are where clients can connect.
	URLs func() []string
	// Mesh returns the view of the other nodes; nil if there can be none.
	Mesh func() *mesh.Mesh
	// Topics lists what is watched; nil if nothing can be.
	Topics func() []topic.Info
	// Hub has the topics of the node, and tells who watches them; nil if nothing can
	// be watched.
	Hub *topic.Hub
	// SetDraining has the node take no new calls from others, or take them
	// again.
	SetDraining func(on bool)
	// Audit is told what callers have changed; nil is a log that keeps nothing.
	Audit *audit.Log
	// Reload reads the configuration again; nil if the node does not know from
	// where.
	Reload func(ctx context.Context) (Changes, error)
	// Sessions are those of the node's connections; nil if it has none.
	Sessions Sessions
	// Middleware makes a middleware of a kind, for insertion at run time.
	Middleware func(kind, name string, settings json.RawMessage) (route.Entry, error)
}

// api is the service at work.
type api struct {
	Host
	own atomic.Int32 // calls in flight that are about the node itself
}

// New returns the service.
func New(host Host) *service.Service {
	h := &api{Host: host}
	s := service.New(Name, service.WithVersion(h.Version))
	s.Use(h.count)
	about, idempotent := service.WithDescription, service.WithIdempotent()
	s.Handle("/info", service.Handle(h.info), about("Name, version and numbers of this node."), idempotent)
	s.Handle("/nodes", newLive(h.nodes, h.nodes, nodesDiffer), about("Every node of the mesh, as this one sees it."), idempotent, watched(), inline())
	s.Handle("/drain", service.Handle(h.drain), about("Have this node take no new calls, or take them again; how far it is."), idempotent)
	s.Handle("/services", newLive(h.services, h.services, nil), about("Every path that is served, by whom, and on which node."),
		idempotent, watched(), inline())
	s.Handle("/clients", newLive(h.clients, h.listClients, nil), about("Every connection of this node."), idempotent, watched(), inline())
	s.Handle("/topics", newLive(h.topics, h.listTopics, topic.Changed), about("Every topic that is watched at this node, or at its servers."),
		idempotent, watched(), inline())
	s.Handle("/schema", service.Handle(h.schemaOfRoute), about("JSON Schema of a route with wildcards: node:/schema?route=math:/{op}."), idempotent)
	s.Handle("/schema/{name}/**", service.Handle(h.schema), about("JSON Schema of the input and output of a path."), idempotent)
	s.Handle("/middleware", service.Handle(h.middleware), about("The middleware by stage, in order, with warnings."), idempotent)
	s.Handle("/middleware/insert", service.Handle(h.insert), about("Insert a middleware."))
	s.Handle("/middleware/remove", service.Handle(h.remove), about("Remove a middleware."))
	s.Handle("/middleware/move", service.Handle(h.move), about("Move a middleware to another place in its stage."))
	s.Handle("/middleware/set", service.Handle(h.set), about("Change the state of a middleware, such as that of a circuit breaker."))
	s.Handle("/reload", service.Handle(h.reload), about("Read the configuration again and change what can be changed without a restart."))
	s.Handle("/route/explain", service.Handle(h.explain), about("The way a message to an address would take."), idempotent)
	s.Handle("/versions", service.Handle(h.versions), about("How calls are split among the versions of services."), idempotent)
	s.Handle("/versions/set", service.Handle(h.setVersions), about("Split the calls of a service among its versions."), idempotent)
	h.servePresence(s)
	h.serveSessions(s)
	s.Handle("/tap", service.Stream(h.tap), about("Messages as they pass, until the call is canceled."))
	return s
}

// count counts the calls about the node itself, which do not count when
// somebody waits for the end of all others.
func (h *api) count(next route.Handler) route.Handler {
	return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
		h.own.Add(1)
		defer h.own.Add(-1)
		next.Handle(ctx, req, res)
	})
}

type none struct{}

// allowed says whether the caller of a handler may change the node or see what
// others say.
func (h *api) allowed(ctx context.Context) error {
	req := service.FromContext(ctx)
	err := h.Exchange.Allowed(req.Peer, message.VerbCall, req.Address)
	if _, here := req.Peer.(*exchange.Peer); err != nil && !here { // its own node does not know what it wanted
		h.Audit.Record(audit.Event{
			Kind: audit.KindAccess, Outcome: audit.Refused, Verb: exchange.ActAdmin, Address: req.Address.String(),
			Who: Caller(ctx), Code: message.CodeOf(err),
		})
	}
	return err
}

// Info is the answer of node:/info.
type Info struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Go        string            `json:"go"`
	Started   time.Time         `json:"started"`
	Zone      string            `json:"zone,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Draining  bool              `json:"draining"` // it takes no new calls from other nodes
	Listeners map[string]string `json:"listeners"`
	Clients   int               `json:"clients"`
	Routes    int               `json:"routes"`
	InFlight  int               `json:"inFlight"` // calls
	Mesh      *MeshInfo         `json:"mesh,omitempty"`
}

// MeshInfo is what a node that is not alone tells about its mesh.
type MeshInfo struct {
	Nodes     int    `json:"nodes"`             // that it sees, itself included
	Lost      int    `json:"lost"`              // that it remembers
	Discovery string `json:"discovery"`         // how they find each other
	Address   string `json:"address,omitempty"` // HOST:PORT, where other nodes reach it
}

func (h *api) info(context.Context, none) (Info, error) {
	x := h.Exchange
	i := Info{
		ID: h.ID, Name: h.NodeName, Version: h.Version, Go: runtime.Version(), Started: h.Started,
		Zone: h.Labels[zoneLabel], Labels: h.Labels, Draining: x.Resigned(),
		Listeners: h.Listeners(), Clients: x.Connected(), Routes: x.Table().Len(), InFlight: x.InFlight(),
	}
	if m := h.Mesh(); m != nil {
		i.Mesh = &MeshInfo{Discovery: m.Discovery()}
		for _, n := range m.Nodes() {
			switch {
			case n.State == mesh.Lost:
				i.Mesh.Lost++
			case n.Self:
				i.Mesh.Address = n.Addr
				fallthrough
			default:
				i.Mesh.Nodes++
			}
		}
	}
	return i, nil
}

// MaxListed is how many routes, clients or topics one call lists: a reply has to fit
// into a frame.
const MaxListed = 2000

// Page is the input of node:/services and node:/topics, and part of that of node:/clients: which of many to list.
// node:/info tells how many there are.
type Page struct {
	Skip  int `json:"skip,omitempty" query:"skip"`
	Limit int `json:"limit,omitempty" query:"limit"` // 0: MaxListed
}

// of returns the page of a list of so many.
func (p Page) of(total int) (from, to int, err error) {
	if p.Skip < 0 || p.Limit < 0 || p.Limit > MaxListed {
		return 0, 0, message.NewError(message.CodeInvalidInput, fmt.Sprintf("there is no page of %d behind %d", p.Limit, p.Skip),
			fmt.Sprintf("Set skip to 0 or more, and limit to at most %d.", MaxListed))
	}
	from = min(p.Skip, total)
	return from, min(from+cmp.Or(p.Limit, MaxListed), total), nil
}

func (h *api) services(_ context.Context, in Page) ([]route.ServiceInfo, error) {
	all := h.Exchange.Table().Services()
	from, to, err := in.of(len(all))
	for i := range all[from:to] {
		for j := range all[from+i].Servers {
			if s := &all[from+i].Servers[j]; s.Local {
				s.Node, s.Zone = h.NodeName, h.Labels[zoneLabel]
			}
		}
	}
	return all[from:to], err
}

// ClientQuery is the input of node:/clients: a [Page], and what to tell.
type ClientQuery struct {
	Skip  int `json:"skip,omitempty" query:"skip"`
	Limit int `json:"limit,omitempty" query:"limit"` // 0: MaxListed
	// Addresses asks for the addresses of clients, too. Only callers who may change
	// the node are told, and nobody by a watch: all who watch get the same.
	Addresses bool `json:"addresses,omitempty" query:"addresses"`
}

func (h *api) clients(ctx context.Context, in ClientQuery) ([]exchange.ClientInfo, error) {
	if in.Addresses {
		if err := h.allowed(ctx); err != nil {
			return nil, err
		}
	}
	return h.pageOfClients(in)
}

// listClients is clients for who watches.
func (h *api) listClients(_ context.Context, in ClientQuery) ([]exchange.ClientInfo, error) {
	if in.Addresses {
		return nil, message.NewError(message.CodeInvalidInput, "addresses of clients are not told to who watches", "Call node:/clients for them.")
	}
	return h.pageOfClients(in)
}

func (h *api) pageOfClients(in ClientQuery) ([]exchange.ClientInfo, error) {
	peers := h.Exchange.Peers()
	slices.SortFunc(peers, func(a, b *exchange.Peer) int {
		return cmp.Or(a.Since().Compare(b.Since()), cmp.Compare(a.ID(), b.ID()))
	})
	from, to, err := Page{in.Skip, in.Limit}.of(len(peers))
	if err != nil {
		return nil, err
	}
	out := make([]exchange.ClientInfo, 0, to-from)
	for _, p := range peers[from:to] {
		i := p.Info()
		if in.Addresses {
			i.RemoteAddr = p.RemoteAddr()
		}
		out = append(out, i)
	}
	return out, nil
}

// Schema is the answer of node:/schema/NAME/PATTERN.
type Schema struct {
	Route       string          `json:"route"`
	Version     string          `json:"version,omitempty"`
	Description string          `json:"description,omitempty"`
	In          json.RawMessage `json:"in,omitempty"`
	Out         json.RawMessage `json:"out,omitempty"`
}

func (h *api) schema(ctx context.Context, _ none) (Schema, error) {
	req := service.FromContext(ctx)
	name := req.Param("name")
	path := strings.TrimPrefix(req.Address.Path, "/schema/"+name)
	// The path of a pattern is looked up as it stands first, then as a path
	// that somebody would call.
	if p, err := route.ParsePattern(path); err == nil {
		if info, ok := h.Exchange.Table().Info(name, p); ok {
			return schemaOf(name+":"+p.String(), info), nil
		}
	}
	match, err := h.Exchange.Table().Lookup(message.Address{Name: name, Path: path})
	if err != nil {
		return Schema{}, err
	}
	return schemaOf(match.Route, match.Info(nil)), nil
}

// RouteQuery is the input of node:/schema.
type RouteQuery struct {
	Route string `json:"route,omitempty" query:"route" jsonschema:"description=name:/pattern"`
}

// schemaOfRoute is for patterns that cannot stand in an address, because
// wildcards in an address mean something.
func (h *api) schemaOfRoute(_ context.Context, in RouteQuery) (Schema, error) {
	name, pattern, _ := strings.Cut(in.Route, ":")
	p, err := route.ParsePattern(pattern)
	if err != nil {
		return Schema{}, err
	}
	info, ok := h.Exchange.Table().Info(name, p)
	if !ok {
		return Schema{}, message.NewError(message.CodeNotFound, "nobody serves exactly the route "+in.Route,
			"node:/services lists the routes as they were announced.")
	}
	return schemaOf(in.Route, info), nil
}

func schemaOf(pattern string, i route.Info) Schema {
	return Schema{Route: pattern, Version: i.Version, Description: i.Description, In: i.In, Out: i.Out}
}
