package middleware

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// IdempotencyHeader is the header that holds the key of a call.
const IdempotencyHeader = "idempotency-key"

// Defaults and bounds of [Idempotency].
const (
	// DefaultIdempotencyKeep is longer than a client usually tries again, also
	// after it was offline for a while.
	DefaultIdempotencyKeep = time.Hour
	// DefaultIdempotencyEntries is how many keys are known at a time.
	DefaultIdempotencyEntries = 10_000
	// DefaultIdempotencyPerUser keeps one user from driving the keys of all
	// others out.
	DefaultIdempotencyPerUser = 1000
	// DefaultIdempotencyBytes is for the answers of all keys.
	DefaultIdempotencyBytes = 32 << 20
	// DefaultIdempotencyRunning is for the calls that run: some of the largest, or as
	// many small ones as there are keys.
	DefaultIdempotencyRunning = 128 << 20
	// DefaultIdempotencyAnswer is for one answer with its parts.
	DefaultIdempotencyAnswer = 64 << 10
	// MaxIdempotencyKey is how long a key may be, in bytes.
	MaxIdempotencyKey = 255
	// maxIdempotencyWaits is how many calls may wait for the answer of one key.
	maxIdempotencyWaits = 100
)

// IdempotencyConfig is the configuration of [Idempotency].
type IdempotencyConfig struct {
	// Keep is how long an answer can be given again. Default: 1h.
	Keep duration.Duration `json:"keep,omitzero"`
	// Entries is how many keys are known at a time; the oldest are forgotten
	// first. Default: 10000.
	Entries int `json:"entries,omitempty"`
	// PerUser is how many of them are of one user, session or client. Default:
	// 1000, or all if there are fewer.
	PerUser int `json:"perUser,omitempty"`
	// Bytes is how much the answers may take, all together. Default: 33554432.
	Bytes int `json:"bytes,omitempty"`
	// Running is how much the calls that run may take, all together, with those that
	// wait for the same answers: what they ask, and the parts of answers that have
	// come, in bytes. More are refused with overloaded, and an answer for which there
	// is no room is as one that is too large. One user, session or client has as large
	// a part of it as of the keys; one call alone always has room. Default: 134217728.
	Running int `json:"running,omitempty"`
	// Answer is how many bytes one answer may have, with its parts. A larger
	// one is not kept, and a call with its key is refused. Default: 65536.
	Answer int `json:"answer,omitempty"`
	// Routes ("name:/pattern") are those of which keys are obeyed. Default: all.
	Routes []string `json:"routes,omitempty"`
}

// Validate says what is wrong with the configuration.
func (c IdempotencyConfig) Validate() error {
	switch {
	case c.Keep < 0:
		return invalid("keep", "the time to keep is negative", "Leave it out for 1h.")
	case c.Entries < 0:
		return invalid("entries", "the number of keys is negative", "Leave it out for 10000.")
	case c.PerUser < 0:
		return invalid("perUser", "the number of keys of a user is negative", "Leave it out for 1000.")
	case c.Bytes < 0:
		return invalid("bytes", "the number of bytes is negative", "Leave it out for 33554432.")
	case c.Running < 0:
		return invalid("running", "the number of bytes is negative", "Leave it out for 134217728.")
	case c.Answer < 0:
		return invalid("answer", "the size of an answer is negative", "Leave it out for 65536.")
	}
	return nil
}

// IdempotencyMetrics are what [Idempotency] counts.
type IdempotencyMetrics struct{ calls *prometheus.CounterVec }

// NewIdempotencyMetrics makes the metrics and registers them with reg, as
// [NewCallMetrics] does.
//
//	ropewalk_idempotency_calls_total{result}   calls with a key: first, waited, replayed or refused
func NewIdempotencyMetrics(reg prometheus.Registerer) (*IdempotencyMetrics, error) {
	m := &IdempotencyMetrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ropewalk_idempotency_calls_total", Help: "Calls with an idempotency key, by what became of them: first, waited, replayed or refused.",
	}, []string{"result"})}
	var err error
	m.calls, err = register(reg, m.calls, err)
	return m, err
}

