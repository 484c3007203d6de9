package policy_test

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

// pieces are what somebody tries in a path, to get out of /A/.
var pieces = []string{
	"A", "B", "a", "b", "x", "..", ".", "", "*", "**", "{x}", "{claims.tenant}", "%2e%2e", "%2E%2e", "..%2f", "%2fB", "%5c..", `..\`, `\`, `\B`,
	"%252e%252e", "%25252e%25252e", "%2525252e%2525252e", "%2f", "%2F", "%41", "%42", "A%2f", "B%2f", "A%00", "A;", "..;", "A ", "%20A", "%c0%ae%c0%ae",
	"%c0%af", "\u0410", "A\u0301", "A\u200b", "A.", "A..", "...", "%2a", "%2a%2a", "%7bx%7d", "%", "%4", "%zz", ":", "B:", "[get]", "@", "B@", "#", "B?",
}

// oddClaims are what a tenant may be called, besides A.
var oddClaims = []any{
	"", "*", "**", "..", ".", "/", "A/../B", "{x}", "{claims.tenant}", "%42", "a", "A ", "A\x00", `..\B`, "A/", "/A", "B/..", nil, true, 7.0,
	[]any{"A", "B"}, map[string]any{"A": "B"}, "A?", "A:/", "node", "client",
}

// under tells whether all that an address can be read as is under a tenant.
func under(tenant, p string) bool {
	for range 6 {
		clean := path.Clean("/" + strings.ReplaceAll(p, `\`, "/"))
		first, _, _ := strings.Cut(strings.TrimPrefix(clean, "/"), "/")
		if first != tenant {
			return false
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			return true
		}
		p = next
	}
	return false
}

// TestConfined has a session of tenant A try to get out.
func TestConfined(t *testing.T) {
	t.Parallel()
	verbs := []string{"*"}
	p := compiled(t, "closed",
		policy.Rule{Name: "tenant", Verbs: verbs, Addresses: []string{"shop:/{claims.tenant}/**", "tree:/v1/{claims.tenant}/*/{id}"}},
		policy.Rule{Name: "mine", Verbs: verbs, Addresses: []string{"{claims.tenant}:/**"}, When: "session.authenticated"},
	)
	g := policy.NewGuard(p)
	rapid.Check(t, func(t *rapid.T) {
		tenant := any("A")
		if rapid.IntRange(0, 3).Draw(t, "odd") == 0 {
			tenant = rapid.SampledFrom(oddClaims).Draw(t, "claim")
		}
		s := session.New("anna", session.Claims{"tenant": tenant, "x": "B"}, session.Claims{"y": "B"})
		front := rapid.SampledFrom([]string{"", "", "", "i@", "B@", "i-B@", "*@", "@"}).Draw(t, "instance")
		name := rapid.SampledFrom([]string{"shop", "shop", "shop", "tree", "Shop", "SHOP", "*", "A", "B", "node", "client", "shop ", "sh%6fp", "@shop", "b@shop"}).Draw(t, "name")
		method := rapid.SampledFrom([]string{"", "", "[get]", "[GET]", "[/A]", "[B]"}).Draw(t, "method")
		segments := rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 6).Draw(t, "path")
		if rapid.Bool().Draw(t, "start right") {
			segments = slices.Insert(segments, 0, "A")
			if name == "tree" {
				segments = slices.Insert(segments, 0, "v1")
			}
		}
		text := front + name + ":" + method + "/" + strings.Join(segments, rapid.SampledFrom([]string{"/", "/", "/", "//", "%2f", `\`}).Draw(t, "slash"))
		text += rapid.SampledFrom([]string{"", "", "/", "?", "?/../B", "?x=/B"}).Draw(t, "query")
		parse := message.ParseStrict
		if rapid.IntRange(0, 3).Draw(t, "lenient") == 0 {
			parse = message.ParseAddress // as older dialects do
		}
		a, err := parse(text)
		if err != nil {
			return
		}
		for _, v := range policy.Verbs() {
			ask := policy.Ask{Verb: v, Address: a}
			d := g.Check(s, ask)
			if again := g.Check(s, ask); !same(again, d) || !same(p.Decide(s, ask), d) {
				t.Fatalf("%s: %+v, and %+v", text, d, again)
			}
			if d.Allowed && !confined(a, tenant) {
				t.Fatalf("tenant %v got out: %s %s: %+v", tenant, v, text, d)
			}
			if e := d.Error(s, ask); (e == nil) != d.Allowed {
				t.Fatalf("%+v: %v", d, e)
			}
		}
	})
}

// confined tells whether an address belongs to a tenant.
func confined(a message.Address, tenant any) bool {
	name, _ := tenant.(string)
	if name == "" || strings.ContainsAny(name, `/\*{}%`) || name == "." || name == ".." {
		return false
	}
	switch a.Name {
	case "shop":
		return under(name, a.Path)
	case "tree":
		rest, ok := strings.CutPrefix(a.Path, "/v1/")
		return ok && under("v1", a.Path) && under(name, "/"+rest)
	}
	return a.Name == name && name != "node" && name != "client"
}
