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
// the word on the card of who accepts, both ids and both nonces. The secret, the
// key and the word never travel here, and what was recorded proves nothing later,
// or to another node, or the other way round. Cards only travel over the backplane
// and over lines: where the mesh has no secret, and everybody knows the key, a
// stranger who gets to a listener through a proxy does not know the word.
// What is said afterwards is neither encrypted nor signed, as that of the
// backplane is without TLS: a mesh with TLS has no lines.
package line