func (m *IdempotencyMetrics) count(result string) {
	if m != nil {
		m.calls.WithLabelValues(result).Inc()
	}
}

// Idempotency has a call with a key in the header idempotency-key executed
// once. Another one of the same user with the same key, address and body gets
// the answer of the first, and waits for it while that runs. The first one goes
// on when its caller has left, until its deadline, so that a client that was
// disconnected asks again and has the answer. A key with another address or
// body is refused with [message.CodeConflict].
//
// Keys belong to the user who is logged in, else to the session, else to the
// connection: nobody gets another's answer. An error that says that the call
// was surely not executed frees the key, and one of a lost server does if the
// call is idempotent; any other error is an answer as good as a reply. Of the
// answers those of the longest ago are forgotten first. Keys are known to this
// node alone.
//
// It fits the stage call, inside of retry, and the stage serve, where also
// those have the same answers who call by way of another node. Each server of a
// gather has the key of its own; at the stage serve the gather of another node
// has one of this node's servers execute it. A call without a key costs nothing;
// one with a key a copy of its body, a timer, two hashes and a mutex. A panic is
// written to log ([slog.Default] if nil). An invalid configuration panics; see
// [IdempotencyConfig.Validate].
func Idempotency(log *slog.Logger, m *IdempotencyMetrics, cfg IdempotencyConfig) route.Middleware {
	must(cfg.Validate())
	k := &keyring{
		log: log, metrics: m, only: setOf(cfg.Routes), keep: cfg.Keep.Or(DefaultIdempotencyKeep),
		most: cmp.Or(cfg.Entries, DefaultIdempotencyEntries), room: cmp.Or(cfg.Bytes, DefaultIdempotencyBytes),
		answer: cmp.Or(cfg.Answer, DefaultIdempotencyAnswer), running: cmp.Or(cfg.Running, DefaultIdempotencyRunning),
		byKey: make(map[digest]*keyed), owners: make(map[digest]*owner),
	}
	k.perOwner = min(cmp.Or(cfg.PerUser, DefaultIdempotencyPerUser), k.most)
	k.runningPerOwner = int(float64(k.running) * float64(k.perOwner) / float64(k.most))
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			if len(req.Message.Headers) == 0 || req.Message.EffectiveVerb() != message.VerbCall {
				next.Handle(ctx, req, res)
				return
			}
			k.handle(ctx, next, req, res)
		})
	}
}

// digest stands for texts of any length; who knows it knows nothing of them.
type digest [sha256.Size]byte

// digestOf is different for different lists of texts.
func digestOf(texts ...[]byte) digest {
	n := 0
	for _, t := range texts {
		n += 8 + len(t)
	}
	b := make([]byte, 0, n)
	for _, t := range texts {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(t)))
		b = append(b, t...)
	}
	return sha256.Sum256(b)
}

// callerOf stands for who calls: the user, the session, or the connection.
func callerOf(req *route.Request) digest {
	switch s := req.Session(); {
	case s.Authenticated():
		return digestOf([]byte("user"), []byte(s.Issuer), []byte(s.Subject))
	case !s.Anonymous():
		return digestOf([]byte("session"), []byte(s.ID))
	}
	return digestOf([]byte("client"), []byte(peerOf(req).ID()))
}

// keyring is all keys that are known.
type keyring struct {
	log        *slog.Logger
	metrics    *IdempotencyMetrics
	only       map[string]struct{}
	keep       time.Duration
	most, room int
	perOwner   int
	answer     int
	running    int // bytes of the calls that run

	runningPerOwner int

	mu     sync.Mutex
	byKey  map[digest]*keyed
	owners map[digest]*owner
	landed list.List // of *keyed that have their answer, the oldest first
	bytes  int
	held   int // bytes of those that run
}

