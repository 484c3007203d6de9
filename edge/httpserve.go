package edge

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

const (
	httpPrefix = "/ropewalk/v1/"

	headerConnection = "Ropewalk-Connection"
	headerSeq        = "Ropewalk-Seq"
	headerBatch      = "Ropewalk-Batch"
	headerAck        = "Ropewalk-Ack"

	// bodyExtra is how much longer than one frame of the largest size a batch may be.
	bodyExtra = 1 << 20
)

// handler serves the HTTP transports, and leaves the rest to Config.HTTP.
func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", w.srv.cfg.HTTP)
	mux.HandleFunc(httpPrefix, func(rw http.ResponseWriter, _ *http.Request) {
		fail(rw, http.StatusNotFound, message.NewError(message.CodeNotFound,
			"there is no such request", "See docs/reference/wire.md, HTTP-stream and long-polling."))
	})
	for path, r := range map[string]struct {
		method string
		serve  func(http.ResponseWriter, *http.Request, *httpLink)
	}{
		"send":   {http.MethodPost, w.send},
		"stream": {http.MethodGet, w.stream},
		"poll":   {http.MethodPost, w.poll},
		"close":  {http.MethodPost, w.end},
	} {
		mux.HandleFunc(httpPrefix+path, w.guard(r.method, func(rw http.ResponseWriter, req *http.Request) {
			l, ok := w.find(req.Header.Get(headerConnection))
			switch {
			case !ok:
				fail(rw, http.StatusUnauthorized, message.NewError(message.CodeUnauthenticated,
					"the header "+headerConnection+" holds no token", "Put in the token that POST "+httpPrefix+"open gave."))
			case l == nil:
				fail(rw, http.StatusGone, errGone)
			default:
				r.serve(rw, req, l)
			}
		}))
	}
	mux.HandleFunc(httpPrefix+"open", w.guard(http.MethodPost, w.openLink))
	return mux
}

//nolint:gochecknoglobals // a constant in all but name
var errGone = message.NewError(message.CodeNoClient, "the connection is closed", "Open a new one.")

// fail answers with an error.
func fail(rw http.ResponseWriter, status int, err *message.Error) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_, _ = rw.Write(message.AppendError(nil, err))
}

// guard checks origin and method, and answers for CORS.
func (w *web) guard(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, req *http.Request) {
		if !w.begin() {
			fail(rw, http.StatusServiceUnavailable, errStopping)
			return
		}
		defer w.open.Done()
		lis, _ := req.Context().Value(listenerKey{}).(*listener)
		origin := req.Header.Get("Origin")
		h := rw.Header()
		h.Set("Cache-Control", "no-store")
		if origin != "" {
			h.Add("Vary", "Origin")
		}
		if !lis.originAllowed(origin, req.Host) {
			fail(rw, http.StatusForbidden, errOrigin)
			return
		}
		if origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", headerBatch)
		}
		switch req.Method {
		case method:
			next(rw, req)
		case http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", method)
			h.Set("Access-Control-Allow-Headers",
				"Content-Type, "+headerConnection+", "+headerSeq+", "+headerAck+", Authorization")
			h.Set("Access-Control-Max-Age", "86400")
			rw.WriteHeader(http.StatusNoContent)
		default:
			h.Set("Allow", method)
			fail(rw, http.StatusMethodNotAllowed, message.NewError(message.CodeUnimplemented,
				"this request wants the method "+method, "Use "+method+"."))
		}
	}
}

