package edge

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// limit is one of the bounds that an other end can run into.
type limit uint8

const (
	limitConnections limit = iota
	limitPerIP
	limitHandshakeBytes
	limitHandshakeTime
	limitFrame
	limitRate
	limitSlowConsumer
	limitRejected
	limitPing
	limitIdle
	limitUnread
	limitAccept
	limits
)

func (l limit) String() string {
	return [limits]string{
		"connections", "per_ip", "handshake_bytes", "handshake_time", "frame", "rate",
		"slow_consumer", "pending", "ping", "idle", "unread", "accept",
	}[l]
}

// Metrics of one [Server]. What is counted once a message are plain atomics
// that the registry reads; labels are looked up once a connection at most.
type Metrics struct {
	framesIn, framesOut, bytesIn, bytesOut atomic.Uint64
	hits                                   [limits]atomic.Uint64

	open    *prometheus.GaugeVec
	opens   *prometheus.CounterVec
	closes  *prometheus.CounterVec
	refusal *prometheus.CounterVec
}

// NewMetrics makes metrics on a registry; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ropewalk_edge_connections",
			Help: "Connections that are open.",
		}, []string{"listener", "transport"}),
		opens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_edge_connections_opened_total",
			Help: "Connections that were opened.",
		}, []string{"listener", "transport"}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_edge_connections_closed_total",
			Help: "Connections that were closed, by close code; other for codes of the clients' own.",
		}, []string{"code"}),
		refusal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ropewalk_edge_handshakes_refused_total",
			Help: "Connections that were refused, by listener and HTTP status.",
		}, []string{"listener", "status"}),
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.open, m.opens, m.closes, m.refusal)
	counter := func(name, help string, labels prometheus.Labels, v *atomic.Uint64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(v.Load()) }))
	}
	counter("ropewalk_edge_frames_received_total", "Message frames received.", nil, &m.framesIn)
	counter("ropewalk_edge_frames_sent_total", "Message frames sent.", nil, &m.framesOut)
	counter("ropewalk_edge_received_bytes_total", "Bytes of frames received, as on the wire.", nil, &m.bytesIn)
	counter("ropewalk_edge_sent_bytes_total", "Bytes of frames sent, as on the wire.", nil, &m.bytesOut)
	for l := range limits {
		counter("ropewalk_edge_limit_hits_total", "How often a limit was hit.",
			prometheus.Labels{"limit": l.String()}, &m.hits[l])
	}
	return m
}

func (m *Metrics) hit(l limit) { m.hits[l].Add(1) }

func (m *Metrics) received(frames, bytes int) {
	if frames > 0 {
		m.framesIn.Add(uint64(frames)) //nolint:gosec // not negative
	}
	if bytes > 0 {
		m.bytesIn.Add(uint64(bytes)) //nolint:gosec // not negative
	}
}

func (m *Metrics) sent(frames, bytes int) {
	if frames > 0 {
		m.framesOut.Add(uint64(frames)) //nolint:gosec // not negative
	}
	if bytes > 0 {
		m.bytesOut.Add(uint64(bytes)) //nolint:gosec // not negative
	}
}

func (m *Metrics) opened(c *Conn) {
	c.lis.open[c.via()].Inc()
	c.lis.opens[c.via()].Inc()
}

func (m *Metrics) closed(c *Conn) {
	c.lis.open[c.via()].Dec()
	m.closes.WithLabelValues(codeLabel(c.end.Code)).Inc()
}

func (m *Metrics) violated(code CloseCode) {
	if code == CloseTooLarge {
		m.hit(limitFrame)
	}
}

func (m *Metrics) refused(l *listener, status int) {
	m.refusal.WithLabelValues(l.cfg.Name, strconv.Itoa(status)).Inc()
}

// codeLabel bounds the number of label values: the other end chooses the code.
func codeLabel(c CloseCode) string {
	if c >= 1000 && c <= CloseInternal || c >= ClosePing && c <= CloseReplaced ||
		c >= CloseBadMessages && c <= CloseForbidden {
		return strconv.Itoa(int(c))
	}
	return "other"
}
