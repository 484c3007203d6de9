// Package natslog keeps event topics in a NATS JetStream stream, so that what was
// published is there after the owner of a topic, or all nodes, were restarted.
//
//	publish, at any node ──► stream, which numbers ──► follower of each node that
//	                                                   has watchers ──► readers
//
// There is one stream for a pattern of addresses. Offsets are its sequences, and
// the epoch is what tells it from one that was made anew. A node follows it while
// somebody reads, with one consumer, and keeps the newest events in memory; of an
// address whose events are older it reads them one by one from the stream.
package natslog
