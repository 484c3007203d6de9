package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

const (
	// sendTries is how often a batch is sent when the request fails: each time
	// under the same number, so that the node takes it once.
	sendTries = 3
	// sendTimeout bounds one such request.
	sendTimeout = 20 * time.Second
	// maxPost is how many bytes several frames together may have in one request;
	// a node takes more than its limit for one frame, but not much.
	maxPost = 256 << 10
	// farewell bounds the request that closes a connection.
	farewell = 2 * time.Second
	// defaultPoll is used when the node does not say how long it lets a poll wait.
	defaultPoll = 25 * time.Second
	// maxBatch is how many of the largest frames may come by one poll.
	maxBatch = 4
	// pollGrace is what a poll may take longer than the node lets it wait.
	pollGrace = 10 * time.Second
)

// httpTransport is a connection by requests: a POST for each batch to the
// node, and a response that never ends, or one poll after the other, for what
// comes back.
type httpTransport struct {
	kind   string // stream or poll
	base   *url.URL
	client *http.Client
	header http.Header
	limit  int
	wait   time.Duration // of a poll

	ctx    context.Context //nolint:containedctx // the connection's life: kill ends it
	cancel context.CancelFunc
	last   atomic.Int64

	in    *batchReader // what is being read; nil before the first
	body  io.Closer
	acked uint64 // the last batch that a poll brought

	seq uint64 // of the last batch sent
	out []byte
}

// openHTTP makes a connection; for a stream it also starts the response.
func openHTTP(ctx context.Context, u *url.URL, cfg *config, kind string) (transport, error) {
	t := &httpTransport{
		kind:   kind,
		base:   &url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host, Path: "/ropewalk/v1/"},
		client: httpClient(cfg),
		header: http.Header{},
		limit:  cfg.readLimit,
	}
	if cfg.header != nil {
		t.header = cfg.header.Clone()
	}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.hear()
	if err := t.open(ctx, cfg.json); err != nil {
		t.kill()
		return nil, err
	}
	return t, nil
}

