package middleware

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// What a rate is counted by.
const (
	// RateByAll counts everything together. It is the default.
	RateByAll = "all"
	// RateByClient counts each connection. Who reconnects starts anew.
	RateByClient = "client"
	// RateByIP counts each IP address; of IPv6 the first 64 bits, which is what
	// one customer has at least.
	RateByIP = "ip"
	// RateBySession counts each session, however many connections it is on; who
	// has none is counted by IP address, so that going without one gains nothing.
	RateBySession = "session"
	// RateByUser counts each user, in all of their sessions; who is not logged in
	// is counted by IP address.
	RateByUser = "user"
	// RateByRoute counts each route pattern.
	RateByRoute = "route"
)

var rateBy = []string{RateByAll, RateByClient, RateByIP, RateBySession, RateByUser, RateByRoute}

// DefaultRateKeys is how many peers, addresses, sessions or users are told apart:
// about 2 MB.
const DefaultRateKeys = 10_000

// RateConfig is the configuration of [RateLimit].
type RateConfig struct {
	// Rate is how many messages a second pass in the long run. Required.
	Rate float64 `json:"rate"`
	// Burst is how many may come at once. Default: those of one second, and at
	// least 1.
	Burst int `json:"burst,omitempty"`
	// By says what is counted on its own: all, client, ip, session, user or route.
	// Who has no session, or is not logged in, is counted by IP address there.
	// Default: all.
	By string `json:"by,omitempty"`
	// Keys is how many clients, IP addresses, sessions or users are told apart;
	// those that were not heard of for the longest are forgotten first. Default:
	// 10000.
	Keys int `json:"keys,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c RateConfig) Validate() error {
	switch {
	case math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0) || c.Rate <= 0:
		return invalid("rate", "the rate is not more than 0", "Set rate to messages a second.")
	case c.Burst < 0:
		return invalid("burst", "the burst is negative", "Leave it out for that of one second.")
	case c.Keys < 0:
		return invalid("keys", "the number of keys is negative", "Leave it out for 10000.")
	case c.By != "" && !slices.Contains(rateBy, c.By):
		return invalid("by", fmt.Sprintf("a rate cannot be counted by %q", c.By), "Set by to all, client, ip, session, user or route.")
	}
	return nil
}

// RateLimit lets so many messages a second pass and answers the others with
// [message.CodeRateLimited], which says when to try again. Nothing waits. An
// invalid configuration panics; see [RateConfig.Validate].
//
// By route it fits the stages call and serve, by anything else every stage but
// outbound, best inbound. Several limits are several entries. It costs a mutex,
// and by anything but all and route a look-up under another one.
func RateLimit(cfg RateConfig) route.Middleware {
	must(cfg.Validate())
	burst := cfg.Burst
	if burst == 0 {
		burst = max(1, int(min(math.Ceil(cfg.Rate), math.MaxInt32)))
	}
	create := func(string) *rate.Limiter { return rate.NewLimiter(rate.Limit(cfg.Rate), burst) }
	find := finder(cfg, create)
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			now := req.Received
			if now.IsZero() {
				now = time.Now()
			}
			l := find(req)
			if l.AllowN(now, 1) {
				next.Handle(ctx, req, res)
				return
			}
			_ = res.Fail(tooFast(l, now))
		})
	}
}

// finder returns how the limiter of a request is found.
func finder(cfg RateConfig, create func(string) *rate.Limiter) func(*route.Request) *rate.Limiter {
	keys := cfg.Keys
	if keys == 0 {
		keys = DefaultRateKeys
	}
	switch cfg.By {
	case RateByClient:
		r := newRecent(keys, create)
		return func(req *route.Request) *rate.Limiter { return r.get(peerOf(req).ID()) }
	case RateByIP:
		r := newRecent(keys, func(netip.Addr) *rate.Limiter { return create("") })
		return func(req *route.Request) *rate.Limiter { return r.get(ipOf(peerOf(req).RemoteAddr())) }
	case RateBySession, RateByUser:
		r := newRecent(keys, func(rateKey) *rate.Limiter { return create("") })
		user := cfg.By == RateByUser
		return func(req *route.Request) *rate.Limiter { return r.get(rateKeyOf(req, user)) }
	case RateByRoute:
		r := newByRoute(create)
		return func(req *route.Request) *rate.Limiter { return r.get(req.Route) }
	default:
		all := create("")
		return func(*route.Request) *rate.Limiter { return all }
	}
}

// rateKey is a session or a user: one of id and ip is set.
type rateKey struct {
	id, issuer string
	ip         netip.Addr
}

func rateKeyOf(req *route.Request, user bool) rateKey {
	s := req.Session()
	switch {
	case user && s.Authenticated():
		return rateKey{id: s.Subject, issuer: s.Issuer}
	case !user && !s.Anonymous():
		return rateKey{id: s.ID}
	}
	return rateKey{ip: ipOf(peerOf(req).RemoteAddr())}
}

func peerOf(req *route.Request) route.Peer {
	if req.Peer == nil {
		return nobody{}
	}
	return req.Peer
}

// ipOf is the key of an address host:port; the zero Addr for what is none, as
// callers inside the process.
func ipOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap()
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// tooFast says when the next message would pass.
func tooFast(l *rate.Limiter, now time.Time) *message.Error {
	missing := 1 - l.TokensAt(now)
	after := time.Duration(missing / float64(l.Limit()) * float64(time.Second))
	e := message.NewError(message.CodeRateLimited, "too many messages in too short a time",
		"Wait for the time in retryAfter, and send less often.")
	e.Retryable, e.RetryAfter = true, max(after, time.Millisecond)
	return e
}

// recent keeps values for the keys that were used most recently, between n and
// 2n of them: when n new ones have come, those that were not used since are
// forgotten.
type recent[K comparable, V any] struct {
	n      int
	create func(K) *V

	mu       sync.Mutex
	now, old map[K]*V
}

func newRecent[K comparable, V any](n int, create func(K) *V) *recent[K, V] {
	return &recent[K, V]{n: max(1, n/2), create: create, now: map[K]*V{}}
}

func (r *recent[K, V]) get(key K) *V {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.now[key]; v != nil {
		return v
	}
	v := r.old[key]
	if v == nil {
		v = r.create(key)
	}
	if len(r.now) >= r.n {
		r.old, r.now = r.now, map[K]*V{}
	}
	r.now[key] = v
	return v
}