// owner is somebody who has keys.
type owner struct {
	keys   int
	landed list.List // as of the keyring
	held   int
}

// keyed is a key that is known.
//
//	running ──► landed ──► forgotten
//	   └──────────────────► forgotten   (surely not executed)
type keyed struct {
	k          *keyring
	id, of     digest
	sum        digest // of address and body
	idempotent bool

	flight  *flight // nil when landed
	held    int     // bytes, while it runs
	rec     *record // of the answer; nil if it was too large
	size    int
	until   time.Time
	at, own *list.Element
}

func (k *keyring) handle(ctx context.Context, next route.Handler, req *route.Request, res route.Responder) {
	key := req.Message.Header(IdempotencyHeader)
	if _, ok := k.only[req.Route]; key == "" || k.only != nil && !ok {
		next.Handle(ctx, req, res)
		return
	}
	if len(key) > MaxIdempotencyKey {
		k.metrics.count("refused")
		e := invalid("hdr."+IdempotencyHeader, fmt.Sprintf("the key is longer than %d bytes", MaxIdempotencyKey),
			"Use a random id as the key.")
		_ = res.Fail(e)
		return
	}
	of, m := callerOf(req), &req.Message
	id := digestOf(of[:], []byte(key), []byte(req.Leg)) // each server of a gather executes it
	sum := digestOf(m.To, m.ContentType, m.Body)
	e, begun, err := k.find(id, of, sum, req)
	switch {
	case err != nil:
		k.metrics.count("refused")
		_ = res.Fail(err)
	case begun != nil:
		k.metrics.count("first")
		begun.begin(ctx, next, req, res)
	case e.rec != nil:
		k.metrics.count("replayed")
		e.rec.give(res)
	default:
		k.join(ctx, next, req, res, &e)
	}
}

// join has a call wait for the answer of the first with its key.
func (k *keyring) join(ctx context.Context, next route.Handler, req *route.Request, res route.Responder, e *keyed) {
	f, took := e.flight, costOf(req)
	seat := f.join(ctx, next, req, res, maxIdempotencyWaits)
	if seat != seatTaken {
		k.unhold(e.id, f, took)
	}
	switch seat {
	case seatTaken:
		k.metrics.count("waited")
	case seatLate:
		k.metrics.count("replayed")
		f.rec.give(res)
	case seatNone:
		k.metrics.count("refused")
		_ = res.Fail(overloaded("too many calls wait for the answer of one idempotency key"))
	case seatLost:
		k.metrics.count("refused")
		_ = res.Fail(errLost)
	}
}

// find looks for a key, and holds room for a call that has to run or wait. It
// returns a copy of what it finds, or, if the key is new, the flight that the call
// is to begin.
func (k *keyring) find(id, of, sum digest, req *route.Request) (e keyed, begun *flight, refused *message.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(time.Now())
	if have := k.byKey[id]; have != nil {
		switch {
		case have.sum != sum:
			return e, nil, message.NewError(message.CodeConflict, "the idempotency key was used for another call",
				"Use a new key for each call; only the repetition of a call has the same.")
		case have.flight == nil && have.rec == nil:
			return e, nil, errLost
		case have.flight != nil && !k.hold(have, costOf(req), false):
			return e, nil, errRunning
		}
		return *have, nil, nil
	}
	o := k.owners[of]
	if o == nil {
		o = new(owner)
	}
	running := len(k.byKey) - k.landed.Len()
	if o.keys-o.landed.Len() >= k.perOwner || running >= k.most {
		return e, nil, errRunning
	}
	sel, _ := req.Selection()
	made := &keyed{k: k, id: id, of: of, sum: sum, idempotent: sel.Idempotent || alwaysIdempotent(req)}
	k.owners[of] = o
	if !k.hold(made, costOf(req), true) {
		if o.keys == 0 {
			delete(k.owners, of)
		}
		return e, nil, errRunning
	}
	made.flight = newFlight(made, k.log)
	k.byKey[id] = made
	o.keys++
	return e, made.flight, nil
}

