package policy

import (
	"github.com/ropewalk/ropewalk/session"
)

// Bounds of a configuration. They are far above what people can keep in their
// heads, and keep a mistake of a generator from stopping a node.
const (
	// MaxRules is how many rules there may be.
	MaxRules = 1000
	// MaxAddresses is how many addresses one rule may have.
	MaxAddresses = 100
	// MaxTests is how many tests a table may have.
	MaxTests = 10_000
	// MaxCondition is how many bytes a condition may have.
	MaxCondition = 2048
	// MaxText is how many bytes a name, a message or a hint may have.
	MaxText = 300
)

// What a configuration may start from.
const (
	presetDev      = "dev"
	presetStandard = "standard"
	presetClosed   = "closed"
	presetReadOnly = "read-only"
	presetEditor   = "editor"
	presetAdmin    = "admin"
)

// Config says who may do what. The zero Config is the preset "standard" without
// rules.
type Config struct {
	// Preset is what holds where no rule matches: "dev" allows everything;
	// "standard" allows call, send and watch, and nothing else; "closed" allows
	// nothing. For content there are "read-only", which allows watch, "editor",
	// which allows call, send, watch and publish, but not to publish code, and
	// "admin", which allows everything. Default: standard.
	Preset string `json:"preset,omitempty"`
	// Rules allow and deny. One that denies wins over all that allow, and these
	// over the preset; their order does not matter.
	Rules []Rule `json:"rules,omitempty"`
	// Tests is a table of cases that "ropewalk policy test" tries. A node does
	// not look at it.
	Tests []Test `json:"tests,omitempty"`
}

// Rule allows or denies some verbs on some addresses, to those for whom a
// condition holds.
type Rule struct {
	// Name is what a refusal calls the rule. Default: its place, such as rules[3].
	Name string `json:"name,omitempty"`
	// Effect is "allow" or "deny". Default: allow.
	Effect string `json:"effect,omitempty"`
	// Verbs are those that it is about: call, send, serve, broadcast, watch,
	// publish, code (besides publish and watch: scripts and queries, which are run),
	// admin (to change the node, to tap messages and to see sessions of
	// others), session (to see secret claims of callers and to change their
	// sessions, for services on a connection), or "*" for all of them. "read-only"
	// and "editor" stand for those that the presets of these names allow.
	Verbs []string `json:"verbs"`
	// Addresses are patterns: the name of a service or "*", a colon, and a path
	// as in a route, where "/**" at the end is everything below and the place
	// itself, such as "orders:/**" and "orders:/{id}/lines". A segment, or the name,
	// may be a claim of the session: "shop:/{claims.tenant}/**"; it stands for
	// the text of the claim and nothing else. {session.subject} is who it is.
	Addresses []string `json:"addresses"`
	// When is a condition in CEL. It knows claims, session.subject,
	// session.authenticated, session.id, session.issuer, verb, address.name,
	// address.path, address.method, address.instance, params (of {id} in the
	// address), listener and ip, such as "'editor' in claims.roles". If it cannot
	// be worked out, as when a claim is missing, a rule that allows does not
	// match, and one that denies does. Default: it always holds.
	When string `json:"when,omitempty"`
	// Message is the reason that those are told whom the rule denies something.
	// Default: that the rule forbids it.
	Message string `json:"message,omitempty"`
	// Hint is what those are told who are refused and need this rule, or what
	// they can do. Default: the condition of the rule.
	Hint string `json:"hint,omitempty"`
}

// Test is one case of a table.
type Test struct {
	// Name is what the case is about.
	Name string `json:"name,omitempty"`
	// Verb is what is wanted.
	Verb string `json:"verb"`
	// Address is where, such as orders:/42.
	Address string `json:"address"`
	// Session is who wants it. Default: somebody about whom nothing is known.
	Session Who `json:"session,omitzero"`
	// Want is "allow" or "deny".
	Want string `json:"want"`
	// Rule is the name of the rule that has to decide; "preset" if none may.
	// Default: it does not matter.
	Rule string `json:"rule,omitempty"`
}

// Who is somebody in a Test.
type Who struct {
	// Subject is who it is. Default: not authenticated.
	Subject string `json:"subject,omitempty"`
	// Issuer is who said so. Default: this mesh.
	Issuer string `json:"issuer,omitempty"`
	// Public are claims that the client may see.
	Public session.Claims `json:"public,omitempty"`
	// Secret are claims that the client does not see. Rules look at both.
	Secret session.Claims `json:"secret,omitempty"`
	// Listener is the name of the listener that it came in by.
	Listener string `json:"listener,omitempty"`
	// IP is where it comes from.
	IP string `json:"ip,omitempty"`
}

// session makes a session of what is known about somebody.
func (w Who) session() *session.Session {
	if w.Subject == "" && len(w.Public)+len(w.Secret) == 0 {
		return session.Anonymous()
	}
	s := session.New(w.Subject, w.Public, w.Secret)
	s.Issuer = w.Issuer
	return s
}
