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

// Placed is an [Endpoint] that knows where it runs. Endpoints of other nodes
// do; of one that does not it is assumed that it is here.
type Placed interface {
	// Place must not be changed by anybody.
	Place() *Place
}