func (t *httpTransport) open(ctx context.Context, asJSON bool) error {
	framing := "split"
	if asJSON {
		framing = "json"
	}
	res, err := t.request(ctx, http.MethodPost, "open?framing="+framing, nil, nil)
	if err != nil {
		return err
	}
	defer drainBody(res)
	if res.StatusCode != http.StatusOK {
		return problem(res)
	}
	var opened struct {
		Connection  string  `json:"connection"`
		PollSeconds float64 `json:"pollSeconds"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxRefusal)).Decode(&opened); err != nil || opened.Connection == "" {
		return &status{res.StatusCode}
	}
	t.header.Set("Ropewalk-Connection", opened.Connection)
	t.wait = time.Duration(opened.PollSeconds * float64(time.Second))
	if t.wait <= 0 {
		t.wait = defaultPoll
	}
	return nil
}

// request sends one request; the response ends with ctx.
func (t *httpTransport) request(ctx context.Context, method, path string, header http.Header, body []byte) (*http.Response, error) {
	ref, err := t.base.Parse(path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, ref.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, t.header)
	maps.Copy(req.Header, header)
	if body != nil {
		req.Header.Set("Content-Type", contentBatch)
	}
	return t.client.Do(req)
}

// problem makes an error of a response that is not what was hoped for.
func problem(res *http.Response) error {
	var err error = &status{res.StatusCode}
	if e := refusal(res); e != nil {
		err = e
	}
	if res.StatusCode == http.StatusGone {
		return &dropped{reason: "the node closed the connection", cause: err}
	}
	return err
}

// drainBody lets the connection below be used again.
func drainBody(res *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxRefusal))
	_ = res.Body.Close()
}

func (t *httpTransport) hear()            { t.last.Store(time.Now().UnixNano()) }
func (t *httpTransport) name() string     { return t.kind }
func (t *httpTransport) heard() time.Time { return time.Unix(0, t.last.Load()) }

func (t *httpTransport) read() ([]byte, error) {
	for {
		if t.in == nil {
			if err := t.nextAgain(); err != nil {
				return nil, lost(err)
			}
		}
		frame, err := t.in.next()
		switch {
		case err == nil && len(frame) > 0:
			t.hear()
			return frame, nil
		case err == nil:
			t.hear()
		case errors.Is(err, io.EOF) && t.kind == transportPoll:
			_ = t.body.Close()
			t.in = nil
		default:
			_ = t.body.Close()
			return nil, &dropped{cause: err}
		}
	}
}

// lost makes an error the end of a connection. Whether to come back the next
// open tells: there is no close code by HTTP.
func lost(err error) error {
	if d := new(dropped); errors.As(err, &d) {
		return err
	}
	return &dropped{cause: err}
}

// nextAgain is next, which for polls may be tried again: the node sends a
// batch until it is acknowledged.
func (t *httpTransport) nextAgain() error {
	for try := 1; ; try++ {
		err := t.next()
		if err == nil || t.kind != transportPoll || try == sendTries || message.FromPeer(err) {
			return err
		}
		if d := new(dropped); errors.As(err, &d) || !pause(t.ctx, backoff(try, DefaultMinBackoff, time.Second)) {
			return err
		}
	}
}

// next starts the stream, or polls once.
func (t *httpTransport) next() error {
	ctx, method, path, header := t.ctx, http.MethodGet, "stream", http.Header(nil)
	if t.kind == transportPoll {
		method, path = http.MethodPost, "poll"
		header = http.Header{"Ropewalk-Ack": {strconv.FormatUint(t.acked, 10)}}
		// The body is small and at hand when the header is, so one bound does
		// for both; it is released when the body has been read.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.wait+pollGrace)
		defer cancel()
	}
	res, err := t.request(ctx, method, path, header, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		defer drainBody(res)
		return problem(res)
	}
	t.hear()
	if t.kind == transportStream {
		t.in, t.body = newBatchReader(res.Body, t.limit), res.Body
		return nil
	}
	defer drainBody(res)
	// Acknowledge only what is here whole: a poll that breaks off is repeated.
	batch, err := io.ReadAll(io.LimitReader(res.Body, maxBatch*int64(t.limit)))
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(res.Header.Get("Ropewalk-Batch"), 10, 64)
	if err != nil {
		return fmt.Errorf("read the number of a batch: %w", err)
	}
	if n == t.acked {
		batch = nil // it is the one that we have
	}
	t.acked = n
	t.in, t.body = newBatchReader(bytes.NewReader(batch), t.limit), io.NopCloser(nil)
	return nil
}

func (t *httpTransport) write(frames [][]byte) (int, error) {
	if cap(t.out) > keepBuffer {
		t.out = nil
	}
	t.out = t.out[:0]
	for i, f := range frames {
		t.out = appendBatch(t.out, f)
		if i+1 < len(frames) && len(t.out)+len(frames[i+1]) <= maxPost {
			continue
		}
		if err := t.deliver(); err != nil {
			return i + 1, lost(err)
		}
		t.out = t.out[:0]
	}
	return len(frames), nil
}

// deliver sends the batch at hand, again if need be.
func (t *httpTransport) deliver() error {
	t.seq++
	var err error
	for try := range sendTries {
		if try > 0 && !pause(t.ctx, backoff(try, DefaultMinBackoff, time.Second)) {
			break
		}
		var again bool
		if again, err = t.post(); err == nil || !again {
			break
		}
	}
	return err
}

// post sends the batch at hand; again says whether it is worth another try.
func (t *httpTransport) post() (again bool, err error) {
	ctx, cancel := context.WithTimeout(t.ctx, sendTimeout)
	defer cancel()
	header := http.Header{"Ropewalk-Seq": {strconv.FormatUint(t.seq, 10)}}
	res, err := t.request(ctx, http.MethodPost, "send", header, t.out)
	if err != nil {
		return true, err
	}
	defer drainBody(res)
	switch {
	case res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusOK:
		return false, nil
	case res.StatusCode >= http.StatusInternalServerError:
		return true, problem(res)
	}
	return false, problem(res)
}

// ping implements transport. There is no ping by HTTP: a node that is there
// sends signs of life on a stream and answers polls.
func (t *httpTransport) ping(context.Context) error {
	return errors.New("the node has been silent for too long")
}

func (t *httpTransport) close(int, string) {
	ctx, cancel := context.WithTimeout(t.ctx, farewell)
	defer cancel()
	if res, err := t.request(ctx, http.MethodPost, "close", nil, nil); err == nil {
		drainBody(res)
	}
	t.kill()
}

func (t *httpTransport) kill() {
	t.cancel()
	t.client.CloseIdleConnections()
}
