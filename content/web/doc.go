// Package web is the provider of contents from the web: the schemes http: and
// https:.
//
//	https:/api.example.com/v1/rates?base=EUR
//	https://api.example.com/v1/rates?base=EUR    the same
//
// A get or watch without parameters is a GET, one with parameters a POST that
// has them as its body. JSON is the content as it is; anything else is bytes with
// a content type, or {"base64":…,"contentType":…} where the parameters have
// "$encoding":"base64". Parameters that begin with $ are not sent.
//
// Nothing is reachable that the settings do not allow by scheme, host, port and
// path. An address in the network of the node is not, whatever the name that leads
// to it, unless the entry says so: that is looked at when the connection is made,
// so that no answer of a name server and no redirect gets around it. No proxies of
// the environment are used, no cookies kept, nothing of the client but path, query
// and parameters is sent.
//
// An entry with a poll interval makes what it allows live: one request at a time
// for all who watch the same, with the validators of the answer before, not before
// its max-age is over, and less often as long as it fails.
package web
