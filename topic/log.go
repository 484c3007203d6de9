package topic

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// maxLogTopics bounds how many addresses of one route a [Log] remembers; of
// those that nobody watches it forgets the ones published to longest ago.
const maxLogTopics = 100000

// Log answers for a route with nothing behind it: what is published is kept in
// memory, as bounded by the history of its topics, and given to those who watch.
// All addresses of the route are counted together. It implements route.Handler
// and does not block.
type Log struct {
	topic   route.Topic
	name    string
	pattern route.Pattern
	metrics *Metrics

	mu     sync.Mutex
	epoch  string
	offset uint64
	forgot uint64 // offset of the newest event of an address that is not remembered any more
	rings  rings
	recent line // of rings that have or had events
	graves line // of rings whose content was deleted
	wild   map[route.Sink]*reader
}

// listener is somebody who has joined a Log: a topic of this node, or another node.
type listener struct {
	sink  route.Sink
	topic *topic // nil if it is another node
	turn  int    // of topic
}

func listen(s route.Sink) listener {
	if t, here := s.(*tap); here {
		return listener{s, t.t, t.turn}
	}
	return listener{sink: s}
}

// reader is a listener of many addresses.
type reader struct {
	listener

	to   string
	only route.Pattern
}

// NewLog returns the log of a route, name:/pattern. m is that of the hub, which
// bounds what all its logs remember together; nil for a log that nobody counts.
func NewLog(name string, pattern route.Pattern, t route.Topic, m *Metrics) *Log {
	if m == nil {
		m = NewMetrics(nil)
	}
	t.History = bounds(t.History)
	if !t.Events {
		t.History = route.History{Count: 1, Bytes: 1 << 30}
	}
	l := &Log{
		topic: t, name: name, pattern: pattern, metrics: m, epoch: newEpoch(),
		rings: newRings(), wild: make(map[route.Sink]*reader),
	}
	m.memory.mu.Lock()
	m.memory.logs = append(m.memory.logs, l)
	m.memory.mu.Unlock()
	return l
}

// AddTo has a service answer for the route by the log.
func (l *Log) AddTo(s *service.Service) {
	t := l.topic
	t.Feed = l
	s.Handle(l.pattern.String(), l, service.WithInline(message.VerbGet, message.VerbPublish), service.WithTopic(t))
}

// Handle implements route.Handler.
func (l *Log) Handle(_ context.Context, req *route.Request, res route.Responder) {
	switch req.Message.Verb {
	case message.VerbPublish:
		l.publish(req, res)
	case message.VerbGet:
		l.get(req, res)
	default:
		_ = res.Fail(message.NewError(message.CodeUnimplemented, "nobody answers calls of "+req.Route, "It is a topic: watch it, or publish to it."))
	}
}

func (l *Log) publish(req *route.Request, res route.Responder) {
	if l.topic.Events && req.Message.Body == nil {
		_ = res.Fail(message.NewError(message.CodeInvalidInput, "an event needs a body", "Publish null if there is nothing to say."))
		return
	}
	a := req.Address
	a.Instance = ""
	e := event{epoch: l.epoch}
	e.body = req.Message.Body
	e.more = moreOf(more{contentType: string(req.Message.ContentType), publisher: l.publisher(req)})
	if e.size() > l.topic.History.Bytes {
		_ = res.Fail(message.NewError(message.CodeTooLarge, fmt.Sprintf("the event is larger than the history of %s may be", req.Route),
			"Raise history.bytes of the topic, or send less."))
		return
	}
	if !l.topic.Events || len(e.body) > inData { // it is kept as it is
		e.stay()
	}
	var room [addressRoom]byte
	if !l.append(a.AppendTo(room[:0]), &e, req.Message.Epoch) {
		_ = res.Reply(route.Body{})
		return
	}
	l.metrics.published.Inc()
	s := stamps.Get().(*route.Stamp) //nolint:forcetypeassert // nothing else is put
	s.Epoch, s.Offset = l.epoch, e.offset
	_ = res.Reply(route.Body{Stamp: s}) // which keeps nothing
	stamps.Put(s)
}

//nolint:gochecknoglobals // a pool is only useful when it is shared
var stamps = sync.Pool{New: func() any { return new(route.Stamp) }}

// publisher says who publishes, if that is told.
func (l *Log) publisher(req *route.Request) []byte {
	if !l.topic.Publisher {
		return nil
	}
	return PublisherOf(req)
}

