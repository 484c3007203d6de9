package doctest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk"
	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc"
	"github.com/ropewalk/ropewalk/cmd/ropewalk/doc/gen"
	"github.com/ropewalk/ropewalk/content"
	"github.com/ropewalk/ropewalk/login"
	_ "github.com/ropewalk/ropewalk/login/drivers" // so that there is a database
	"github.com/ropewalk/ropewalk/middleware"
	"github.com/ropewalk/ropewalk/ropewalktest"
	"github.com/ropewalk/ropewalk/route"
)

//go:generate go test -run TestReference . -update

var update = flag.Bool("update", false, "write the generated pages in place of comparing them")

// madeBy is the first line of generated pages.
const madeBy = "<!-- Made by go generate ./internal/doctest. Do not edit. -->\n\n"

// TestReference compares the pages that follow from the code with those that
// are committed.
func TestReference(t *testing.T) {
	t.Parallel()
	for name, page := range map[string]func(*testing.T) string{
		"middleware.md": middlewarePage,
		"metrics.md":    metricsPage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := madeBy + page(t)
			path := filepath.Join(root, "docs", "reference", name)
			if *update {
				write(t, path, []byte(want))
				return
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("%s is stale (%v): run go generate ./internal/doctest", path, err)
			}
		})
	}
}

const middlewareIntro = `# Middleware

    ropewalk middleware list

shows what a message passes, stage by stage, outermost first, and which orders are known mistakes. It is changed while the
node runs by "ropewalk middleware insert", "remove" and "move", and for good by "middleware" in the
[configuration](config.md), which replaces the standard middleware below. What the stages are for is told in
[Middleware and its stages](../explanation/stages.md); how to write your own in
[Add middleware](../how-to/middleware.md).

%s
## Kinds

| kind | what it does | stages; the usual one first |
| --- | --- | --- |
%s
%s`

// settings are the structs that a kind is configured with.
var settings = map[string][2]string{
	route.KindBreaker:     {"breaker.go", "BreakerConfig"},
	route.KindCache:       {"cache.go", "CacheConfig"},
	route.KindDeadline:    {"deadline.go", "DeadlineConfig"},
	route.KindFallback:    {"fallback.go", "FallbackConfig"},
	route.KindHedge:       {"hedge.go", "HedgeConfig"},
	route.KindIdempotency: {"idempotency.go", "IdempotencyConfig"},
	route.KindLimit:       {"limit.go", "LimitConfig"},
	route.KindLog:         {"log.go", "LogConfig"},
	route.KindOrder:       {"order.go", "OrderConfig"},
	route.KindRate:        {"ratelimit.go", "RateConfig"},
	route.KindRetry:       {"retry.go", "RetryConfig"},
	route.KindSecret:      {"secret.go", "SecretConfig"},
	route.KindShed:        {"shed.go", "ShedConfig"},
}

// changes are the file and the type of what each kind with a state has changed of
// it.
var changes = map[string][2]string{
	route.KindBreaker: {"breaker.go", "CircuitChange"},
	route.KindLimit:   {"limit_adapt.go", "LimitChange"},
}

// forms are what kinds take whose change has one field.
var forms = map[string]string{
	route.KindCache: `{"forget":["shop:/items","shop:/item/**"]}`,
	route.KindShed:  `{"refuse":"low"}`,
}

func middlewarePage(t *testing.T) string {
	t.Helper()
	var kinds, tables strings.Builder
	for _, k := range middleware.Kinds() {
		stages := make([]string, len(k.Stages))
		for i, s := range k.Stages {
			stages[i] = string(s)
		}
		fmt.Fprintf(&kinds, "| `%s` | %s | %s |\n", k.Name, k.Description, strings.Join(stages, ", "))
		at, ok := settings[k.Name]
		if ok != (k.Settings != nil) {
			t.Errorf("the settings of %s are not in the page", k.Name)
		}
		if !ok {
			continue
		}
		fields := fieldsOf(t, at[0], at[1])
		fmt.Fprintf(&tables, "## Settings of `%s`\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n", k.Name)
		for _, f := range fields {
			fmt.Fprintf(&tables, "| `%s` | %s | %s | %s |\n", f.Path, f.Type, f.Default, f.Text)
		}
		tables.WriteString("\n")
		if form, ok := forms[k.Name]; ok {
			fmt.Fprintf(&tables, "`ropewalk middleware set STAGE %s JSON` takes, for example, `%s`.\n\n", k.Name, form)
		}
		if at, ok := changes[k.Name]; ok {
			fmt.Fprintf(&tables, "`ropewalk middleware set STAGE %s JSON` takes\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n", k.Name)
			for _, f := range fieldsOf(t, at[0], at[1]) {
				fmt.Fprintf(&tables, "| `%s` | %s | %s | %s |\n", f.Path, f.Type, f.Default, f.Text)
			}
			tables.WriteString("\n")
		}
	}
	return strings.TrimSpace(fmt.Sprintf(middlewareIntro, standard(t), kinds.String(), tables.String())) + "\n"
}

