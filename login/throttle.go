package login

import (
	"container/list"
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// throttle remembers who was wrong how often; see [Throttle] for the rules. Its
// memory is bounded: of more entries than there may be, the one that was not
// used for longest is forgotten.
type throttle struct {
	cfg  Throttle
	mu   sync.Mutex
	m    map[tallyKey]*list.Element
	used *list.List // of *tally, the latest first
}

// tallyKey is the hash of what is counted, so that long names take no room.
type tallyKey [16]byte

type tally struct {
	key   tallyKey
	wrong int
	seen  time.Time // the last try
	until time.Time // the next one has to wait till then
}

func newThrottle(cfg Throttle) *throttle {
	return &throttle{cfg: cfg, m: make(map[tallyKey]*list.Element), used: list.New()}
}

// attempt is one try to log in. It counts as wrong from the start, so that many
// at the same time are not free.
type attempt struct {
	t             *throttle
	pair, ip, who tallyKey
	named         bool
}

// try begins an attempt, or says how long to wait. Without a name only the
// address is counted.
func (t *throttle) try(name, addr string) (*attempt, time.Duration) {
	a := &attempt{t: t, named: name != ""}
	name, addr = strings.ToLower(normal(name)), network(addr)
	a.pair, a.ip, a.who = keyOf("pair", addr, name), keyOf("ip", addr), keyOf("user", name)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	if t.cfg.FailuresPerAddress >= 0 {
		wait = t.wait(a.ip, now)
	}
	if a.named {
		wait = max(wait, t.wait(a.pair, now))
	}
	if wait > 0 {
		return nil, wait
	}
	if t.cfg.FailuresPerAddress >= 0 {
		t.count(a.ip, now, t.cfg.FailuresPerAddress)
	}
	if a.named {
		free := t.cfg.Failures
		if t.count(a.who, now, -1) > t.cfg.FailuresPerUser {
			free = 1
		}
		t.count(a.pair, now, free)
	}
	return a, 0
}

// right ends an attempt that was not wrong.
func (a *attempt) right() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.undo()
	if at := a.t.m[a.pair]; a.named && at != nil {
		a.t.forget(at)
	}
}

// void ends an attempt of which nobody knows whether it was wrong.
func (a *attempt) void() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.undo()
}

func (a *attempt) undo() {
	keys := []tallyKey{a.ip}
	if a.named {
		keys = append(keys, a.pair, a.who)
	}
	for _, k := range keys {
		if at := a.t.m[k]; at != nil {
			e, _ := at.Value.(*tally)
			e.wrong = max(e.wrong-1, 0)
			e.until = time.Time{}
		}
	}
}

// wait is how long key has to wait.
func (t *throttle) wait(key tallyKey, now time.Time) time.Duration {
	at := t.m[key]
	if at == nil {
		return 0
	}
	e, _ := at.Value.(*tally)
	return max(e.until.Sub(now), 0)
}

// count adds a wrong try and returns how many there are. With free at 0 and
// more, those above it have to wait.
func (t *throttle) count(key tallyKey, now time.Time, free int) int {
	e := t.entry(key)
	if now.Sub(e.seen) > 2*time.Duration(t.cfg.MaxDelay) {
		e.wrong = 0
	}
	e.wrong++
	e.seen = now
	if over := e.wrong - free; free >= 0 && over >= 0 {
		d, most := time.Duration(t.cfg.Delay), time.Duration(t.cfg.MaxDelay)
		for i := 0; i < over && d < most; i++ {
			d *= 2
		}
		e.until = now.Add(min(d, most))
	}
	return e.wrong
}

func (t *throttle) entry(key tallyKey) *tally {
	if at := t.m[key]; at != nil {
		t.used.MoveToFront(at)
		e, _ := at.Value.(*tally)
		return e
	}
	for len(t.m) >= t.cfg.Entries {
		t.forget(t.used.Back())
	}
	e := &tally{key: key}
	t.m[key] = t.used.PushFront(e)
	return e
}

func (t *throttle) forget(at *list.Element) {
	e, _ := t.used.Remove(at).(*tally)
	delete(t.m, e.key)
}

func keyOf(parts ...string) tallyKey {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return tallyKey(sum[:16])
}

// network is what counts as one address: all of IPv4, and the /64 that a
// household has of IPv6.
func network(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return addr
	}
	ip := ap.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return p.String()
}
