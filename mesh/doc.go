// Package mesh makes one mesh of many nodes: it knows which nodes there are,
// keeps a reliable link to each, and tells each what the others serve.
//
//	discovery ──► cards ──► membership ──► one link a node ──► routes, messages
//	                             ▲                 │
//	                      Backplane.Received   Backplane.Send
//
// A [Backplane] may lose what it carries. Links number their packets, and send
// again what was not acknowledged, so that a short fault delays messages and
// loses none. When nothing is heard of a node for [DefaultDeadAfter] its link
// is lost, with everything that was on it, and the [Handler] is told; if the
// node comes back, a new link begins, from nothing.
//
// Each node owns what it announces: a link begins with all that is served on
// the other side and goes on with the changes, in order. There is nothing to
// merge, and nothing to converge but the link itself.
//
// The package knows nothing of calls: the messages on a link are opaque to it
// but for their verb. Package exchange is at the other end of [Handler].
package mesh
