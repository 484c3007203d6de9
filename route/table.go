package route

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// MaxDownRoutes is how many routes that nobody serves any more a table
	// remembers, to tell "down" from "never was". The oldest are forgotten.
	MaxDownRoutes = 10_000
	// MaxNameBytes is the length of the name of a service.
	MaxNameBytes = 255
	// maxVisits bounds one look-up. It is far more than sensible patterns need:
	// a look-up visits a second node for a segment only where a literal and a
	// wildcard stand side by side and the literal leads nowhere.
	maxVisits = 10_000
	// maxSweep bounds one look-up or expansion with wildcards in the address.
	maxSweep = 200_000
)

// Table knows who serves what. Make one with [NewTable].
//
// All methods may be called from any goroutine. Look-ups take no lock and wait
// for nobody; changes wait for each other and touch only the routes they name.
// A change is seen by every look-up that begins after the method returned.
type Table struct {
	root node // its children are names, theirs segments

	mu      sync.Mutex
	owned   map[Endpoint]map[*entry]struct{}
	down    downList
	live    int
	order   uint64
	version uint64
	changed chan struct{} // closed at the next change; nil if nobody asked
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{owned: map[Endpoint]map[*entry]struct{}{}}
}

// Serve enters e as a server of the pattern p under a name. If it is entered
// already, pattern and info are replaced and it keeps its place among the
// servers. The error is a *message.Error: [message.CodeBadAddress] if the name
// or pattern is not valid, [message.CodeInternal] if e cannot be told apart
// from other endpoints.
func (t *Table) Serve(name string, p Pattern, e Endpoint, info Info) error {
	if err := checkName(name); err != nil {
		return err
	}
	if p.shape == "" {
		return badPattern("", "it is empty", "Make patterns with ParsePattern.")
	}
	if e == nil || !reflect.TypeOf(e).Comparable() {
		return message.NewError(message.CodeInternal, "the endpoint cannot be compared with others", "Use a pointer as endpoint.")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.enter(name, p)
	t.order++
	before := x.roster.Load()
	x.roster.Store(before.with(e, newSeat(name, p, e, info, t.order)))
	if len(before.ends) == 0 {
		t.live++
	}
	if t.owned[e] == nil {
		t.owned[e] = map[*entry]struct{}{}
	}
	t.owned[e][x] = struct{}{}
	t.touch()
	return nil
}

// enter returns the entry of a route and makes it if need be.
func (t *Table) enter(name string, p Pattern) *entry {
	n, slot := t.root.child(name).grow(p.shape)
	x := slot.Load()
	if x == nil {
		x = &entry{name: name, shape: p.shape, node: n, slot: slot}
		x.roster.Store(nobody)
		slot.Store(x)
	}
	t.down.remove(x)
	return x
}

// Unserve takes a [Table.Serve] back and reports whether there was one.
func (t *Table) Unserve(name string, p Pattern, e Endpoint) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	service := t.root.kids.get(name)
	if service == nil || p.shape == "" {
		return false
	}
	slot := service.find(p.shape)
	if slot == nil || slot.Load() == nil || !t.leave(slot.Load(), e) {
		return false
	}
	t.touch()
	return true
}

// UnserveService takes back everything that e serves under a name and returns
// how many routes that were.
func (t *Table) UnserveService(name string, e Endpoint) int {
	return t.unserve(e, func(x *entry) bool { return x.name == name })
}

// UnserveAll takes back everything that e serves, and returns how many routes
// that were. Call it when the server drains or is gone.
func (t *Table) UnserveAll(e Endpoint) int {
	return t.unserve(e, func(*entry) bool { return true })
}

func (t *Table) unserve(e Endpoint, which func(*entry) bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := 0
	for x := range t.owned[e] {
		if which(x) && t.leave(x, e) {
			count++
		}
	}
	if count > 0 {
		t.touch()
	}
	return count
}

// leave takes e off the route x.
func (t *Table) leave(x *entry, e Endpoint) bool {
	if _, ok := t.owned[e][x]; !ok {
		return false
	}
	delete(t.owned[e], x)
	if len(t.owned[e]) == 0 {
		delete(t.owned, e)
	}
	r := x.roster.Load()
	next := r.without(r.find(e))
	if len(next.ends) == 0 {
		x.left.Store(time.Now().UnixNano())
	}
	x.roster.Store(next)
	if len(next.ends) > 0 {
		return true
	}
	t.live--
	t.down.push(x)
	if t.down.count > MaxDownRoutes {
		old := t.down.oldest
		t.down.remove(old)
		old.slot.Store(nil)
		old.node.prune()
	}
	return true
}

// touch tells that the table has changed. t.mu is held.
func (t *Table) touch() {
	t.version++
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// Version returns a number that grows with every change, and a channel that is
// closed at the next one.
func (t *Table) Version() (uint64, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.version, t.changed
}

// Len returns the number of routes that somebody serves.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live
}

// Count returns the number of routes that e serves.
func (t *Table) Count(e Endpoint) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.owned[e])
}

// checkName tells whether a service may have a name.
func checkName(name string) error {
	bad := func(what, hint string) error {
		return message.NewError(message.CodeBadAddress, fmt.Sprintf("the service name %.64q is not valid: %s", name, what), hint)
	}
	switch {
	case name == "":
		return bad("it is empty", "Name the service, as in math:/decimal/mul.")
	case len(name) > MaxNameBytes:
		return bad(fmt.Sprintf("it is longer than %d bytes", MaxNameBytes), "Use a shorter name.")
	case !utf8.ValidString(name):
		return bad("it is not valid UTF-8", "Encode the name as UTF-8.")
	case strings.ContainsAny(name, ":/@*?[]{}") || strings.ContainsFunc(name, unicode.IsControl):
		return bad("it contains one of :/@*?[]{} or a control character", "Use letters, digits, - and _.")
	}
	return nil
}
