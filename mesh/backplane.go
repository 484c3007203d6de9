package mesh

import "context"

// Backplane carries bytes between the nodes of a mesh. It need not be
// reliable: what it loses is sent again by the mesh. What it has to promise is
// little:
//
//   - What Send hands over for one node arrives there in the order of the
//     calls, each message whole and at most once, or not at all.
//   - What Publish hands over reaches every node that is connected at the time,
//     but perhaps not this one, at most once, or not at all.
//   - A message of up to [MaxMessage] bytes is taken.
//
// ropewalktest.TestBackplane is the test that an implementation has to pass.
// Package mesh/natsplane is the one that nodes use; ropewalktest.Network is in
// memory, with faults on demand.
//
// Open and Close are called once, by the mesh. The other methods may be called
// from any goroutine between the two.
type Backplane interface {
	// Open connects the node with this id, and has r told of what arrives for
	// it until Close. It returns when the backplane is up, or could not be
	// brought up; other nodes need not be there. An implementation that loses
	// its connection later restores it by itself.
	Open(ctx context.Context, node string, r Receiver) error
	// Send sends data to one node. It does not wait for the node, and keeps
	// nothing of data. It may block for as long as it takes to hand data to the
	// operating system or to another goroutine. An error means that data was
	// not sent; nil does not mean that it will arrive.
	Send(node string, data []byte) error
	// Publish is Send to all nodes.
	Publish(data []byte) error
	// Addr is where other nodes can reach this one, as HOST:PORT; "" if they
	// meet elsewhere. Right after a node is lost, somebody who can connect there
	// knows that the process may still run.
	Addr() string
	// Close disconnects. Receiver is not called after it returned.
	Close(ctx context.Context) error
}

// Keyed is a [Backplane] whose nodes may have lines beside it; see [Lines].
type Keyed interface {
	Backplane
	// LineKey is what the nodes of the mesh prove to each other that they know,
	// and nobody else; it is made of their secret. Where nobody else can reach
	// the mesh, it may be what everybody knows. "" says that there must be no
	// lines: over them everything goes in the clear.
	LineKey() string
}

// Receiver is told what arrives over a Backplane.
type Receiver interface {
	// Received is given a message for this node or for all. It is called one
	// message at a time and does not block; data is valid until it returns.
	Received(data []byte)
	// Connected tells whether the backplane can reach anybody: false while the
	// connection to an outside server is lost. It is called when that changes,
	// never before Open has returned; at the beginning it is true.
	Connected(yes bool)
}

// MaxMessage is the largest message, in bytes, that is given to a [Backplane].
// It is below the limit that NATS servers have by default.
const MaxMessage = 512 << 10
