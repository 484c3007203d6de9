package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// maxAnswer is how much of an answer is read, in bytes: enough to say what
	// is wrong.
	maxAnswer = 4 << 10
	// firstWait and maxWait are the times between tries, as the OTLP
	// specification's exporters have them; a collector that restarts is back
	// within.
	firstWait = 500 * time.Millisecond
	maxWait   = 10 * time.Second
)

// poster posts spans to a collector as OTLP over HTTP in protobuf. It
// implements otlptrace.Client. It is our own because the one of OpenTelemetry
// brings gRPC along, which is a tenth of the program.
type poster struct {
	url     string
	headers map[string]string
	http    *http.Client
	timeout time.Duration // of one batch, all tries included
	log     *slog.Logger
	stop    context.CancelCauseFunc
	stopped context.Context //nolint:containedctx // the life of the poster
}

var errStopped = errors.New("the exporter was stopped")

func newPoster(u *url.URL, cfg *Config) *poster {
	transport, ok := http.DefaultTransport.(*http.Transport)
	if ok {
		transport = transport.Clone() // so that its connections end with the poster
	} else {
		transport = new(http.Transport)
	}
	p := &poster{
		url: u.String(), headers: cfg.Headers, timeout: cfg.Timeout, log: cfg.Logger,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // headers are for nobody else
		}},
	}
	if p.timeout <= 0 {
		p.timeout = DefaultTimeout
	}
	p.stopped, p.stop = context.WithCancelCause(context.Background())
	return p
}

// Start implements otlptrace.Client. It does not connect.
func (*poster) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client. It ends what is on its way.
func (p *poster) Stop(context.Context) error {
	p.stop(errStopped)
	p.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It returns when the collector has
// the spans, has refused them, or the time is over; it may be called
// concurrently. With a logger the failure is logged and not returned: the
// caller would hand it to a handler that the whole process shares.
func (p *poster) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	defer context.AfterFunc(p.stopped, cancel)()
	// TracesData has the wire form of an ExportTraceServiceRequest, whose
	// package would bring gRPC.
	raw, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	body, err := zip(raw)
	if err != nil {
		return fmt.Errorf("compress spans: %w", err)
	}
	err = p.deliver(ctx, body)
	if err == nil || p.log == nil {
		return err
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "traces are lost: check trace.endpoint and that the collector runs",
		slog.String("err", err.Error()))
	return nil
}

func zip(raw []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// deliver posts until the collector has taken or refused the body, or ctx ends.
func (p *poster) deliver(ctx context.Context, body []byte) error {
	wait := firstWait
	for {
		again, after, err := p.post(ctx, body)
		if err == nil || !again {
			return err
		}
		// Half of the wait is by chance, so that nodes do not come together.
		pause := max(after, wait/2+rand.N(wait/2+1)) //nolint:gosec // not a secret
		if end, ok := ctx.Deadline(); ok && time.Until(end) < pause {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		wait = min(2*wait, maxWait)
	}
}

// post tries once. again tells whether to try once more, after how long.
func (p *poster) post(ctx context.Context, body []byte) (again bool, after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, 0, bare(err)
	}
	for name, value := range p.headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "ropewalk")
	res, err := p.http.Do(req)
	if err != nil {
		return ctx.Err() == nil, 0, fmt.Errorf("post spans: %w", bare(err))
	}
	defer func() { _ = res.Body.Close() }()
	// What is read to its end lets the connection be used again.
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return false, 0, nil
	}
	err = fmt.Errorf("the collector answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	if text := strings.TrimSpace(string(said)); text != "" && strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		err = fmt.Errorf("%w: %.200q", err, text)
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, retryAfter(res.Header.Get("Retry-After"), time.Now()), err
	}
	return false, 0, err
}

// bare is an error of an HTTP client without the URL, which may hold a
// password.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// maxRetryAfter keeps what a collector says within what can be added up.
const maxRetryAfter = time.Hour

// retryAfter reads a header that is a number of seconds or a date; 0 if it is
// neither.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
