package script

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/content/script/engine"
	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Modes of [Settings].
const (
	// ModeInProcess runs scripts in this process.
	ModeInProcess = "in-process"
	// ModeProcess runs them in processes of their own, which are killed when a
	// script cannot be ended otherwise.
	ModeProcess = "process"
)

// The defaults of [Settings] and [Limits].
const (
	// DefaultQueue lets a burst wait for about a second.
	DefaultQueue = 1000
	// DefaultMaxFile is more than anybody writes by hand.
	DefaultMaxFile = 1 << 20
	// DefaultPoll is how often is looked for changes that the system does not tell.
	DefaultPoll = 2 * time.Second
	// DefaultMemory is enough for a result of a few megabytes.
	DefaultMemory = 64 << 20
	// DefaultCPU is long for what others wait for.
	DefaultCPU = time.Second
	// DefaultWall leaves time for a slow query or a far service.
	DefaultWall = 5 * time.Second
	// DefaultOutput is what clients take as one message.
	DefaultOutput = 1 << 20
	// DefaultHostBytes is as much as one query may return.
	DefaultHostBytes = 4 << 20
	// DefaultHostCalls is more than a screen needs.
	DefaultHostCalls = 100
	// DefaultLogLines is what somebody may want to read.
	DefaultLogLines = 100
	// DefaultDepth is deep for a program, and an endless recursion ends soon.
	DefaultDepth = 500

	// minMemory is what a machine needs to start.
	minMemory = 1 << 20
	// maxHostBytes is a quarter of what a worker takes at once.
	maxHostBytes = 16 << 20
	maxDepth     = 5000
)

// Settings say which scripts a [Provider] runs, how, and what they may do.
type Settings struct {
	// Root is the directory of the scripts: "/a/b.js" is the file a/b.js in it.
	// Either Root or Applications has to be set.
	Root string `json:"root,omitempty" path:"file"`
	// Applications are directories by the first segment of the path: with
	// {"shop":"/srv/shop"}, "/shop/b.js" is the file /srv/shop/b.js. A script
	// imports only what is in its own directory.
	Applications map[string]string `json:"applications,omitempty" path:"file"`
	// Mode is "in-process", or "process" to run scripts in processes of their own:
	// slower, and right for scripts that are not trusted. Default: "in-process".
	Mode string `json:"mode,omitempty"`
	// Workers is how many scripts compute at the same time. While one waits for what
	// it has asked for, another one has its turn; up to eight times as many are under
	// way, without those that others wait for. Default: one a processor.
	Workers int `json:"workers,omitempty"`
	// Queue is how many more wait to be begun; those beyond it are refused with
	// "overloaded". Default: 1000.
	Queue int `json:"queue,omitempty"`
	// Limits bound what one run of a script may use.
	Limits Limits `json:"limits,omitzero"`
	// Grants say what scripts may do, besides computing and logging. A script has
	// what all grants together give whose paths match it. Default: nothing.
	Grants []Grant `json:"grants,omitempty"`
	// MaxFile is how large a file of a script may be, in bytes. Default: 1 MiB.
	MaxFile int `json:"maxFile,omitempty"`
	// Poll is how often is looked whether files have changed of which the system
	// did not say so, as on network file systems. Default: 2s.
	Poll duration.Duration `json:"poll,omitzero"`
	// Timezone is the one in which schedules are read, such as "Europe/Berlin".
	// Default: UTC.
	Timezone string `json:"timezone,omitempty"`

	// Hidden are patterns of names, such as "site.json", that no script finds. Capitals
	// make no difference.
	Hidden []string `json:"-"`
	// Command and Env start a worker process, which calls [RunWorker]. Default: this
	// program again, with the variable [EnvWorker]; see [WorkerMain].
	Command []string `json:"-"`
	Env     []string `json:"-"`
}

// Limits are what one run of a script may use. Whoever goes beyond one ends with
// limit_exceeded.
type Limits struct {
	// Memory is in bytes. Default: 64 MiB.
	Memory int `json:"memory,omitempty"`
	// CPU is how long it may compute. Default: 1s.
	CPU duration.Duration `json:"cpu,omitzero"`
	// Wall is how long it may take in all, with what it waits for. Default: 5s.
	Wall duration.Duration `json:"wall,omitzero"`
	// Depth is how deep functions may call each other. Default: 500.
	Depth int `json:"depth,omitempty"`
	// Output is how long its result may be, in bytes. Default: 1 MiB.
	Output int `json:"output,omitempty"`
	// HostCalls is how often it may ask for something outside: queries, calls,
	// fetches. Default: 100.
	HostCalls int `json:"hostCalls,omitempty"`
	// HostBytes is how much it may give, or get, each time; in all of one run it is as
	// much as Memory. Default: 4 MiB.
	HostBytes int `json:"hostBytes,omitempty"`
	// LogLines is how many lines it may log; what is more is dropped. Default: 100.
	LogLines int `json:"logLines,omitempty"`
}

