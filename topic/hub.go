package topic

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/session"
)

// Defaults of [Config].
const (
	// DefaultMaxWatches is how many topics a connection may watch: more than any
	// page has, and for a service still cheap.
	DefaultMaxWatches = 10000
	// DefaultMaxTopics bounds the memory of a node whose clients watch what they
	// make up.
	DefaultMaxTopics = 500000
)

// How long a topic that has lost its owner, and finds no other, waits until it
// looks again; routes that change make it look at once.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
	// patience is how long watchers of a content whose owner was lost are told
	// nothing: the next one is mostly there by then.
	patience = 3
)

// Config is what a Hub needs to know. The zero value of each field means its
// default.
type Config struct {
	MaxWatches int // of one connection
	MaxTopics  int // of the node
	MaxHistory int // of all histories of the node together, in bytes
	Logger     *slog.Logger
	Metrics    *Metrics
}

// Hub has the topics of a node. It implements [exchange.Topics]. All methods may
// be called from any goroutine and do not block, but Close.
type Hub struct {
	x       *exchange.Exchange
	cfg     Config
	log     *slog.Logger
	metrics *Metrics
	lane    *lane.Lane

	mu      sync.Mutex
	closed  bool
	ids     uint64
	topics  map[string]*topic
	sources map[sourceKey]*source
	viewers map[client]*viewer
	who     presence
	lost    map[*topic]time.Time // those to open again, and when
	wake    chan struct{}        // holds a token when lost has changed
}

// New returns a Hub. [Hub.Begin] is called before anything else.
func New(cfg Config) *Hub {
	if cfg.MaxWatches <= 0 {
		cfg.MaxWatches = DefaultMaxWatches
	}
	if cfg.MaxTopics <= 0 {
		cfg.MaxTopics = DefaultMaxTopics
	}
	if cfg.MaxHistory <= 0 {
		cfg.MaxHistory = DefaultMaxHistory
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	h := &Hub{
		cfg: cfg, log: cfg.Logger, metrics: cfg.Metrics, lane: lane.New(context.Background(), cfg.Logger),
		topics: make(map[string]*topic), sources: make(map[sourceKey]*source), viewers: make(map[client]*viewer),
		lost: make(map[*topic]time.Time), wake: make(chan struct{}, 1),
	}
	m := &h.metrics.memory
	m.limit, m.soon, m.others = int64(cfg.MaxHistory), h.later, h.histories
	return h
}

// Begin says whose topics they are.
func (h *Hub) Begin(x *exchange.Exchange) {
	h.x = x
	h.lane.Go("topics that have lost their owner", h.repair)
}

// Close ends everything and waits for the hub's goroutines. Connections are not
// told: they are closed before. Watches from inside the process end.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	topics, sources, viewers := h.topics, h.sources, h.viewers
	h.topics, h.sources, h.viewers = map[string]*topic{}, map[sourceKey]*source{}, map[client]*viewer{}
	h.mu.Unlock()
	for c := range viewers {
		if i, inside := c.(*insider); inside {
			i.feed.Finish(errClosed)
		}
	}
	for _, t := range topics {
		t.end(errClosed)
	}
	for _, s := range sources {
		s.mu.Lock()
		s.over = true
		up, open := s.up, s.open
		s.mu.Unlock()
		if open {
			up.Close(errClosed)
		}
	}
	h.lane.Close()
}

// later runs f soon, without the locks that the caller holds.
func (h *Hub) later(f func()) { h.lane.Do(func(context.Context) { f() }) }

// Subscribe implements exchange.Topics.
func (h *Hub) Subscribe(req *route.Request, res route.Responder) {
	p, ok := req.Peer.(*exchange.Peer)
	if !ok {
		_ = res.Fail(message.NewError(message.CodeUnknownVerb, "only connections subscribe this way", "Inside the process use Node.Watch."))
		return
	}
	if err := h.subscribe(p, req, res); err != nil {
		_ = res.Fail(err)
	}
}

// subscribe has a client watch what a request names.
func (h *Hub) subscribe(c client, req *route.Request, res route.Responder) error {
	e := &entrant{res: res, addr: req.Address}
	var err error
	if e.opts, err = parseOptions(req.Message.Body); err != nil {
		return err
	}
	match, err := h.x.LookupTopic(req.Address)
	if err != nil {
		return err
	}
	info := match.Info(nil).Topic
	var who *session.Session
	if info.Personal {
		who = req.Session()
	}
	to := addressOf(req.Address, req.Message.To)
	key := keyOf(to, e.opts.Params, who)
	to = key[:len(to)] // of many topics it is kept once
	for {
		if e.v = h.viewer(c); e.v == nil {
			return errClosed
		}
		t, made, err := h.topic(key, to, info, e.opts.Params, who)
		if err != nil {
			return err
		}
		if !t.enter(e) {
			continue // it has just ended
		}
		if made {
			t.reopen(false)
		}
		return nil
	}
}