// append gives an event its place at an address, and those who watch the event. It reports
// whether that was done: epoch may say that it is only if there is no content, see
// [seed].
func (l *Log) append(to []byte, e *event, epoch []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rings.at(to)
	if of, ok := bytes.CutPrefix(epoch, []byte(seed)); ok && (string(of) != l.epoch || r != nil && (r.deleted() || r.past.len() > 0)) {
		return false
	}
	if r == nil {
		r = l.newRing(to)
	}
	l.offset++
	e.offset = l.offset
	if e.body == nil { // the content of a state topic is deleted
		l.mark(r)
		return true
	}
	r.past.push(&e.record)
	l.touch(r)
	for i := range r.readers {
		r.readers[i].tell(e)
	}
	if len(l.wild) > 0 {
		l.tellWild(r, e)
	}
	return true
}

// tellWild gives those an event who watch patterns.
func (l *Log) tellWild(r *ring, e *event) {
	to := r.to()
	path, at := pathOf(to), e.atAddress(to)
	for _, w := range l.wild {
		if w.wants(path) {
			w.tell(&at)
		}
	}
}

// mark tells that there is no content any more, and remembers that: a node that
// was not told has the content still, and must not bring it back.
func (l *Log) mark(r *ring) {
	r.past.begin(l.offset)
	l.unlist(r)
	l.graves.push(r)
	for _, w := range r.readers {
		w.sink.Part(l.nothing(r))
	}
	if l.graves.n > maxGraves {
		old := l.graves.oldest
		l.unlist(old)
		if len(old.readers) == 0 {
			l.forget(old)
		}
	}
}

// maxGraves is of how many addresses of one route it is remembered that their
// content was deleted: of many more than are deleted while an owner changes.
const maxGraves = 10000

// unlist takes a ring out of the line that it stands in.
func (l *Log) unlist(r *ring) {
	if r.in != nil {
		r.in.remove(r)
	}
}

// deleted tells whether its content was deleted, and that is remembered.
func (r *ring) deleted() bool { return r.in == &r.log.graves }

// nothing tells that there is no content, and by markEmpty that there never was.
func (l *Log) nothing(r *ring) route.Body {
	b := message.AppendError(nil, errNothing(r.to()))
	s := &route.Stamp{Epoch: l.epoch, Offset: l.offset}
	if !r.deleted() {
		s.Topic = markEmpty
	}
	return route.Body{Bytes: b, Fault: true, Stamp: s}
}

func errNothing(to string) *message.Error {
	return message.NewError(message.CodeNotFound, "nothing is published at "+to+" now", "Wait: the content comes when somebody publishes it.")
}

// newRing makes that of an address.
func (l *Log) newRing(to []byte) *ring {
	r := &ring{log: l}
	r.readers = r.first[:0]
	r.past.bound, r.past.mem = l.topic.History, &l.metrics.memory
	r.past.begin(l.forgot)
	l.rings.add(r, to)
	return r
}

// touch notes that something was published to an address, and forgets what is too
// much. Those that are only watched do not count: they go with their readers.
func (l *Log) touch(r *ring) {
	if r.in == &l.recent {
		return
	}
	l.unlist(r)
	l.recent.push(r)
	r.placed = r.past.last
	if l.recent.n > maxLogTopics {
		l.forgetOne()
	}
}

// maxForget is how many addresses are looked at for one to forget.
const maxForget = 16

// forgetOne forgets an address to which nothing was published since it was looked
// at last, or another one if there is none such at hand. To keep all in the order
// in which they were published to would cost each publish more than that is worth.
func (l *Log) forgetOne() {
	var other *ring
	for range maxForget {
		r := l.recent.oldest
		switch {
		case len(r.readers) > 0:
		case r.past.last > r.placed:
			other = r
		default:
			l.forget(r)
			return
		}
		r.placed = r.past.last
		l.recent.remove(r)
		l.recent.push(r)
	}
	if other != nil {
		l.forget(other)
	}
}

// forget drops what is known of an address.
func (l *Log) forget(r *ring) {
	l.forgot = max(l.forgot, r.past.last)
	r.past.begin(r.past.last)
	l.unlist(r)
	l.rings.remove(r)
}

// event is an event that was published.
func (l *Log) event(r *record) *event { return &event{record: *r, epoch: l.epoch} }

func (l *Log) get(req *route.Request, res route.Responder) {
	a := req.Address
	a.Instance = ""
	to := a.String()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rings.at([]byte(to)); r != nil {
		r.past.expire()
		if c := r.past.newest(); c != nil {
			_ = res.Reply(l.event(c).part())
			return
		}
	}
	_ = res.Fail(errNothing(to))
}

