// Package line makes lines between nodes: direct connections on the listeners
// that clients use, with a sub-protocol of their own. It implements [mesh.Lines].
//
// Before anything of a connection reaches the mesh both sides prove that they
// know its secret. Who dials speaks first, and proves first: a stranger who
// connects learns nothing but a random number.
//
//	who dials                                        who accepts
//	  hello: version, both ids, nonce   ──────────►
//	                                    ◄──────────  challenge: nonce
//	  proof                             ──────────►
//	                                    ◄──────────  proof
//	  packets of the mesh               ◄─────────►  packets of the mesh
//
// A proof is an HMAC-SHA256 with a key that is made of the secret, over who proves,
// both ids and both nonces. The secret and the key never travel, and what was
// recorded proves nothing later, or to another node, or the other way round.
// What is said afterwards is neither encrypted nor signed, as that of the
// backplane is without TLS: a mesh with TLS has no lines.
package line