// topic returns the topic of a key, and whether it was made now.
func (h *Hub) topic(
	key, to string, info *route.Topic, params json.RawMessage, who *session.Session,
) (t *topic, made bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch t = h.topics[key]; {
	case h.closed:
		return nil, false, errClosed
	case t != nil:
		return t, false, nil
	case len(h.topics) >= h.cfg.MaxTopics:
		return nil, false, message.NewError(message.CodeTooManyTopics, "the node has too many topics",
			"Watch a pattern, or raise limits.topics in the node's configuration.")
	}
	h.ids++
	t = newTopic(h, key, to, h.ids, info)
	t.params, t.who = params, who
	h.topics[key] = t
	h.metrics.topics.Inc()
	return t, true, nil
}

// viewer returns that of a client; nil if the client is gone.
func (h *Hub) viewer(c client) *viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := h.viewers[c]
	if v == nil && !h.closed && !c.Closed() { // Gone comes after Closed
		v = &viewer{hub: h, client: c, gone: make(chan struct{})}
		h.viewers[c] = v
	}
	return v
}

// Get implements exchange.Topics.
func (h *Hub) Get(req *route.Request, res route.Responder) bool {
	o, err := parseOptions(req.Message.Body)
	if err != nil {
		_ = res.Fail(err)
		return true
	}
	h.mu.Lock()
	t := h.topics[keyOf(addressOf(req.Address, req.Message.To), o.Params, nil)]
	h.mu.Unlock()
	if t == nil || t.events || t.personal {
		return false
	}
	t.mu.Lock()
	c := t.newest
	fresh := t.state == live
	t.mu.Unlock()
	if c == nil || !fresh {
		return false
	}
	if c.rest().fault {
		_ = res.Fail(message.DecodeError(c.body))
		return true
	}
	_ = res.Reply(c.part())
	return true
}

// Unsubscribe implements exchange.Topics.
func (h *Hub) Unsubscribe(p *exchange.Peer, topic []byte) { h.unsubscribe(p, topic) }

func (h *Hub) unsubscribe(c client, topic []byte) {
	h.mu.Lock()
	v := h.viewers[c]
	h.mu.Unlock()
	if v == nil {
		return
	}
	if w := v.find(topic); w != nil {
		h.stop(w)
	}
}

// stop ends a watch.
func (h *Hub) stop(w *watch) {
	w.v.drop(w)
	t := w.t
	t.mu.Lock()
	t.remove(w)
	t.mu.Unlock()
	h.release(t)
}

// release ends a topic that nobody watches.
func (h *Hub) release(t *topic) {
	h.mu.Lock()
	t.mu.Lock()
	if len(t.watchers) > 0 || len(t.waiting) > 0 || t.state == over {
		t.mu.Unlock()
		h.mu.Unlock()
		return
	}
	h.drop(t)
	up, open := t.up, t.open
	t.free()
	t.mu.Unlock()
	h.mu.Unlock()
	if open {
		up.Close(errUnwatched)
	}
}

// drop has a topic be over; who subscribes gets another one. h.mu and t.mu are
// held.
func (h *Hub) drop(t *topic) {
	t.state = over
	if h.topics[t.key] == t {
		delete(h.topics, t.key)
		h.metrics.topics.Dec()
	}
	delete(h.lost, t)
}

// Gone implements exchange.Topics.
func (h *Hub) Gone(p *exchange.Peer) { h.gone(p) }

func (h *Hub) gone(c client) {
	h.mu.Lock()
	v := h.viewers[c]
	delete(h.viewers, c)
	h.mu.Unlock()
	if v == nil {
		return
	}
	for _, w := range v.leave() {
		h.stop(w)
	}
}

// Recheck implements exchange.Topics.
func (h *Hub) Recheck(p *exchange.Peer) {
	h.mu.Lock()
	v := h.viewers[p]
	h.mu.Unlock()
	if v == nil {
		return
	}
	for _, w := range v.all() {
		if why := h.mayNot(w, p); why != nil {
			h.revoke(w, why)
		}
	}
}

// mayNot says why a watch has to end, or nil.
func (h *Hub) mayNot(w *watch, p *exchange.Peer) *message.Error {
	a, err := message.ParseStrict(w.t.to)
	if err != nil {
		return message.AsError(err) // it was one when it was subscribed to
	}
	if why := p.MayWatch(a); why != nil {
		return &message.Error{Code: message.CodeRevoked, Message: why.Message, Hint: why.Hint}
	}
	if w.t.who != nil && keyOf(w.t.to, w.t.params, p.Session()) != w.t.key {
		return errOther(w.t.to)
	}
	return nil
}

// revoke ends a watch and tells the watcher.
func (h *Hub) revoke(w *watch, why *message.Error) {
	h.metrics.revoked.Inc()
	h.stop(w)
	f := w.t.newNote(message.VerbUnsubscribe, nil, 0)
	f.m.Body = message.AppendError(nil, why)
	_ = w.v.client.Update(&f.m, &f.shared)
	f.done()
}

var _ exchange.Topics = (*Hub)(nil)
