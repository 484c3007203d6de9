// Package topic is the hub of a node: who watches what, and how each of them
// gets it.
//
// What a server has passes two places on its way to those who watch:
//
//	server ──► source, on the server's node ──► topic, on each node where somebody watches ──► watchers
//	           numbers, keeps the history       encodes once, fans out, waits for who is slow
//
// A [Hub] has both. There is one source a server, address and parameters, and
// one topic an address and parameters, however many watch; a topic has one
// request open at its owner, the server that all nodes choose alike. When that
// is lost the topic asks the next one, and its watchers notice no more than a
// content that comes again.
//
// A [Log] is a server of its own, for what is only published and watched: topics
// that the configuration declares, with nothing behind them.
package topic