var errRunning = overloaded("too many calls with idempotency keys are running")

// costOf is what a call takes while it runs, or waits for the answer of another.
func costOf(req *route.Request) int { return req.Message.Size() + recordCost }

// hold counts bytes for a key whose call runs, unless they are too many; those of a
// key that is alone never are. k.mu is held.
func (k *keyring) hold(e *keyed, n int, alone bool) bool {
	full := func(held, most int) bool { return held+n > most && (!alone || held > e.held) }
	if full(k.held, k.running) || full(k.owners[e.of].held, k.runningPerOwner) {
		return false
	}
	k.count(e, n)
	return true
}

func (k *keyring) count(e *keyed, n int) {
	e.held += n
	k.owners[e.of].held += n
	k.held += n
}

// unhold gives bytes back of a call that did not wait in the end.
func (k *keyring) unhold(id digest, f *flight, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.byKey[id]; e != nil && e.flight == f { // else all were given back
		k.count(e, -n)
	}
}

// hold implements lander.
func (e *keyed) hold(has, n int) bool {
	e.k.mu.Lock()
	defer e.k.mu.Unlock()
	return has+n <= e.k.answer && e.k.hold(e, n, true)
}

// alwaysIdempotent reports whether all who could answer say that the call may
// be executed twice.
func alwaysIdempotent(req *route.Request) bool {
	m := req.Match()
	for _, e := range m.Endpoints {
		if !m.Idempotent(e) {
			return false
		}
	}
	return len(m.Endpoints) > 0
}

// expire forgets what is too old. k.mu is held.
func (k *keyring) expire(now time.Time) {
	for el := k.landed.Front(); el != nil; el = k.landed.Front() {
		e, _ := el.Value.(*keyed)
		if now.Before(e.until) {
			return
		}
		k.forget(e)
	}
}

// forget removes a key. k.mu is held.
func (k *keyring) forget(e *keyed) {
	o := k.owners[e.of]
	delete(k.byKey, e.id)
	if o.keys--; o.keys == 0 {
		delete(k.owners, e.of)
	}
	if e.at != nil {
		k.landed.Remove(e.at)
		o.landed.Remove(e.own)
		k.bytes -= e.size
	}
}

// freed reports whether an error leaves the key as if it had not been used.
func (e *keyed) freed(err *message.Error) bool {
	return err != nil && (err.Retryable || e.idempotent && route.Repeatable(err))
}

// landed implements lander.
func (e *keyed) landed(f *flight) share {
	k := e.k
	k.mu.Lock()
	defer k.mu.Unlock()
	e.flight = nil
	k.count(e, -e.held)
	if e.freed(f.rec.err) {
		k.forget(e)
		return shareAll
	}
	e.size = recordCost
	if !f.large && f.rec.size <= k.answer && f.rec.size+recordCost <= k.room { // else it would drive itself out
		e.rec, e.size = f.rec, f.rec.size+recordCost
	}
	o := k.owners[e.of]
	e.until = time.Now().Add(k.keep)
	e.at, e.own = k.landed.PushBack(e), o.landed.PushBack(e)
	k.bytes += e.size
	if o.landed.Len() > k.perOwner {
		oldest, _ := o.landed.Front().Value.(*keyed)
		k.forget(oldest)
	}
	for k.landed.Len() > k.most || k.bytes > k.room {
		oldest, _ := k.landed.Front().Value.(*keyed)
		k.forget(oldest)
	}
	if f.large {
		return shareLost
	}
	return shareAll
}

// parted implements lander.
func (e *keyed) parted(*flight) {}

// deserted implements lander: the caller may come back.
func (e *keyed) deserted() bool { return true }

// again implements lander; it is never needed.
func (e *keyed) again(r *rider) { r.goOn() }

var _ lander = (*keyed)(nil)