// openLink makes a connection.
func (w *web) openLink(rw http.ResponseWriter, req *http.Request) {
	s := w.srv
	lis, _ := req.Context().Value(listenerKey{}).(*listener)
	remote, _ := netip.ParseAddrPort(req.RemoteAddr)
	c := s.newConn(lis, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()))
	switch req.URL.Query().Get("framing") {
	case "split":
		c.framing = FramingSplit
	case "json":
		c.framing = FramingJSON
	default:
		s.metrics.refused(lis, http.StatusBadRequest)
		fail(rw, http.StatusBadRequest, message.NewError(message.CodeBadMessage,
			"the query names no framing", "Ask for "+httpPrefix+"open?framing=split, or json."))
		return
	}
	if admit := lis.cfg.Admit; admit != nil {
		h := &Handshake{Listener: lis.cfg.Name, Remote: c.addr, conn: c, http: req.Header, path: req.URL.RequestURI()}
		if refusal := admit(h); refusal != nil {
			err := message.AsError(refusal)
			s.metrics.refused(lis, err.Code.HTTPStatus())
			fail(rw, err.Code.HTTPStatus(), err)
			return
		}
	}
	if status, refusal := s.admit(c); refusal != nil {
		fail(rw, status, refusal)
		return
	}
	l := newHTTPLink(c)
	c.link = l
	c.gotClose = true // there is no close frame to wait for
	c.transport.Store(uint32(viaPoll))
	l.input.Lock()
	s.register(c)
	s.turn(func() { c.open(nil) })
	w.mu.Lock()
	w.links[c.id] = l
	w.mu.Unlock()
	c.settle()
	l.input.Unlock()
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(struct { //nolint:errchkjson // it is for a client that may have gone
		Connection  string `json:"connection"`
		PollSeconds int    `json:"pollSeconds"`
	}{l.token(), int((s.cfg.Limits.Poll + time.Second - 1) / time.Second)})
}

// send takes a batch from the client.
func (w *web) send(rw http.ResponseWriter, req *http.Request, l *httpLink) {
	n, err := strconv.ParseUint(req.Header.Get(headerSeq), 10, 64)
	if err != nil || n == 0 {
		fail(rw, http.StatusBadRequest, message.NewError(message.CodeBadMessage,
			"the header "+headerSeq+" is no number from 1 on", "Count the batches of the connection."))
		return
	}
	limit := w.srv.cfg.Limits.Frame
	body, err := io.ReadAll(http.MaxBytesReader(rw, req.Body, int64(limit)+bodyExtra))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		return // the client went away
	}
	if err == nil {
		err = checkBatch(body, limit, l.conn.framing == FramingJSON)
	}
	if err != nil {
		w.refuseBatch(rw, err)
		return
	}
	switch l.accept(n, body) {
	case http.StatusConflict:
		fail(rw, http.StatusConflict, message.NewError(message.CodeConflict,
			"a batch before this one is missing", "Send the batches again from the one that was not acknowledged."))
	case http.StatusGone:
		fail(rw, http.StatusGone, errGone)
	default:
		rw.WriteHeader(http.StatusNoContent)
	}
}

func (w *web) refuseBatch(rw http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errBatch), errors.Is(err, errBatchText):
		fail(rw, http.StatusBadRequest, message.NewError(message.CodeBadFrame, err.Error(),
			"Write the length of each frame in bytes, in decimal, and a line feed in front of it."))
	default:
		w.srv.metrics.hit(limitFrame)
		fail(rw, http.StatusRequestEntityTooLarge, message.NewError(message.CodeTooLarge,
			"the batch or a frame of it is larger than the node takes", "Send less at once; see limits.frame in the welcome."))
	}
}

// accept hands the frames of batch n to the Handler, unless it had them before.
func (l *httpLink) accept(n uint64, body []byte) (status int) {
	l.input.Lock()
	defer l.input.Unlock()
	c := l.conn
	switch {
	case n <= l.seq:
		return http.StatusNoContent
	case n > l.seq+1:
		return http.StatusConflict
	}
	l.seq = n
	frames := 0
	c.srv.turn(func() {
		for rest := body; len(rest) > 0; {
			var frame []byte
			frame, rest, _ = nextFrame(rest, c.srv.cfg.Limits.Frame) // checkBatch has been here
			if len(frame) == 0 || state(c.state.Load()) != stateOpen {
				continue
			}
			frames++
			if c.rate.spend(&c.srv.cfg.Limits, len(frame)) {
				c.srv.metrics.hit(limitRate)
				c.Close(CloseRateLimited, "more messages or bytes a second than the node takes")
				continue
			}
			c.srv.frame(c, frame)
		}
	})
	c.srv.metrics.received(frames, len(body))
	c.settle()
	if state(c.state.Load()) != stateOpen {
		return http.StatusGone
	}
	return http.StatusNoContent
}

// end closes the connection for the client.
func (w *web) end(rw http.ResponseWriter, _ *http.Request, l *httpLink) {
	l.conn.closeWith(&CloseError{Code: CloseNormal, Reason: "bye", Remote: true}, newClose(CloseNormal, ""))
	l.conn.doom(nil)
	rw.WriteHeader(http.StatusNoContent)
}
