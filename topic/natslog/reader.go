package natslog

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/topic"
)

// reader is a source that watches the log: an address, or a pattern of them.
type reader struct {
	log  *Log
	res  route.Responder
	path string
	only route.Pattern // of a pattern; else the zero Pattern
	many bool
	over bool // guarded by log.mu
}

func (l *Log) subscribe(req *route.Request, res route.Responder) error {
	w := &reader{log: l, res: res, path: req.Address.Path, many: req.Address.HasWildcard()}
	if w.many {
		p, err := route.ParsePattern(req.Address.Path)
		if err != nil {
			return err
		}
		w.only = p
	}
	l.mu.Lock()
	if l.f == nil {
		l.start()
	}
	if l.f.ready {
		l.admit(w)
	} else {
		l.waiting[w] = struct{}{}
	}
	l.mu.Unlock()
	res.OnFinish(w)
	return nil
}

// Finished implements route.Finisher. The lock may be held by who has given a
// part that was one too many.
func (w *reader) Finished(route.Outcome) {
	l := w.log
	l.lane.Do(func(context.Context) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.over = true
		delete(l.waiting, w)
		delete(l.filling, w)
		delete(l.readers, w)
		if len(l.waiting)+len(l.filling)+len(l.readers) == 0 {
			l.stop()
		}
	})
}

// wants tells whether an event is one of those that the reader watches.
func (w *reader) wants(e *event) bool {
	if !w.many {
		return e.path == w.path
	}
	_, ok := w.only.Match(e.path)
	return ok
}

func (w *reader) give(e *event) {
	to := ""
	if w.many {
		to = w.log.address(e)
	}
	_ = w.res.Part(e.part(w.log.epoch, to))
}

// admit tells a reader the history and has it read what comes. What is not in
// memory is read first, meanwhile it waits. l.mu is held, and the follower ready.
func (l *Log) admit(w *reader) {
	if w.over {
		return
	}
	list := l.wanted(w, nil)
	if w.many || l.past.floor < l.first || len(list) >= l.count {
		l.tell(w, list, l.past.floor)
		return
	}
	l.filling[w] = struct{}{}
	f, s, upto := l.f, l.f.stream, l.past.floor
	l.lane.Go("durable topic history", func(context.Context) {
		if err := f.fill(w, s, upto); err != nil {
			_ = w.res.Fail(err)
		}
	})
}

// wanted returns those events in memory that a reader watches and that are not
// too old, after older ones.
func (l *Log) wanted(w *reader, older []*event) []*event {
	list := older
	var since time.Time
	if l.topic.History.Age > 0 {
		since = time.Now().Add(-time.Duration(l.topic.History.Age))
	}
	for _, e := range l.past.all() {
		if w.wants(e) && e.at.After(since) && (len(older) == 0 || e.seq > older[len(older)-1].seq) {
			list = append(list, e)
		}
	}
	return list
}

// tell gives a reader the history, which is complete from after a sequence but
// for what was more than is kept. l.mu is held.
func (l *Log) tell(w *reader, list []*event, floor uint64) {
	kept := make(map[string]int)
	for _, e := range slices.Backward(list) {
		if kept[e.path]++; kept[e.path] > l.count {
			floor = max(floor, e.seq)
		}
	}
	floor = max(floor, l.first-1)
	_ = w.res.Part(topic.Begin(l.epoch, floor))
	for _, e := range list {
		if e.seq > floor {
			w.give(e)
		}
	}
	_ = w.res.Part(topic.Armed(l.epoch, l.past.last))
	delete(l.filling, w)
	l.readers[w] = struct{}{}
}

// fill reads for a reader of one address what is only in the stream, up to a
// sequence, and admits it then.
func (f *follower) fill(w *reader, s jetstream.Stream, upto uint64) error {
	l := f.log
	ctx := l.lane.Context()
	var older []*event
	next := uint64(1)
	for {
		list, err := l.read(ctx, s, w.path, next, upto)
		if err != nil {
			return errDown(l.route, err)
		}
		older = append(older, list...)
		older = older[max(0, len(older)-l.count):]
		info, err := f.info(ctx, s) // after the read: what was dropped meanwhile is known
		if err != nil {
			return errDown(l.route, err)
		}
		err = errAgain
		again := false
		f.mine(func(l *Log) {
			switch {
			case w.over:
				err = nil
			case !f.ready || epochOf(info) != l.epoch:
			case l.past.floor > upto: // more is in the stream alone by now
				next, upto, again = upto+1, l.past.floor, true
			default:
				l.first = max(l.first, info.State.FirstSeq)
				l.tellAll(w, older)
				err = nil
			}
		})
		if !again {
			return err
		}
	}
}

// tellAll is tell of older events and those in memory.
func (l *Log) tellAll(w *reader, older []*event) {
	list := l.wanted(w, older)
	floor := uint64(0)
	if len(list) >= l.count { // there may have been more
		floor = list[0].seq - 1
	}
	l.tell(w, list, floor)
}

// read returns the events of a path in the stream, of a range of sequences.
func (l *Log) read(ctx context.Context, s jetstream.Stream, path string, next, upto uint64) ([]*event, error) {
	var list []*event
	for next <= upto && ctx.Err() == nil {
		m, err := l.next(ctx, s, path, next)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		if m.Sequence > upto {
			break
		}
		list = append(list, l.event(m.Subject, m.Sequence, m.Header, m.Data, m.Time))
		next = m.Sequence + 1
	}
	return list, ctx.Err()
}

func (l *Log) next(ctx context.Context, s jetstream.Stream, path string, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	return s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(l.subject(path)))
}

var _ route.Finisher = (*reader)(nil)
