package natslog

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// lookEvery is how often a follower that is not ready looks whether it is.
	lookEvery = 50 * time.Millisecond
	// tendEvery is how often a follower looks after the stream: whether it is the
	// same, and has as many copies as it can have.
	tendEvery = 10 * time.Second
)

// follower reads the stream while somebody reads the log.
//
//	start ──► catches up with the end of the stream ──► ready: who waits is admitted ──► follows
//	  ▲                                                                                    │
//	  └──────────── after a while ◄──────────────── trouble ◄──────────────────────────────┘
//
// Its fields are guarded by the log's mu.
type follower struct {
	log    *Log
	cancel context.CancelFunc
	stream jetstream.Stream // nil until it is open
	ready  bool
}

// start begins to follow. l.mu is held.
func (l *Log) start() {
	ctx, cancel := context.WithCancel(l.lane.Context())
	f := &follower{log: l, cancel: cancel}
	l.f = f
	if !l.lane.Go("durable topic", func(context.Context) { f.work(ctx) }) {
		cancel()
	}
}

// stop ends a follower that nobody needs. l.mu is held.
func (l *Log) stop() {
	if l.f != nil {
		l.f.cancel()
		l.f = nil
	}
}

// mine runs do under the log's lock if the follower is still the log's.
func (f *follower) mine(do func(l *Log)) bool {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if f.log.f != f {
		return false
	}
	do(f.log)
	return true
}

func (f *follower) work(ctx context.Context) {
	l := f.log
	said := false
	for ctx.Err() == nil {
		err := f.run(ctx)
		f.mine(func(*Log) { f.ready = false })
		if ctx.Err() != nil {
			return
		}
		if err != nil && !said {
			l.log.WarnContext(ctx, "the log of events cannot be read; it is tried again", slog.String("route", l.route), slog.Any("err", err))
		}
		said = err != nil
		pause(ctx, retry)
	}
}

// errAgain is for readers of a log that has begun anew, or has lost events that
// they have not seen: they come again.
var errAgain = &message.Error{
	Code: message.CodeServiceLost, Message: "the log of events has changed", Hint: "It is asked again; watchers need to do nothing.", Retryable: true,
}

// renew takes note of the epoch of the stream. Readers of another one come again.
func (l *Log) renew(epoch string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed(epoch)
}

// renewed is renew; l.mu is held.
func (l *Log) renewed(epoch string) {
	if l.epoch == epoch {
		return
	}
	if l.epoch != "" {
		l.past.begin(0)
		l.dismiss()
	}
	l.epoch = epoch
}

// dismiss has all readers come again. l.mu is held.
func (l *Log) dismiss() {
	gone := l.readers
	l.readers = make(map[*reader]struct{})
	if len(gone) == 0 {
		return
	}
	l.lane.Do(func(context.Context) {
		for w := range gone {
			_ = w.res.Fail(errAgain)
		}
	})
}

// run follows until there is trouble.
func (f *follower) run(ctx context.Context) error {
	l := f.log
	_, s, err := l.open(ctx)
	if err != nil {
		return err
	}
	info, err := f.info(ctx, s)
	if err != nil {
		return err
	}
	var from uint64
	if !f.mine(func(l *Log) { from = f.begin(s, info) }) {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
	})
	if err != nil {
		return err
	}
	trouble := make(chan error, 1)
	reading, err := c.Consume(f.take, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			return // the consumer is made again
		}
		select {
		case trouble <- err:
		default:
		}
	}))
	if err != nil {
		return err
	}
	defer func() {
		reading.Stop()
		<-reading.Closed()
	}()
	return f.watchOver(ctx, s, reading, trouble)
}

func (f *follower) info(ctx context.Context, s jetstream.Stream) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	return s.Info(ctx)
}

// begin says from which sequence to read: from where it was, or, if that is too
// long ago, as many events as there is room for. l.mu is held.
func (f *follower) begin(s jetstream.Stream, info *jetstream.StreamInfo) (from uint64) {
	l := f.log
	l.renewed(epochOf(info))
	f.stream = s
	st := info.State
	l.first = max(st.FirstSeq, 1)
	next := l.past.last + 1
	from = l.first
	if most := uint64(l.past.most); st.LastSeq > most { //nolint:gosec // it is positive
		from = max(from, st.LastSeq-most+1)
	}
	switch {
	case l.past.last > st.LastSeq: // servers came back without what they had acknowledged
		l.past.begin(from - 1)
		l.dismiss()
	case next < from:
		if len(l.readers) > 0 && next < l.first {
			l.dismiss()
		} else if len(l.readers) > 0 {
			return next // nobody may miss anything
		}
		l.past.begin(from - 1)
	default:
		from = next
	}
	return from
}

// watchOver sees to it that the follower becomes ready, and stays well.
func (f *follower) watchOver(ctx context.Context, s jetstream.Stream, reading jetstream.ConsumeContext, trouble <-chan error) error {
	every := lookEvery
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reading.Closed():
			return errors.New("the consumer has ended")
		case err := <-trouble:
			return err
		case <-timer.C:
		}
		if every == tendEvery { // also adds copies that there was no server for
			if _, _, err := f.log.open(ctx); err != nil {
				return err
			}
		}
		info, err := f.info(ctx, s)
		if err != nil {
			return err
		}
		if !f.look(info) {
			return nil
		}
		if f.isReady() {
			every = tendEvery
		}
		timer.Reset(every)
	}
}

func (f *follower) isReady() (ready bool) {
	f.mine(func(*Log) { ready = f.ready })
	return ready
}

// look compares the follower with the stream. It reports whether they still
// belong together.
func (f *follower) look(info *jetstream.StreamInfo) (same bool) {
	st := info.State
	f.mine(func(l *Log) {
		same = epochOf(info) == l.epoch
		l.first = max(st.FirstSeq, 1)
		if !same || f.ready || (l.past.last < st.LastSeq && st.FirstSeq <= st.LastSeq) {
			return
		}
		if l.past.last < st.LastSeq { // what there was is too old
			l.past.begin(st.LastSeq)
		}
		f.ready = true
		for w := range l.waiting {
			l.admit(w)
		}
		clear(l.waiting)
	})
	return same
}

// take is given what is in the stream, in order.
func (f *follower) take(m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	e := f.log.event(m.Subject(), meta.Sequence.Stream, m.Headers(), m.Data(), meta.Timestamp)
	f.mine(func(l *Log) {
		if e.seq <= l.past.last {
			return // the consumer was made again
		}
		l.past.push(e)
		for w := range l.readers {
			if w.wants(e) {
				w.give(e)
			}
		}
	})
}
