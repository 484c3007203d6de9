package route_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Literals and wildcards side by side in every place make a look-up try every
// combination; it is given up instead.
func TestLookupIsBounded(t *testing.T) {
	t.Parallel()
	table, e := route.NewTable(), &server{id: "a"}
	const depth = 14
	for bits := range 1 << depth {
		var b strings.Builder
		for i := range depth {
			if bits>>i&1 == 0 {
				b.WriteString("/a")
			} else {
				b.WriteString("/*")
			}
		}
		serve(t, table, e, "s", b.String()+"/end")
	}
	serve(t, table, e, "t", strings.Repeat("/a", route.MaxPatternSegments))
	path := strings.Repeat("/a", depth)
	if _, err := table.Lookup(message.Address{Name: "s", Path: path + "/end"}); err != nil {
		t.Errorf("the literal path: %v", err)
	}
	_, err := table.Lookup(message.Address{Name: "s", Path: path + "/other"})
	wantError(t, err, message.CodeOverloaded, "Serve fewer patterns")
	if _, err := table.Lookup(message.Address{Name: "t", Path: strings.Repeat("/a", 500)}); message.CodeOf(err) != message.CodeNoService {
		t.Errorf("a long path: %v", err)
	}
}

func TestExpandIsBounded(t *testing.T) {
	t.Parallel()
	table, e := route.NewTable(), &server{id: "a"}
	for i := range route.MaxTargets {
		serve(t, table, e, "s", fmt.Sprintf("/x/%d", i))
	}
	targets, err := table.Expand(message.Address{Name: "s", Path: "/x/*"})
	if err != nil || len(targets) != route.MaxTargets {
		t.Fatalf("%d targets, %v", len(targets), err)
	}
	serve(t, table, e, "s", "/x/one/too/many")
	_, err = table.Expand(message.Address{Name: "s", Path: "/x/**"})
	wantError(t, err, message.CodeOverloaded, "fewer wildcards")
	if message.AsError(err).Retryable {
		t.Error("it would be the same the next time")
	}
	_, err = table.Expand(message.Address{Name: "s", Path: "/**/x"})
	wantError(t, err, message.CodeBadAddress, "only as the last")
	_, err = table.Expand(message.Address{Name: "s", Path: "/y/*"})
	wantError(t, err, message.CodeNoService, "")
	_, err = table.Expand(message.Address{Name: "s", Path: "x"})
	wantError(t, err, message.CodeNoService, "")
}

func TestExpandOrderAndChoice(t *testing.T) {
	t.Parallel()
	table, all := tableOf(t, "b=math:/decimal/mul", "a=math:/decimal/add", "b=math:/decimal/add", "c=calc:/decimal/{op}", "a=calc:/decimal/sub")
	for address, want := range map[string]string{
		"math:/decimal/*":       "a@math:/decimal/add b@math:/decimal/add b@math:/decimal/mul",
		"*:/decimal/*":          "a@calc:/decimal/sub a@math:/decimal/add b@math:/decimal/add b@math:/decimal/mul",
		"*:/decimal/mul":        "c@calc:/decimal/mul b@math:/decimal/mul",
		"math:/decimal/mul":     "b@math:/decimal/mul",
		"b@*:/**":               "b@math:/decimal/add b@math:/decimal/mul",
		"calc:/decimal/sub":     "a@calc:/decimal/sub",
		"calc:/*/anything":      "c@calc:/decimal/anything",
		"calc:/decimal/*/x":     "",
		"c@calc:/decimal/other": "c@calc:/decimal/other",
	} {
		targets, _ := table.Expand(addr(t, address))
		var got []string
		for _, x := range targets {
			got = append(got, x.Endpoint.ID()+"@"+x.Name+":"+x.Path)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s is %s, want %s", address, g, want)
		}
	}
	targets, err := table.Expand(addr(t, "*:/decimal/*"))
	if err != nil {
		t.Fatal(err)
	}
	// b has served the longest; its first path in the order of targets.
	known := route.NewStrategies()
	x, err := known.ChooseTarget(route.Selection{By: route.ByFirst}, targets, "")
	if err != nil || x.Endpoint != all["b"] || x.Path != "/decimal/add" {
		t.Errorf("chose %s of %s", x.Path, x.Endpoint.ID())
	}
	_, err = known.ChooseTarget(route.Selection{By: route.ByInstance, Instance: "nobody"}, targets, "")
	wantError(t, err, message.CodeServiceDown, "")
}