// Join implements route.Feed. It does not block.
func (l *Log) Join(to message.Address, seen route.Stamp, s route.Sink) error {
	to.Instance = ""
	var many *reader
	if to.HasWildcard() {
		only, err := route.ParsePattern(to.Path)
		if err != nil {
			return err
		}
		many = &reader{listen(s), to.String(), only}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if seen.Epoch != l.epoch || seen.Offset > l.offset {
		seen.Offset = 0
	}
	if many != nil {
		l.wild[s] = many
		l.tellMany(many, seen.Offset)
		return nil
	}
	var room [addressRoom]byte
	at := to.AppendTo(room[:0])
	r := l.rings.at(at)
	if r == nil {
		r = l.newRing(at)
	}
	r.readers = append(r.readers, listen(s))
	l.tellOne(&r.readers[len(r.readers)-1], r, seen.Offset)
	return nil
}

// Leave implements route.Feed. It does not block.
func (l *Log) Leave(to message.Address, s route.Sink) {
	to.Instance = ""
	var room [addressRoom]byte
	at := to.AppendTo(room[:0])
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wild, s)
	r := l.rings.at(at)
	if r == nil {
		return
	}
	r.readers = slices.DeleteFunc(r.readers, func(o listener) bool { return o.sink == s })
	if len(r.readers) == 0 && r.past.len() == 0 && !r.deleted() {
		l.forget(r)
	}
}

// tellOne gives a reader what there is at its address, of events those after an
// offset if there are all.
func (l *Log) tellOne(w *listener, r *ring, seen uint64) {
	r.past.expire()
	if !l.topic.Events {
		if c := r.past.newest(); c != nil {
			w.tell(l.event(c))
		} else {
			w.sink.Part(l.nothing(r))
		}
		return
	}
	from := max(seen, r.past.floor)
	if w.topic != nil {
		w.topic.follow(&r.past, l.epoch, from, l.offset, w.turn)
		return
	}
	l.begin(w, from)
	first, _ := r.past.after(from)
	for e := range r.past.from(first) {
		w.tell(l.event(e))
	}
	l.arm(w)
}

// tellMany gives a reader of a pattern what there is at all addresses.
func (l *Log) tellMany(w *reader, seen uint64) {
	type at struct {
		to string
		r  record
	}
	floor := max(seen, l.forgot)
	var all []at
	for r := range l.rings.all() {
		if to := r.to(); w.wants(pathOf(to)) {
			r.past.expire()
			floor = max(floor, r.past.floor)
			for e := range r.past.from(0) {
				all = append(all, at{to, *e})
			}
		}
	}
	slices.SortFunc(all, func(a, b at) int { return cmp.Compare(a.r.offset, b.r.offset) })
	l.begin(&w.listener, floor)
	for _, a := range all {
		if a.r.offset > floor {
			e := l.event(&a.r).atAddress(a.to)
			w.tell(&e)
		}
	}
	l.arm(&w.listener)
}

// begin tells a reader from where on it is told everything, arm that it was.
func (l *Log) begin(w *listener, floor uint64) { w.sink.Part(Begin(l.epoch, floor)) }
func (l *Log) arm(w *listener)                 { w.sink.Part(Armed(l.epoch, l.offset)) }

// tell gives a reader an event: a topic of this node the event itself.
func (w *listener) tell(e *event) {
	if w.topic != nil {
		w.topic.take(e, w.turn)
		return
	}
	w.sink.Part(e.part())
}

// about tells what other nodes watch, with keys as topics have.
func (l *Log) about(tell func(key string, i Info)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := func(to string, nodes int, offset uint64) {
		tell(keyOf(to, nil, nil), Info{Address: to, Kind: kindOf(l.topic.Events), Nodes: nodes, Epoch: l.epoch, Offset: offset})
	}
	for r := range l.rings.all() {
		n := 0
		for _, w := range r.readers {
			if w.topic == nil {
				n++
			}
		}
		if n > 0 {
			one(r.to(), n, r.past.last)
		}
	}
	nodes := make(map[string]int)
	for _, w := range l.wild {
		if w.topic == nil {
			nodes[w.to]++
		}
	}
	for to, n := range nodes {
		one(to, n, l.offset)
	}
}

// wants tells whether a path is one of those that the reader watches.
func (w *reader) wants(path string) bool {
	_, ok := w.only.Match(path)
	return ok
}

// pathOf returns the path of an address that [message.Address.String] wrote.
func pathOf(to string) string {
	a, err := message.ParseStrict(to)
	if err != nil {
		return ""
	}
	return a.Path
}

var (
	_ route.Handler = (*Log)(nil)
	_ route.Feed    = (*Log)(nil)
)
