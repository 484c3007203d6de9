package policy_test

import (
	"fmt"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/policy"
	"github.com/ropewalk/ropewalk/session"
)

func Example() {
	p, err := policy.Compile(policy.Config{Rules: []policy.Rule{{
		Name: "tenants", Verbs: []string{"serve", "publish"}, Addresses: []string{"shop:/{claims.tenant}/**"},
		When: "'editor' in claims.roles",
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	g := policy.NewGuard(p)
	anna := session.New("anna", session.Claims{"tenant": "acme", "roles": []string{"editor"}}, nil)
	for _, to := range []string{"shop:/acme/prices", "shop:/other/prices"} {
		a, err := message.ParseStrict(to)
		if err != nil {
			fmt.Println(err)
			return
		}
		ask := policy.Ask{Verb: policy.Publish, Address: a}
		if d := g.Check(anna, ask); d.Allowed {
			fmt.Println("allowed by", d.By())
		} else {
			e := d.Error(anna, ask)
			fmt.Println(e.Message)
			fmt.Println(e.Hint)
		}
	}
	// Output:
	// allowed by tenants
	// may not publish to shop:/other/prices: no rule allows it
	// Rule "tenants" allows it if claims.tenant == "other" && 'editor' in claims.roles.
}
