package edge

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// open returns an open connection whose frames stay pending.
func openBare(t *testing.T, limits Limits) *Conn {
	t.Helper()
	c, _ := bare(t, &log{}, false, limits)
	c.state.Store(uint32(stateOpen))
	c.mu.Lock()
	c.writing = true
	c.mu.Unlock()
	return c
}

func frameOf(n int) *Frame {
	f := NewFrame()
	f.Payload = append(f.Payload, make([]byte, n)...)
	return f
}

// An offer never costs the connection, and who waits for relief before the
// next try does not spin.
func TestLargeOffers(t *testing.T) {
	t.Parallel()
	const limit = 1000
	for _, tc := range []struct {
		name    string
		pending int
		offer   int
		taken   bool
	}{
		{"ok", 100, 100, true},
		{"nothing pending", 0, 10 * limit, true},
		{"little pending", limit/4 - 1, limit, true},
		{"it does not fit", limit / 4, limit, false},
		{"half is taken", limit / 2, 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := openBare(t, Limits{PendingBytes: limit})
			if tc.pending > 0 {
				if err := c.Send(frameOf(tc.pending)); err != nil {
					t.Fatal(err)
				}
			}
			err := c.Offer(frameOf(tc.offer))
			if (err == nil) != tc.taken || err != nil && message.CodeOf(err) != message.CodeOverloaded {
				t.Fatalf("Offer: %v", err)
			}
			if errors.Is(c.Send(frameOf(0)), ErrClosed) {
				t.Fatal("the offer closed the connection")
			}
			if tc.taken {
				return
			}
			select {
			case <-c.Relief():
				t.Error("there is relief although the offer was refused just now")
			default:
			}
		})
	}
}

// The time-out of a connection that nobody reads may have fired just before a
// poll began, and come to its turn after.
func TestLateTimerAndANewPoll(t *testing.T) {
	t.Parallel()
	c := openBare(t, Limits{})
	l := newHTTPLink(c)
	c.link = l
	c.transport.Store(uint32(viaPoll))
	l.startReading(nil)
	c.onTimer()
	c.srv.lane.Close() // what was asked of the owner is done
	if s := state(c.state.Load()); s != stateOpen {
		t.Errorf("the state is %d although there is a poll", s)
	}
}

// A message in very many fragments must not be copied for each of them, also
// when the limit is beyond what buffers are pooled for.
func TestManyFragmentsOfALargeMessage(t *testing.T) {
	t.Parallel()
	const piece, pieces = 1 << 10, 8 << 10
	h := &log{}
	c, _ := bare(t, h, false, Limits{Frame: piece * pieces})
	c.state.Store(uint32(stateOpen))
	grown := 0
	for i := range pieces {
		had := 0
		if c.whole != nil {
			had = cap(c.whole.b)
		}
		fh := header{op: opCont, fin: i == pieces-1}
		if i == 0 {
			fh.op = opBinary
		}
		c.dataFrame(&fh, bytes.Repeat([]byte{byte(i)}, piece))
		if c.whole != nil && cap(c.whole.b) != had {
			grown++
		}
	}
	if len(h.frames) != 1 || len(h.frames[0]) != piece*pieces {
		t.Fatalf("%d messages", len(h.frames))
	}
	if grown > 30 {
		t.Errorf("the buffer was made anew %d times", grown)
	}
}

// answerTo is a response that notes the deadlines of its writes.
type answerTo struct {
	*httptest.ResponseRecorder

	deadlines []time.Time
}

func (a *answerTo) SetWriteDeadline(at time.Time) error {
	a.deadlines = append(a.deadlines, at)
	return nil
}

// A stream whose connection has ended in order still has to write the end of
// its response; only a write that is stuck is cut.
func TestEndOfAStream(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		stuck bool
	}{
		{"ok", false},
		{"a write is stuck", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := openBare(t, Limits{})
			c.writing = tc.stuck
			l := newHTTPLink(c)
			c.link = l
			rw := &answerTo{ResponseRecorder: httptest.NewRecorder()}
			l.startReading(http.NewResponseController(rw))
			c.die(&CloseError{Code: CloseGoingAway})
			if (len(rw.deadlines) > 0) != tc.stuck {
				t.Errorf("deadlines of the response: %v", rw.deadlines)
			}
		})
	}
}