// Grant lets some scripts do something.
type Grant struct {
	// Paths are patterns of the paths of scripts, such as "/shop/**".
	Paths []string `json:"paths"`
	// Query names the databases that may be read; "*" is all.
	Query []string `json:"query,omitempty"`
	// Exec names the databases that may be written to, too; "*" is all.
	Exec []string `json:"exec,omitempty"`
	// Call are patterns of addresses that may be called, such as "math:/**" or
	// "*:/status".
	Call []string `json:"call,omitempty"`
	// Publish are patterns of addresses that may be published to.
	Publish []string `json:"publish,omitempty"`
	// Get are patterns of addresses whose contents may be read.
	Get []string `json:"get,omitempty"`
	// Watch are patterns of addresses whose events may be handled.
	Watch []string `json:"watch,omitempty"`
	// Fetch names the hosts that may be asked by HTTP, such as "api.example.org",
	// "api.example.org:8443" or "*.example.org".
	Fetch []string `json:"fetch,omitempty"`
	// Session is "public" to let scripts know who asks, with the claims that the
	// client may see, or "secret" for all claims. A script that makes use of it is
	// run for each of them, instead of once for all. Default: they do not know.
	Session string `json:"session,omitempty"`
}

// Values of Grant.Session.
const (
	SessionPublic = "public"
	SessionSecret = "secret"
)

// withDefaults returns settings in which nothing is left out.
func (s Settings) withDefaults() Settings {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if s.Mode == "" {
		s.Mode = ModeInProcess
	}
	def(&s.Workers, runtime.GOMAXPROCS(0))
	def(&s.Queue, DefaultQueue)
	def(&s.MaxFile, DefaultMaxFile)
	def(&s.Limits.Memory, DefaultMemory)
	def(&s.Limits.Depth, DefaultDepth)
	def(&s.Limits.Output, DefaultOutput)
	def(&s.Limits.HostCalls, DefaultHostCalls)
	def(&s.Limits.HostBytes, DefaultHostBytes)
	def(&s.Limits.LogLines, DefaultLogLines)
	s.Limits.CPU = duration.Duration(s.Limits.CPU.Or(DefaultCPU))
	s.Limits.Wall = duration.Duration(s.Limits.Wall.Or(DefaultWall))
	s.Poll = duration.Duration(s.Poll.Or(DefaultPoll))
	return s
}

// engine returns the limits as the engine takes them.
func (l Limits) engine() engine.Limits {
	return engine.Limits{
		Memory: l.Memory, Depth: l.Depth, CPU: time.Duration(l.CPU), Wall: time.Duration(l.Wall),
		Output: l.Output, Calls: l.HostCalls, Bytes: l.HostBytes, Lines: l.LogLines,
	}
}

// Check says what is wrong with the settings, without looking at the disk. Each
// error names the field.
func (s *Settings) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case s.Root == "" && len(s.Applications) == 0:
		bad("root: say where the scripts are, or give applications")
	case s.Root != "" && len(s.Applications) > 0:
		bad("root: there are applications, too; give only one of the two")
	}
	for name, dir := range s.Applications {
		if !goodName(name) || strings.Contains(name, "/") || dir == "" {
			bad("applications.%s: it takes a name without special characters, and a directory", name)
		}
	}
	if s.Mode != "" && s.Mode != ModeInProcess && s.Mode != ModeProcess {
		bad(`mode: %q is none; use "in-process" or "process"`, s.Mode)
	}
	if _, err := time.LoadLocation(s.Timezone); err != nil {
		bad("timezone: %q is not known", s.Timezone)
	}
	ranges := []struct {
		field           string
		value, from, to int
	}{
		{"workers", s.Workers, 1, 1 << 10},
		{"queue", s.Queue, 1, 1 << 20},
		{"maxFile", s.MaxFile, 1, 64 << 20},
		{"limits.memory", s.Limits.Memory, minMemory, math.MaxInt32},
		{"limits.depth", s.Limits.Depth, 10, maxDepth},
		{"limits.output", s.Limits.Output, 1, maxHostBytes},
		{"limits.hostCalls", s.Limits.HostCalls, 1, 1 << 16},
		{"limits.hostBytes", s.Limits.HostBytes, 1, maxHostBytes},
		{"limits.logLines", s.Limits.LogLines, 1, 1 << 16},
	}
	for _, r := range ranges {
		if r.value != 0 && (r.value < r.from || r.value > r.to) {
			bad("%s: %d is not between %d and %d", r.field, r.value, r.from, r.to)
		}
	}
	for field, d := range map[string]duration.Duration{"limits.cpu": s.Limits.CPU, "limits.wall": s.Limits.Wall, "poll": s.Poll} {
		if d < 0 || d > duration.Duration(time.Hour) {
			bad("%s: %v is not between 0 and 1h", field, d)
		}
	}
	for i := range s.Grants {
		if _, err := s.Grants[i].compile(); err != nil {
			bad("grants[%d].%w", i, err)
		}
	}
	return errors.Join(errs...)
}

