// Package policy decides who may do what: rules over a verb, an address and the
// claims of a session. It does no I/O; who asks it, and when, is the business
// of package exchange.
//
//	p, err := policy.Compile(policy.Config{Rules: []policy.Rule{{
//		Name:      "tenants",
//		Verbs:     []string{"serve", "publish"},
//		Addresses: []string{"shop:/{claims.tenant}/**"},
//		When:      "'editor' in claims.roles",
//	}}})
//	g := policy.NewGuard(p)
//	d := g.Check(s, policy.Ask{Verb: policy.Serve, Address: address})
//	if !d.Allowed {
//		return d.Error(s, ask) // may not serve shop:/b/x: no rule allows it
//	}
//
// A rule that denies wins over all that allow, and these over the preset. The
// order of the rules only decides which name is told.
//
// # What an address is compared with
//
// With each way in which somebody behind the node could read it: as it is, and,
// if it has %-escapes or backslashes, decoded. A rule that allows has to match all
// of these, one that denies any of them; and an address that reads as one with . or
// .. in it is refused whatever the rules are. So an address cannot be spelled past a
// rule, whatever decodes it later.
//
// # Addresses that stand for several
//
// An address with wildcards (*:/x, a:/*, and the patterns that are served, as
// a:/{id}) is allowed only if each address that it stands for surely is: one
// rule that allows has to cover all of it, or the preset, and no rule that denies
// may meet it. A condition that looks at the address or its parameters is not
// sure of anything then. A call with wildcards is better asked about once for each
// address that it is expanded to.
package policy