// inOther are the types of settings that stand in a file of their own.
var inOther = map[string]string{"Budget": "budget.go", "Adapt": "limit_adapt.go"}

func fieldsOf(t *testing.T, file, name string) []doc.Field {
	t.Helper()
	fields, err := gen.Fields(filepath.Join(root, "middleware", file), name)
	if err != nil {
		t.Fatal(err)
	}
	var out []doc.Field
	for _, f := range fields {
		f.Text = strings.ReplaceAll(f.Text, "  ", " ")
		of := f.Type
		switch { // types of other packages
		case strings.HasSuffix(f.Path, "value"):
			f.Type = "any JSON"
		case f.Type == "any":
			f.Type = "time"
		case f.Type == "list of Codes":
			f.Type = "list of texts"
		case inOther[of] != "":
			f.Type = "object"
		}
		out = append(out, f)
		if other := inOther[of]; other != "" {
			for _, sub := range fieldsOf(t, other, of) {
				sub.Path = f.Path + "." + sub.Path
				out = append(out, sub)
			}
		}
	}
	return out
}

// standard lists what a node has whose configuration names no middleware.
func standard(t *testing.T) string {
	t.Helper()
	n := newNode(t, ropewalk.Config{})
	var b strings.Builder
	b.WriteString("## Standard\n\n| stage | middleware |\n| --- | --- |\n")
	for _, s := range n.Middleware().List() {
		var names []string
		for _, e := range s.Entries {
			names = append(names, "`"+e.Kind+"`")
		}
		if len(names) > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", s.Stage, strings.Join(names, ", "))
		}
	}
	b.WriteString("\nWith `trace.endpoint` in the configuration, `trace` stands after `metrics`.\n")
	return b.String()
}

// newNode makes a node that listens on a free port.
func newNode(t *testing.T, cfg ropewalk.Config) *ropewalk.Node {
	t.Helper()
	cfg.Name, cfg.Listeners = "doc", map[string]ropewalk.Listener{"main": {Address: "127.0.0.1:0"}}
	n, err := ropewalk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return n
}

const metricsIntro = `# Metrics

    curl -s http://127.0.0.1:7420/metrics

Every node has them, in the form of Prometheus, on each of its listeners; with them go those of the Go runtime and the
process. The label ` + "`route`" + ` is a pattern such as ` + "`math:/decimal/{op}`" + `, never a path, so the number of its values is bounded.
Those that begin with ` + "`ropewalk_mesh_`" + ` only a node has that is in a [mesh](../how-to/mesh.md).
[Tracing and metrics](../how-to/observe.md) says which to watch.

| metric | labels | meaning |
| --- | --- | --- |
`

// description takes a metric's description apart; the package offers no other
// way.
var description = regexp.MustCompile(`fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)",(?: unit: "[^"]*",)? constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}`)

// least are the settings that a kind cannot do without.
var least = map[string]string{
	route.KindCache:    `{"routes":{"a:/":{}}}`,
	route.KindFallback: `{"routes":{"a:/":{"value":1}}}`,
	route.KindLimit:    `{"calls":1}`,
	route.KindOrder:    `{"routes":["a:/"]}`,
	route.KindRate:     `{"rate":1}`,
	route.KindSecret:   `{"secrets":["s"]}`,
}

func metricsPage(t *testing.T) string {
	t.Helper()
	reg := prometheus.NewRegistry()
	newNode(t, ropewalk.Config{Registry: reg, Backplane: ropewalktest.NewNetwork(1).Node()})
	people, err := login.New(login.Config{Users: login.Users{Driver: login.DriverSQLite, DSN: "users.db"}}, login.Env{Registry: reg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = people.Close() })
	if _, err := content.NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	for _, k := range middleware.Kinds() {
		if _, err := middleware.New(k.Name, "", json.RawMessage(least[k.Name]), middleware.Env{Registry: reg}); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		reg.Describe(descs)
		close(descs)
	}()
	rows := make(map[string]string)
	labels := make(map[string][]string)
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			t.Errorf("cannot read %s", d)
			continue
		}
		name := m[1]
		rows[name] = m[2]
		for l := range strings.SplitSeq(m[3]+","+m[4], ",") {
			key, value, isConst := strings.Cut(l, "=")
			if key == "" {
				continue
			}
			if isConst {
				key += "=" + strings.Trim(value, `"`)
			}
			labels[name] = append(labels[name], key)
		}
	}
	var b strings.Builder
	b.WriteString(metricsIntro)
	for _, name := range sortedKeys(rows) {
		slices.Sort(labels[name])
		l := strings.Join(slices.Compact(labels[name]), ", ")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, grouped(l), rows[name])
	}
	return b.String()
}

// grouped writes a=x, a=y as a: x, y.
func grouped(labels string) string {
	var out []string
	last := ""
	for l := range strings.SplitSeq(labels, ", ") {
		key, value, ok := strings.Cut(l, "=")
		switch {
		case !ok:
			out = append(out, key)
		case key == last:
			out[len(out)-1] += ", `" + value + "`"
		default:
			out = append(out, key+": `"+value+"`")
		}
		last = key
	}
	return strings.Join(out, "; ")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
