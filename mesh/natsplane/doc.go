// Package natsplane is the backplane of a mesh over NATS. A [Plane] runs a NATS
// server inside the node, which connects to those of other nodes:
//
//	node a                                        node b
//	Plane ──pipe──► nats-server ◄──one TCP──► nats-server ◄──pipe── Plane
//
// or it is a client of a NATS cluster that somebody else runs.
//
// A node has one subject, and there is one for all. Both contain a word that is
// made of the secret, so that meshes with different names or secrets do not
// hear each other even on one NATS cluster.
//
// The server inside opens the port of Config.Cluster and no other: none for
// clients, for monitoring or for anything else that NATS can do. It keeps one
// TCP connection to each other node. Nodes tell each other of those they know,
// so that it is enough to join one.
package natsplane
