package natslog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/internal/lane"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/topic"
)

// patience is how long a publish waits for a store that has no leader just now.
const patience = 10 * time.Second

// Source returns the way to JetStream, or why there is none yet. It does not
// block for long.
type Source func() (jetstream.JetStream, error)

// Config is what a Log needs to know besides its route.
type Config struct {
	// Mesh is the name of the mesh, for meshes that share servers.
	Mesh string
	// Memory is how many events of all addresses are kept in memory once somebody
	// has watched, or as many as the history of one address has, if that is more. They
	// have at most 16 MiB together, or are one event. Default: 8192.
	Memory int
	// Logger takes what concerns the operator. Default: slog.Default.
	Logger *slog.Logger
}

// Log answers for a route of durable event topics. It implements
// [route.Handler] and [topic.Durable]. A publish blocks until the event is
// stored; all else does not.
type Log struct {
	source  Source
	log     *slog.Logger
	topic   route.Topic
	name    string // of the service
	route   string
	pattern route.Pattern
	stream  string
	prefix  string
	count   int // how many events of an address are kept
	lane    *lane.Lane

	mu      sync.Mutex
	epoch   string
	past    ring
	first   uint64 // sequence of the oldest event when the stream was looked at last
	f       *follower
	waiting map[*reader]struct{} // until the follower is ready
	filling map[*reader]struct{} // until what is only in the stream was read
	readers map[*reader]struct{}
}

// New returns the log of a route, name:/pattern. The stream is made when it is
// needed.
func New(source Source, cfg Config, name string, pattern route.Pattern, t route.Topic) *Log {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	at := name + ":" + pattern.String()
	l := &Log{
		source: source, log: cfg.Logger, topic: t, name: name, route: at, pattern: pattern,
		lane: lane.New(context.Background(), cfg.Logger), count: topic.Bounds(t.History).Count,
		waiting: make(map[*reader]struct{}), filling: make(map[*reader]struct{}),
		readers: make(map[*reader]struct{}),
	}
	l.stream, l.prefix = names(cfg.Mesh, at)
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	l.past.most = max(cfg.Memory, l.count)
	return l
}

// AddTo implements topic.Durable.
func (l *Log) AddTo(s *service.Service) {
	s.Handle(l.pattern.String(), l, service.WithInline(message.VerbSubscribe), service.WithTopic(l.topic))
}

// Close implements topic.Durable. Readers are not told: they end with the node.
func (l *Log) Close() { l.lane.Close() }

// Handle implements route.Handler.
func (l *Log) Handle(ctx context.Context, req *route.Request, res route.Responder) {
	var err error
	switch req.Message.Verb {
	case message.VerbPublish:
		err = l.publish(ctx, req, res)
	case message.VerbSubscribe:
		err = l.subscribe(req, res)
	case message.VerbGet:
		err = l.get(ctx, req, res)
	default:
		err = message.NewError(message.CodeUnimplemented, "nobody answers calls of "+req.Route, "It is a topic: watch it, or publish to it.")
	}
	if err != nil {
		_ = res.Fail(err)
	}
}

// publish stores an event. It is tried again under one id while the store has no
// leader, so that it is there once.
func (l *Log) publish(ctx context.Context, req *route.Request, res route.Responder) error {
	if req.Message.Body == nil {
		return message.NewError(message.CodeInvalidInput, "an event needs a body", "Publish null if there is nothing to say.")
	}
	m := &nats.Msg{
		Subject: l.subject(req.Address.Path), Header: nats.Header{}, Data: append([]byte(nil), req.Message.Body...),
	}
	m.Header.Set(nats.MsgIdHdr, rand.Text())
	m.Header.Set(nats.ExpectedStreamHdr, l.stream)
	if t := string(req.Message.ContentType); t != "" {
		m.Header.Set(headType, t)
	}
	if l.topic.Publisher {
		m.Header.Set(headPublisher, string(topic.PublisherOf(req)))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		seq, epoch, err := l.store(ctx, m)
		if err == nil {
			return res.Reply(route.Body{Stamp: &route.Stamp{Epoch: epoch, Offset: seq}})
		}
		if e := l.refusal(err); e != nil {
			return e
		}
		if !pause(ctx, retry) {
			return errDown(l.route, err)
		}
	}
}

// store hands an event to the stream.
func (l *Log) store(ctx context.Context, m *nats.Msg) (seq uint64, epoch string, err error) {
	l.mu.Lock()
	epoch = l.epoch
	l.mu.Unlock()
	var js jetstream.JetStream
	if epoch == "" {
		var s jetstream.Stream
		if js, s, err = l.open(ctx); err == nil {
			epoch = epochOf(s.CachedInfo())
			l.mu.Lock()
			if l.epoch == "" {
				l.epoch = epoch
			}
			l.mu.Unlock()
		}
	} else {
		js, err = l.source()
	}
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	ack, err := js.PublishMsg(ctx, m)
	if err != nil {
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // it may be gone
			_, s, gone := l.open(ctx)
			if gone == nil {
				l.renew(epochOf(s.CachedInfo()))
			}
		}
		return 0, "", err
	}
	return ack.Sequence, epoch, nil
}

// get answers with the newest event of an address.
func (l *Log) get(ctx context.Context, req *route.Request, res route.Responder) error {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	_, s, err := l.open(ctx)
	if err != nil {
		return errDown(l.route, err)
	}
	m, err := s.GetLastMsgForSubject(ctx, l.subject(req.Address.Path))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return message.NewError(message.CodeNotFound, fmt.Sprintf("nothing was published to %s:%s yet", l.name, req.Address.Path),
			"Wait: the content comes when somebody publishes it.")
	case err != nil:
		return errDown(l.route, err)
	}
	e := l.event(m.Subject, m.Sequence, m.Header, m.Data, m.Time)
	return res.Reply(e.part(epochOf(s.CachedInfo()), ""))
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

var (
	_ route.Handler = (*Log)(nil)
	_ topic.Durable = (*Log)(nil)
)
