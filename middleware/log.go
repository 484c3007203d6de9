package middleware

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/ropewalk/ropewalk/internal/duration"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// DefaultSlow is above what people feel as waiting.
const DefaultSlow = time.Second

// LogConfig is the configuration of [Log].
type LogConfig struct {
	// Slow is how long a call may take before it is logged as a warning.
	// Default: 1s. Services that work for long are slow on purpose: put their
	// patterns into Except.
	Slow duration.Duration `json:"slow,omitzero"`
	// Except are routes ("name:/pattern") of which slow calls are not logged.
	Except []string `json:"except,omitempty"`
}

// Log writes one line at level Debug for each message when it is finished, and
// a warning for a call that took longer than cfg.Slow: address, route, client,
// id of the message, trace id, time, parts, error. Bodies are never written,
// nor what an address has behind a question mark.
// A nil logger means [slog.Default].
//
// It fits every stage but outbound; at inbound it also sees what is refused
// before it is routed. A message that is not written costs an atomic check and
// a place in a pool, and no allocation.
func Log(log *slog.Logger, cfg LogConfig) route.Middleware {
	if log == nil {
		log = slog.Default()
	}
	slow := cfg.Slow.Or(DefaultSlow)
	except := make(map[string]bool, len(cfg.Except))
	for _, r := range cfg.Except {
		except[r] = true
	}
	lines := &sync.Pool{New: func() any { return &line{log: log, slow: slow, except: except} }}
	return func(next route.Handler) route.Handler {
		return route.HandlerFunc(func(ctx context.Context, req *route.Request, res route.Responder) {
			l, _ := lines.Get().(*line)
			l.pool, l.ctx = lines, ctx
			l.to, l.mid, l.verb = req.Message.To, req.Message.Mid, req.Message.EffectiveVerb()
			l.hdr, l.peer = req.Message.Headers, peerOf(req)
			res.OnFinish(l)
			next.Handle(ctx, req, res)
		})
	}
}

// line is what is written about one message, once it is finished. It keeps
// what it needs: the request belongs to others by then.
type line struct {
	log    *slog.Logger
	slow   time.Duration
	except map[string]bool
	pool   *sync.Pool

	ctx  context.Context //nolint:containedctx // of the message, for handlers of the log
	to   []byte
	mid  []byte
	hdr  []byte
	verb message.Verb
	peer route.Peer
}

// Finished writes the line.
func (l *line) Finished(o route.Outcome) {
	if o.Took > l.slow && l.verb == message.VerbCall && !l.except[o.Route] && l.log.Enabled(l.ctx, slog.LevelWarn) {
		l.log.LogAttrs(l.ctx, slog.LevelWarn, "slow call: find out why its server takes long, or raise the limit of the log", l.attrs(o)...)
	} else if l.log.Enabled(l.ctx, slog.LevelDebug) {
		l.log.LogAttrs(l.ctx, slog.LevelDebug, "message finished", l.attrs(o)...)
	}
	l.ctx, l.to, l.mid, l.hdr, l.peer = nil, nil, nil, nil, nil
	l.pool.Put(l)
}

func (l *line) attrs(o route.Outcome) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("verb", l.verb.String()),
		slog.String("path", withoutQuery(l.to)),
		slog.String("route", o.Route),
		slog.String("client", l.peer.ID()),
		slog.String("msg", string(l.mid)),
		slog.Duration("took", o.Took),
		slog.Uint64("parts", o.Parts),
	}
	if m := (&message.Message{Headers: l.hdr}); l.hdr != nil {
		if t, ok := ParseTraceparent(m.Header(headerTraceparent)); ok {
			attrs = append(attrs, slog.String("trace", hex.EncodeToString(t.TraceID[:])))
		}
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("code", string(o.Err.Code)), slog.String("err", o.Err.Message))
	}
	return attrs
}

// withoutQuery is an address up to its question mark: people put tokens behind
// it.
func withoutQuery(to []byte) string {
	before, _, cut := bytes.Cut(to, []byte("?"))
	if cut {
		return string(before) + "?…"
	}
	return string(to)
}

// nobody is the peer of a request that has none.
type nobody struct{}

func (nobody) ID() string         { return "" }
func (nobody) Listener() string   { return "" }
func (nobody) RemoteAddr() string { return "" }

var (
	_ route.Finisher = (*line)(nil)
	_ route.Peer     = nobody{}
)
