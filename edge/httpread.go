package edge

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

//nolint:gochecknoglobals // a constant in all but name
var errReading = message.NewError(message.CodeConflict, "the connection is being streamed already",
	"Use one stream, or polls, at a time.")

// stream answers with a batch that never ends.
func (w *web) stream(rw http.ResponseWriter, req *http.Request, l *httpLink) {
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	default:
		fail(rw, http.StatusConflict, errReading)
		return
	}
	rc := http.NewResponseController(rw)
	l.become(viaStream)
	l.startReading(rc)
	defer l.stopReading()
	rw.Header().Set("Content-Type", ContentTypeBatch)
	rw.Header().Set("X-Accel-Buffering", "no") // nginx would collect it
	if firstError(l.writeAll(rw, rc), rc.Flush()) != nil {
		l.conn.doom(&CloseError{Code: CloseAbnormal, Reason: "the stream broke"})
		return
	}
	beat := time.NewTicker(w.srv.cfg.Limits.beat())
	defer beat.Stop()
	for !l.over() {
		var err error
		select {
		case <-req.Context().Done():
			err = req.Context().Err()
		case <-beat.C:
			err = l.writeBeat(rw, rc)
		case <-l.ready:
			err = l.writeAll(rw, rc)
		case <-l.gone:
		}
		if err != nil {
			l.conn.doom(&CloseError{Code: CloseAbnormal, Reason: "the stream broke", Cause: err})
			return
		}
	}
}

// writeBeat writes an empty frame.
func (l *httpLink) writeBeat(rw http.ResponseWriter, rc *http.ResponseController) error {
	l.writeDeadline(rc)
	l.setBeating(true)
	defer l.setBeating(false)
	_, err := rw.Write([]byte("0\n"))
	return firstError(err, rc.Flush())
}

func (l *httpLink) setBeating(on bool) {
	l.conn.mu.Lock()
	defer l.conn.mu.Unlock()
	l.beating = on
}

// writeAll writes what is pending.
func (l *httpLink) writeAll(rw http.ResponseWriter, rc *http.ResponseController) error {
	w, _ := scratchPool.Get().(*scratch)
	defer scratchPool.Put(w)
	for l.take(w) {
		l.writeDeadline(rc)
		wrote, err := rw.Write(w.buf)
		if err == nil && len(w.big) > 0 {
			var n int
			n, err = rw.Write(w.big)
			wrote += n
		}
		err = firstError(err, rc.Flush())
		l.conn.done(w, wrote, false, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// poll answers with the next batch, and waits for it a while.
func (w *web) poll(rw http.ResponseWriter, req *http.Request, l *httpLink) {
	ack, err := strconv.ParseUint(req.Header.Get(headerAck), 10, 64)
	if err != nil {
		fail(rw, http.StatusBadRequest, message.NewError(message.CodeBadMessage,
			"the header "+headerAck+" is no number", "Say 0 first, then the "+headerBatch+" of the last answer."))
		return
	}
	if !l.replaceReader(req) {
		fail(rw, http.StatusConflict, errReading)
		return
	}
	defer func() { <-l.reading }()
	l.become(viaPoll)
	l.startReading(nil)
	defer l.stopReading()
	switch {
	case ack == l.batch:
		l.unacked = nil
		if !l.fill(req) {
			fail(rw, http.StatusGone, errGone)
			return
		}
	case ack+1 == l.batch && l.unacked != nil: // the answer got lost
	default:
		fail(rw, http.StatusConflict, message.NewError(message.CodeConflict,
			"the header "+headerAck+" names a batch that is not the last", "Open a new connection."))
		return
	}
	l.writeDeadline(http.NewResponseController(rw))
	rw.Header().Set("Content-Type", ContentTypeBatch)
	rw.Header().Set(headerBatch, strconv.FormatUint(l.batch, 10))
	_, _ = rw.Write(l.unacked)
}

// replaceReader has a poll that waits give way: its client has given it up. It
// returns false if there is a stream.
func (l *httpLink) replaceReader(req *http.Request) bool {
	for !l.streamed() {
		select {
		case l.reading <- struct{}{}:
			return true
		case l.replace <- struct{}{}:
		case <-l.gone:
			// Nobody waits any more; reading is free in a moment.
			l.reading <- struct{}{}
			return true
		case <-req.Context().Done():
			return false
		case <-time.After(10 * time.Millisecond): // is it a stream that has begun?
		}
	}
	return false
}

// fill waits for something to send and makes it the next batch. It returns
// false when the connection is closed and everything was sent.
func (l *httpLink) fill(req *http.Request) bool {
	w, _ := scratchPool.Get().(*scratch)
	defer scratchPool.Put(w)
	timeout := time.NewTimer(l.conn.srv.cfg.Limits.Poll)
	defer timeout.Stop()
	for {
		if l.take(w) {
			l.unacked = append(append(make([]byte, 0, len(w.buf)+len(w.big)), w.buf...), w.big...)
			l.conn.done(w, len(l.unacked), false, nil)
			if len(l.unacked) > 0 {
				l.batch++
				return true
			}
			l.unacked = nil
		}
		if l.over() {
			return false
		}
		select {
		case <-l.ready:
		case <-timeout.C:
			return true
		case <-l.replace:
			return true
		case <-req.Context().Done():
			return true
		case <-l.gone:
			return false
		}
	}
}
