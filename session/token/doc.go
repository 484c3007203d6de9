// Package token puts sessions into tokens and takes them out again.
//
// A token is a signed JWS in compact form. Its payload says who issued it, for
// whom, whose it is and when it ends, and has the public claims of the session
// under "pub". Secret claims are in "sec", a nested JWE that names the token it
// belongs to, so that it is of no use in another one:
//
//	{"alg":"EdDSA","kid":"…","typ":"ropewalk+jwt"}
//	{"iss":"ropewalk:home","aud":"ropewalk:home","sub":"anna","jti":"…","iat":1,"nbf":1,"exp":2,"pub":{…},"sec":"…"}
//
// A [Codec] holds the keys: those of this mesh, of which the newest that is
// active signs and the others go on verifying until their end, and the public
// keys of other issuers, which it fetches by OpenID Connect discovery. Which
// issuers these are is a matter of configuration alone; nothing that stands in a
// token is ever fetched.
//
//	c, err := token.New(token.Config{Dir: dir}, token.Options{Mesh: "home"})
//	defer c.Close()
//	text, err := c.Encode(session.New("anna", session.Claims{"role": "editor"}, nil))
//	s, err := c.DecodeWait(ctx, text)
//
// No error, log line or metric of this package has a token, a claim or a key in
// it.
package token