// grant is a Grant that is ready to be asked.
type grant struct {
	paths                     []route.Pattern
	query, exec               []string
	call, publish, get, watch []pattern
	fetch                     []string
	session                   string
}

// pattern is a set of addresses.
type pattern struct {
	name string // "*" is any
	path route.Pattern
}

func (g *Grant) compile() (*grant, error) {
	out := &grant{query: g.Query, exec: g.Exec, session: g.Session}
	if len(g.Paths) == 0 {
		return nil, errors.New("paths: say for which scripts it is")
	}
	for i, p := range g.Paths {
		pat, err := route.ParsePattern(p)
		if err != nil {
			return nil, fmt.Errorf("paths[%d]: %w", i, err)
		}
		out.paths = append(out.paths, pat)
	}
	for _, set := range []struct {
		field string
		from  []string
		to    *[]pattern
	}{{"call", g.Call, &out.call}, {"publish", g.Publish, &out.publish}, {"get", g.Get, &out.get}, {"watch", g.Watch, &out.watch}} {
		for i, text := range set.from {
			name, rest, ok := strings.Cut(text, ":")
			pat, err := route.ParsePattern(rest)
			if !ok || name == "" || err != nil {
				return nil, fmt.Errorf(`%s[%d]: %q is no pattern of addresses, such as "math:/**"`, set.field, i, text)
			}
			*set.to = append(*set.to, pattern{name, pat})
		}
	}
	for i, host := range g.Fetch {
		if host == "" || strings.ContainsAny(host, "/@ ?#") || strings.Contains(strings.TrimPrefix(host, "*."), "*") {
			return nil, fmt.Errorf(`fetch[%d]: %q is no host, such as "api.example.org" or "*.example.org"`, i, host)
		}
		out.fetch = append(out.fetch, strings.ToLower(host))
	}
	if g.Session != "" && g.Session != SessionPublic && g.Session != SessionSecret {
		return nil, fmt.Errorf(`session: %q is none; use "public" or "secret"`, g.Session)
	}
	return out, nil
}

// grantsOf returns what a script may do: all grants that match it, as one.
func grantsOf(all []*grant, path string) *grant {
	sum := &grant{}
	for _, g := range all {
		if !g.covers(path) {
			continue
		}
		sum.query = append(append(sum.query, g.query...), g.exec...)
		sum.exec = append(sum.exec, g.exec...)
		sum.call = append(sum.call, g.call...)
		sum.publish = append(sum.publish, g.publish...)
		sum.get = append(sum.get, g.get...)
		sum.watch = append(sum.watch, g.watch...)
		sum.fetch = append(sum.fetch, g.fetch...)
		if sum.session != SessionSecret && g.session != "" {
			sum.session = g.session
		}
	}
	return sum
}

func (g *grant) covers(path string) bool {
	for _, p := range g.paths {
		if _, ok := p.Match(path); ok {
			return true
		}
	}
	return false
}

// within reports whether an address is in one of the sets. One that names an
// instance is in none: a script speaks to services, not to single nodes.
func within(set []pattern, address string) bool {
	a, err := message.ParseStrict(address)
	if err != nil || a.Instance != "" || a.HasWildcard() {
		return false
	}
	return slices.ContainsFunc(set, func(p pattern) bool { return p.holds(&a) })
}

// covered reports whether all that an address or a pattern of addresses stands for
// is in one of the sets.
func covered(set []pattern, address string) bool {
	a, err := message.ParseStrict(address)
	if err != nil || a.Instance != "" || a.Method != "" || a.Query != "" || a.Name == "*" {
		return false
	}
	_, err = route.ParsePattern(a.Path)
	rest := strings.HasSuffix(a.Path, "/**")
	return err == nil && slices.ContainsFunc(set, func(p pattern) bool {
		// As text a * is a segment like any other; a ** stands for several.
		return p.holds(&a) && (!rest || strings.HasSuffix(p.path.String(), "/**"))
	})
}

// holds reports whether an address is in a set.
func (p pattern) holds(a *message.Address) bool {
	_, ok := p.path.Match(a.Path)
	return ok && (p.name == "*" || p.name == a.Name)
}

// named reports whether a name is in a list, in which "*" is all.
func named(list []string, name string) bool {
	for _, l := range list {
		if l == "*" || l == name {
			return true
		}
	}
	return false
}

// hosted reports whether a host, with its port, is in a list of hosts.
func hosted(list []string, host, port, usual string) bool {
	host = strings.ToLower(host)
	for _, l := range list {
		name, p, ok := strings.Cut(l, ":")
		if !ok {
			p = usual
		}
		if p != port {
			continue
		}
		if suffix, wild := strings.CutPrefix(name, "*"); name == host || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return true
		}
	}
	return false
}
