package mesh

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what goes over the links.
type metrics struct {
	registry   prometheus.Registerer
	all        []prometheus.Collector
	packetsIn  prometheus.Counter
	packetsOut prometheus.Counter
	bytesIn    prometheus.Counter
	bytesOut   prometheus.Counter
	messagesIn prometheus.Counter

	messagesOut prometheus.Counter
	resent      prometheus.Counter
	unsent      prometheus.Counter
	malformed   prometheus.Counter
	packetsLine prometheus.Counter
	linesLost   prometheus.Counter
	linesFailed prometheus.Counter
	linesRefuse prometheus.Counter
	lost        *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, mesh *Mesh) *metrics {
	m := &metrics{registry: r}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ropewalk", Subsystem: "mesh", Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	m.packetsIn = counter("packets_received_total", "Packets received from other nodes.")
	m.packetsOut = counter("packets_sent_total", "Packets sent to other nodes.")
	m.bytesIn = counter("bytes_received_total", "Bytes received from other nodes.")
	m.bytesOut = counter("bytes_sent_total", "Bytes sent to other nodes.")
	m.messagesIn = counter("messages_received_total", "Messages received from other nodes.")
	m.messagesOut = counter("messages_sent_total", "Messages queued for other nodes.")
	m.resent = counter("packets_resent_total", "Packets sent again because they were not acknowledged.")
	m.unsent = counter("packets_unsent_total", "Packets that the backplane did not take; they are sent again.")
	m.packetsLine = counter("packets_line_total", "Packets and cards that went to other nodes over a direct line.")
	m.linesLost = counter("lines_lost_total", "Direct lines to other nodes that broke or were given up while the nodes were in reach.")
	m.linesFailed = counter("lines_failed_total", "Attempts to make a direct line to another node that failed.")
	m.linesRefuse = counter("lines_refused_total", "Connections for a direct line whose other end was refused: it has another secret, or is no node.")
	m.malformed = counter("packets_malformed_total", "Packets or frames that could not be read.")
	m.lost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "ropewalk", Subsystem: "mesh", Name: "links_lost_total", Help: "Links to other nodes that ended, by reason.",
	}, []string{"reason"})
	m.all = append(m.all, m.lost)
	gauge := func(name, help string, f func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "ropewalk", Subsystem: "mesh", Name: name, Help: help,
		}, f))
	}
	gauge("nodes", "Nodes of the mesh that this one reaches, itself included.", func() float64 { return float64(mesh.count(false)) })
	gauge("nodes_lost", "Nodes that are lost and not yet forgotten.", func() float64 { return float64(mesh.count(true)) })
	gauge("lines", "Direct lines to other nodes.", mesh.countLines)
	gauge("pending_bytes", "Bytes that wait to be sent to other nodes, or to be acknowledged.", mesh.allPending)
	if r != nil {
		for _, c := range m.all {
			_ = r.Register(c)
		}
	}
	return m
}

// unregister makes room for another mesh on the same registry.
func (m *metrics) unregister() {
	if m.registry == nil {
		return
	}
	for _, c := range m.all {
		m.registry.Unregister(c)
	}
}

// count counts this node and those with a link, or those that are lost.
func (m *Mesh) count(lost bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, mem := range m.members {
		if (mem.link == nil) == lost {
			n++
		}
	}
	if !lost {
		n++
	}
	return n
}

func (m *Mesh) countLines() float64 {
	sum := 0
	for _, n := range m.links(false) {
		if n.line.Load() != nil {
			sum++
		}
	}
	return float64(sum)
}

func (m *Mesh) allPending() float64 {
	sum := 0
	for _, n := range m.links(false) {
		n.mu.Lock()
		sum += n.out.bytes
		n.mu.Unlock()
	}
	return float64(sum)
}
