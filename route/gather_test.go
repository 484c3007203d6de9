package route_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

func targets(n int) []route.Target {
	out := make([]route.Target, n)
	for i := range out {
		out[i] = route.Target{Endpoint: &server{id: fmt.Sprintf("s%d", i)}, Name: "math", Path: "/decimal/mul"}
	}
	return out
}

func good(body string) route.Answer { return route.Answer{Body: []byte(body)} }

func failed() route.Answer {
	return route.Answer{Err: message.NewError(message.CodeInternal, "broken", "")}
}

func TestGatherJSON(t *testing.T) {
	t.Parallel()
	list := targets(5)
	list[1].Path, list[3].Name = `/a"b`, "größe"
	g := route.NewGather(route.Selection{By: route.ByAll, Quorum: 2}, list)
	g.Add(0, route.Answer{Took: 2100 * time.Microsecond, Body: []byte("10")})
	g.Add(1, route.Answer{Took: time.Second, Err: &message.Error{Code: message.CodeForbidden, Message: "no"}, Body: []byte("dropped")})
	g.Add(2, route.Answer{ContentType: "image/png", Body: []byte{0xff, 0}})
	g.Add(3, route.Answer{})
	g.Add(3, good("second answers do not count"))
	if g.Done() {
		t.Fatal("done before all have answered")
	}
	if part, ok := g.AppendAnswer(nil, 2); !ok || !strings.Contains(string(part), `"contentType":"image/png","body":"/wA="`) {
		t.Errorf("part %s", part)
	}
	for _, i := range []int{-1, 4, 5} {
		if _, ok := g.AppendAnswer(nil, i); ok {
			t.Errorf("there is an answer of target %d", i)
		}
	}
	g.End(nil)
	got, err := g.Result()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"answers":[{"server":"s0","name":"math","path":"/decimal/mul","took":0.0021,"body":10},` +
		`{"server":"s1","name":"math","path":"/a\"b","took":1,"error":{"code":"forbidden","message":"no"}},` +
		`{"server":"s2","name":"math","path":"/decimal/mul","took":0,"contentType":"image/png","body":"/wA="},` +
		`{"server":"s3","name":"größe","path":"/decimal/mul","took":0}],` +
		`"missing":[{"server":"s4","name":"math","path":"/decimal/mul"}],"servers":5}`
	if s := string(got.AppendJSON(nil)); s != want || got.Good() != 3 {
		t.Errorf("got  %s\nwant %s\n%d good", s, want, got.Good())
	}
}

func TestGatherEnds(t *testing.T) {
	t.Parallel()
	bad, one, two := failed(), good("1"), good("2")
	for _, tt := range []struct {
		name    string
		sel     route.Selection
		servers int
		answers []route.Answer
		done    int // after how many answers; -1 never
		code    message.Code
	}{
		{"all", route.Selection{By: "all"}, 3, []route.Answer{one, bad, two}, 3, ""},
		{"all, one is late", route.Selection{By: "all"}, 3, []route.Answer{one, bad}, -1, ""},
		{"none answers", route.Selection{By: "all"}, 2, nil, -1, ""},
		{"no targets", route.Selection{By: "all"}, 0, nil, 0, message.CodeNoService},
		{"first two", route.Selection{By: "all", First: 2}, 4, []route.Answer{one, bad, two}, 3, ""},
		{"first of too few", route.Selection{By: "all", First: 5}, 2, []route.Answer{one, two}, 2, ""},
		{"quorum met", route.Selection{By: "all", Quorum: 2}, 3, []route.Answer{one, two, bad}, 3, ""},
		{"quorum out of reach", route.Selection{By: "all", Quorum: 2}, 3, []route.Answer{bad, bad}, 2, message.CodeNoQuorum},
		{"quorum too large", route.Selection{By: "all", Quorum: 9}, 3, nil, 0, message.CodeNoQuorum},
		{"quorum late", route.Selection{By: "all", Quorum: 2}, 3, []route.Answer{one}, -1, message.CodeNoQuorum},
		{"majority", route.Selection{By: "majority"}, 5, []route.Answer{one, two, one, one}, 4, ""},
		{"majority of one", route.Selection{By: "majority"}, 1, []route.Answer{one}, 1, ""},
		{"half is no majority", route.Selection{By: "majority"}, 4, []route.Answer{one, two, one, two}, 4, message.CodeNoQuorum},
		{"majority out of reach", route.Selection{By: "majority"}, 3, []route.Answer{one, two, bad}, 3, message.CodeNoQuorum},
		{"majority early out of reach", route.Selection{By: "majority"}, 5, []route.Answer{bad, bad, bad}, 3, message.CodeNoQuorum},
		{"majority and more", route.Selection{By: "majority", Quorum: 3}, 3, []route.Answer{one, one, two}, 3, ""},
		{"majority late", route.Selection{By: "majority"}, 3, []route.Answer{one}, -1, message.CodeNoQuorum},
		{"no body is not null", route.Selection{By: "majority"}, 3, []route.Answer{{}, good("null"), {}}, 3, ""},
		{"not JSON is an error", route.Selection{By: "all", Quorum: 1}, 1, []route.Answer{good(`{"a"`)}, 1, message.CodeNoQuorum},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := route.NewGather(tt.sel, targets(tt.servers))
			done := -1
			if g.Done() {
				done = 0
			}
			for i, a := range tt.answers {
				if g.Add(i, a) && done < 0 {
					done = i + 1
				}
			}
			if done != tt.done {
				t.Errorf("done after %d answers, want %d", done, tt.done)
			}
			g.End(nil)
			_, err := g.Result()
			if code := message.CodeOf(err); code != tt.code {
				t.Fatalf("result %v, want %q", err, tt.code)
			}
			if e := new(message.Error); errors.As(err, &e) && e.Code == message.CodeNoQuorum && !json.Valid(e.Details) {
				t.Errorf("details %s", e.Details)
			}
		})
	}
}

func TestGatherReason(t *testing.T) {
	t.Parallel()
	g := route.NewGather(route.Selection{By: "all"}, targets(2))
	g.Add(1, good("1"))
	g.End(message.NewError(message.CodeShuttingDown, "bye", ""))
	g.End(message.NewError(message.CodeCanceled, "too late", ""))
	out, err := g.Result()
	wantError(t, err, message.CodeShuttingDown, "")
	if len(out.Missing) != 1 || len(g.Waiting()) != 1 || g.Waiting()[0] != 0 {
		t.Errorf("missing %v", out.Missing)
	}
	late := route.NewGather(route.Selection{By: "all"}, targets(2))
	late.End(message.NewError(message.CodeDeadlineExceeded, "time is up", ""))
	if _, err := late.Result(); err != nil || !late.Done() {
		t.Errorf("a deadline is not an error: %v", err)
	}
}

// A gather ends with exactly the answer after which no other could change
// whether the caller gets what it asked for.
func TestGatherModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9).Draw(t, "servers")
		sel := route.Selection{
			By:     rapid.SampledFrom([]string{route.ByAll, route.ByMajority}).Draw(t, "by"),
			Quorum: rapid.IntRange(0, 5).Draw(t, "quorum"),
		}
		if first := rapid.IntRange(0, 5).Draw(t, "first"); first >= sel.Quorum {
			sel.First = first
		}
		order := rapid.Permutation(seq(n)).Draw(t, "order")
		bodies := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "1", "2", `"x"`, ""}), n, n).Draw(t, "bodies")
		list := targets(n)
		g := route.NewGather(sel, list)
		votes, goods, taken := map[string]int{}, 0, 0
		for k := 0; ; k++ {
			if over := modelOver(sel, n, n-taken, goods, votes); over != g.Done() {
				t.Fatalf("after %d of %d answers done is %v, want %v (good %d, votes %v)", taken, n, g.Done(), over, goods, votes)
			}
			if g.Done() || k == n {
				break
			}
			i := order[k]
			a := failed()
			if bodies[i] != "" {
				a = good(bodies[i])
				goods++
				votes[bodies[i]]++
			}
			taken++
			if g.Add(i, a) != g.Done() {
				t.Fatal("Add and Done disagree")
			}
		}
		for i := range list { // what comes late does not count
			g.Add(i, good("7"))
		}
		checkResult(t, g, n, taken, goods, sel, votes)
	})
}

func seq(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// modelOver asks for every way in which the missing answers may come.
func modelOver(sel route.Selection, n, left, goods int, votes map[string]int) bool {
	most := 0
	for _, v := range votes {
		most = max(most, v)
	}
	if left == 0 || sel.First > 0 && goods >= sel.First {
		return true
	}
	reachable := goods+left >= sel.Quorum && (sel.By == route.ByAll || 2*(most+left) > n)
	return !reachable || sel.By == route.ByMajority && 2*most > n && goods >= sel.Quorum
}

func checkResult(t *rapid.T, g *route.Gather, n, taken, goods int, sel route.Selection, votes map[string]int) {
	out, err := g.Result()
	if len(out.Answers) != taken || len(out.Missing) != n-taken || out.Servers != n || out.Good() != goods || len(g.Waiting()) != n-taken {
		t.Fatalf("%d answers, %d missing, %d servers, %d good; want %d of %d, %d good",
			len(out.Answers), len(out.Missing), out.Servers, out.Good(), taken, n, goods)
	}
	most := 0
	for _, v := range votes {
		most = max(most, v)
	}
	want := message.Code("")
	switch {
	case n == 0:
		want = message.CodeNoService
	case goods < sel.Quorum, sel.By == route.ByMajority && 2*most <= n:
		want = message.CodeNoQuorum
	}
	if got := message.CodeOf(err); got != want {
		t.Fatalf("result %v, want %q", err, want)
	}
	if b := out.AppendJSON(nil); !json.Valid(b) {
		t.Fatalf("no JSON: %s", b)
	}
}
