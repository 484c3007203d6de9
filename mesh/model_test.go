package mesh_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ropewalk/ropewalk/mesh"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

// op is one thing that happens to a mesh.
type op struct {
	kind string
	node int // among the living
	arg  int
}

func (o op) String() string { return fmt.Sprintf("%s %d %d", o.kind, o.node, o.arg) }

// ops draws what happens. The weights make faults neither rare nor the rule.
func ops() *rapid.Generator[[]op] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
		return op{
			kind: rapid.SampledFrom([]string{
				"join", "join", "leave", "kill", "serve", "serve", "serve", "unserve", "drain", "send", "send",
				"partition", "heal", "block", "pause", "resume", "drop", "delay", "cut", "hush", "forbid", "wait", "wait", "wait long",
			}).Draw(t, "kind"),
			node: rapid.IntRange(0, 5).Draw(t, "node"),
			arg:  rapid.IntRange(0, 7).Draw(t, "arg"),
		}
	}), 5, 40)
}

// TestRegistryModel lets anything happen, then heals all, and wants every node
// to know exactly the nodes that live, and exactly what they serve.
func TestRegistryModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		list := ops().Draw(rt, "ops")
		problem := ""
		synctest.Test(t, func(t *testing.T) { problem = newModel(t).play(list) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

type model struct {
	t      *testing.T
	net    *ropewalktest.Network
	nodes  []*world // that live
	all    []*world
	paused map[string]bool
	serial int
	serves map[*world]map[string]*here // by "name:/pattern"
	sent   map[string][]string         // by "from>to": bodies in order
}

func newModel(t *testing.T) *model {
	t.Helper()
	return &model{
		t: t, net: ropewalktest.NewNetwork(7), paused: make(map[string]bool),
		serves: make(map[*world]map[string]*here), sent: make(map[string][]string),
	}
}

func (m *model) play(list []op) (problem string) {
	m.join()
	m.join()
	for _, o := range list {
		m.do(o)
	}
	m.net.Heal()
	m.net.Drop(0)
	for id := range m.paused {
		m.net.Resume(id)
	}
	time.Sleep(10 * time.Second) // enough to notice, and to meet again
	problem = m.check()
	for _, w := range m.all {
		w.check(m.t)
		if p := m.orderly(w); p != "" {
			problem += p
		}
	}
	for _, w := range m.nodes {
		w.stop(m.t)
	}
	synctest.Wait()
	return problem
}

func (m *model) join() {
	m.serial++
	w := start(m.t, m.net, fmt.Sprintf("n%d", m.serial), func(c *mesh.Config) {
		if m.serial%4 != 0 { // some nodes have no lines
			c.Lines = m.net.Lines()
		}
	})
	m.nodes, m.all = append(m.nodes, w), append(m.all, w)
	m.serves[w] = make(map[string]*here)
}

func (m *model) do(o op) {
	if len(m.nodes) == 0 {
		m.join()
	}
	w := m.nodes[o.node%len(m.nodes)]
	switch o.kind {
	case "join":
		if len(m.nodes) < 6 {
			m.join()
		}
	case "leave", "kill":
		if o.kind == "kill" {
			m.net.Disconnect(w.id)
		}
		m.net.Resume(w.id)
		delete(m.paused, w.id)
		w.stop(m.t)
		m.nodes = slices.DeleteFunc(m.nodes, func(x *world) bool { return x == w })
	case "serve":
		name := fmt.Sprintf("s%d", o.arg)
		e := &here{id: fmt.Sprintf("%s-%d", w.name, o.arg)}
		if o.arg%2 == 0 {
			e.id = w.id // a service of the node itself, which leaves when that drains
		}
		if old := m.serves[w][name+":/x/{id}"]; old != nil {
			e = old
		}
		m.serial++
		w.serve(m.t, e, name, "/x/{id}", fmt.Sprintf("1.0.%d", m.serial))
		m.serves[w][name+":/x/{id}"] = e
	case "unserve":
		for _, k := range slices.Sorted(maps.Keys(m.serves[w])) {
			w.table.UnserveAll(m.serves[w][k])
			delete(m.serves[w], k)
			break
		}
	case "drain":
		w.mesh.Drain(o.arg%2 == 0)
	case "send":
		m.send(w, m.nodes[o.arg%len(m.nodes)])
	case "pause":
		m.net.Pause(w.id)
		m.paused[w.id] = true
	case "resume":
		m.net.Resume(w.id)
		delete(m.paused, w.id)
	default:
		m.fault(o, w)
	}
}

func (m *model) fault(o op, w *world) {
	switch o.kind {
	case "partition":
		var groups [2][]string
		for i, x := range m.nodes {
			groups[(o.arg>>(i%3))&1] = append(groups[(o.arg>>(i%3))&1], x.id)
		}
		m.net.Partition(groups[0], groups[1])
	case "heal":
		m.net.Heal()
	case "block":
		m.net.Block(w.id, m.nodes[o.arg%len(m.nodes)].id)
	case "cut":
		m.net.CutLines(w.id, m.nodes[o.arg%len(m.nodes)].id)
	case "hush":
		m.net.HushLines(w.id, m.nodes[o.arg%len(m.nodes)].id)
	case "forbid":
		m.net.ForbidLines(o.arg%2 == 0)
	case "drop":
		m.net.Drop(float64(o.arg) / 20)
	case "delay":
		m.net.Delay(time.Duration(o.arg)*20*time.Millisecond, time.Duration(o.arg)*80*time.Millisecond)
	case "wait":
		time.Sleep(time.Duration(o.arg) * 150 * time.Millisecond)
	case "wait long":
		time.Sleep(time.Duration(o.arg) * time.Second)
	}
}

func (m *model) send(from, to *world) {
	n := from.link(to.name)
	if n == nil {
		return
	}
	m.serial++
	body := fmt.Sprint(m.serial)
	if n.Deliver(noteFor("x"), &message.Message{Verb: message.VerbCall, Mid: []byte("1"), To: []byte("x:/"), Body: []byte(body)}) == nil {
		m.sent[from.name+">"+to.name] = append(m.sent[from.name+">"+to.name], body)
	}
}

// check compares what each node knows with what is.
func (m *model) check() (problem string) {
	for _, w := range m.nodes {
		var names, routes []string
		for _, x := range m.nodes {
			if x == w {
				continue
			}
			names = append(names, x.name)
			for _, s := range x.table.Local() {
				if x.mesh.Draining() && s.Server == x.id {
					continue
				}
				routes = append(routes, fmt.Sprintf("%s %s %s:%s=%s", x.name, s.Server, s.Name, s.Pattern, s.Info.Version))
			}
		}
		slices.Sort(names)
		slices.Sort(routes)
		if got := w.known(); !slices.Equal(got, names) {
			problem += fmt.Sprintf("%s knows the nodes %v, there are %v\n", w.name, got, names)
		}
		w.mu.Lock()
		var got []string
		for k, version := range w.routes {
			got = append(got, k+"="+version)
		}
		w.mu.Unlock()
		slices.Sort(got)
		if !slices.Equal(got, routes) {
			problem += fmt.Sprintf("%s knows the routes\n\t%s\nthere are\n\t%s\n", w.name, strings.Join(got, "\n\t"), strings.Join(routes, "\n\t"))
		}
	}
	return problem
}

// orderly tells whether what a node received is what the others sent, in order,
// nothing twice. Messages may be missing: links were lost.
func (m *model) orderly(w *world) (problem string) {
	last := make(map[string]int)
	for _, line := range w.received() {
		if strings.Contains(line, "returned") {
			continue
		}
		from, rest, _ := strings.Cut(line, " ")
		_, body, _ := strings.Cut(rest, " ")
		if !slices.ContainsFunc(m.all, func(x *world) bool { return x.name == from }) {
			problem += "a message of nobody: " + line + "\n"
		}
		at := slices.Index(m.sent[from+">"+w.name], body)
		if at < 0 || at < last[from] {
			problem += fmt.Sprintf("%s received %q twice, too late, or made up\n", w.name, line)
		}
		last[from] = at + 1
	}
	return problem
}

var _ route.Endpoint = (*here)(nil)
