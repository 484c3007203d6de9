// Package natskv keeps sessions, and the list of those that were ended before
// their time, in JetStream, the part of NATS that has a disk.
//
// A bucket has an entry a session. Its key is the id of the session, from which
// nobody can tell the word that opens it; its value is sealed, if there is a
// secret, so that who can read the bucket still cannot read claims. Reads ask the
// leader of the bucket: what one node has written, all others read.
//
// Whether the servers are there is of no matter to New: each method looks for
// them, and makes the bucket if there is none.
package natskv
