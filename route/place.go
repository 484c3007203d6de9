package route

// Place is where a server runs: its node, and what is known about it.
type Place struct {
	// Node is the id of the node.
	Node string
	// Name is the name of the node.
	Name string
	// Zone is the label "zone" of the node: a rack, a data center, a region.
	// "" if it has none.
	Zone string
}

// near reports whether a server is in the zone of this node, which p is the
// place of. Nodes without a zone are one, too.
func (p *Place) near(e Endpoint) bool { return e.Local() || zoneOf(e) == p.Zone }

// zoneOf returns the zone of a server of another node, "" if it is not known.
func zoneOf(e Endpoint) string {
	if placed, ok := e.(Placed); ok {
		return placed.Place().Zone
	}
	return ""
}

// Placed is an [Endpoint] that knows where it runs. Endpoints of other nodes
// do; of one that does not it is assumed that it is here.
type Placed interface {
	// Place must not be changed by anybody.
	Place() *Place
}
