// Package keeper keeps the life of sessions: how they begin, change, are used
// and end.
//
//	token or rws_… ──Open──► Session ──Change, Refresh, Touch──► Session …
//	                            │
//	                            └─End, Revoke, time──► nobody
//
// A session has one of two forms. That of form "token" is written in the token
// that the client holds; nodes keep nothing. That of form "server" is kept in a
// [Store], and the client holds a random word that finds it. Both go through the
// same methods of a [Keeper]: where a method returns a credential that is not
// empty, the client needs it in place of the one it has.
//
// A token says what was so when it was made. Who takes a claim from a session in
// a token gives the client a new one, but cannot take the old one back: with it
// the client has the claim again until the old token ends. Where that matters,
// use the form "server", or revoke the session. A log-in or log-out ends the
// session of before in either form.
//
// What was ended before its time, such as by a log-out everywhere, is in a list
// that all nodes share: see [Keeper.Revoke] and [Keeper.Merge].
package keeper
