//go:build linux

package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/bench/internal/hist"
	"github.com/ropewalk/ropewalk/bench/internal/ws"
)

// QueryRows is how many rows the table of mode query has. Row i is of group i
// modulo the number of groups; the content of a group begins with the row that
// was written last, whose v is the number of that write.
const QueryRows = 100_000

var (
	errContent = errors.New("content is not one that this connection can be given")
	errMetrics = errors.New("the node does not say how many contents it computed")
)

// queries are the topics of mode query: one for each group of the table.
type queries struct {
	*rope

	groups int
}

func (q *queries) watch(dst []byte, topic int, _ position) []byte {
	q.seq++
	q.msg = fmt.Appendf(q.msg[:0], `{"vrb":"subscribe","to":"%s/rows.sql","mid":"%d"}`+"\n"+`{"params":{"grp":%d}}`, q.to, q.seq, topic)
	return ws.AppendMasked(dst, ws.Binary, maskKey, q.msg)
}

// publish writes to a row of group topic.
func (q *queries) publish(dst []byte, topic, i int, _ time.Duration) []byte {
	q.seq++
	id := scatter(i)%(QueryRows/q.groups)*q.groups + topic
	q.msg = fmt.Appendf(q.msg[:0], `{"vrb":"publish","to":"%s/set.sql","mid":"%d"}`+"\n"+`{"id":%d,"v":%d}`, q.to, q.seq, id, i)
	return ws.AppendMasked(dst, ws.Binary, maskKey, q.msg)
}

// group is what was written to a group last.
type group struct {
	v    int
	at   time.Duration
	left int // watchers that have not got it
}

// write writes to the next group.
func (e *engine) write() error {
	f := &e.feed
	f.next++
	n := f.next % e.cfg.Topics
	g := &f.groups[n]
	if g.left == 0 {
		f.under++
	}
	*g = group{v: f.next, at: e.clock(), left: e.cfg.Conns / e.cfg.Topics}
	e.back = f.to.publish(e.back[:0], n, f.next, g.at)
	return e.flush(&e.conns[e.cfg.Conns], e.back)
}

// changed takes a content. A watcher may be spared some, but never goes back.
func (e *engine) changed(c *conn, body []byte) error {
	_, rest, _ := bytes.Cut(body, []byte(`"v":`))
	number, _, _ := bytes.Cut(rest, []byte{','})
	v, err := strconv.Atoi(string(number))
	n := e.index(c) % e.cfg.Topics
	if err != nil || v < c.heard || v > e.feed.next {
		return fmt.Errorf("%w: group %d after %d: %s", errContent, n, c.heard, body)
	}
	g := &e.feed.groups[n]
	news := v > c.heard
	c.heard = v
	if !news || v != g.v || g.left == 0 {
		return nil
	}
	if g.left--; g.left == 0 {
		e.feed.under--
		e.hist.Add(e.now - g.at)
	}
	return nil
}

// runQuery measures how long it takes from a write until all who watch what it
// changes have it, or, without Every, what becomes of many writes at once.
func (e *engine) runQuery(res *Result) error {
	if e.cfg.Topics < 1 || e.cfg.Conns%e.cfg.Topics != 0 || QueryRows%e.cfg.Topics != 0 {
		return fmt.Errorf("%w: %d groups of %d watchers", ErrConfig, e.cfg.Topics, e.cfg.Conns)
	}
	if err := e.begin(res); err != nil {
		return err
	}
	e.feed.groups = make([]group, e.cfg.Topics)
	if err := e.openAll(); err != nil {
		return err
	}
	if err := e.writes(e.cfg.Warm); err != nil {
		return err
	}
	before, err := e.computed()
	if err != nil {
		return err
	}
	from, err := e.snap()
	if err != nil {
		return err
	}
	e.hist = hist.Hist{}
	if e.cfg.Every > 0 {
		err = e.writes(e.cfg.For)
	} else {
		err = e.burst(res)
	}
	if err == nil {
		err = e.fill(res, from)
	}
	if err != nil {
		return err
	}
	if e.cfg.Every == 0 {
		res.share(uint64(e.cfg.Burst))
	}
	after, err := e.computed()
	res.Runs = after - before
	return err
}

// share says that what was measured is of n.
func (r *Result) share(n uint64) {
	for _, each := range []*float64{&r.Server, &r.Own} {
		*each *= float64(r.Count) / float64(n)
	}
	r.Count, r.Rate = n, float64(n)/r.Seconds
}

// right tells whether all watchers have what was written last.
func (e *engine) right() bool { return e.feed.under == 0 }

// writes changes one row after another, and ends when all have all.
func (e *engine) writes(d time.Duration) error {
	every := max(e.cfg.Every, time.Millisecond)
	for at, end := e.clock(), e.clock()+d; at < end; {
		if err := e.write(); err != nil {
			return err
		}
		at += every
		if err := e.spin(at-e.clock(), never); err != nil {
			return err
		}
	}
	return e.settled()
}

func (e *engine) settled() error {
	if err := e.spin(stuck, e.right); err != nil {
		return err
	}
	if !e.right() {
		return fmt.Errorf("%w: %d groups have not got what was written last", ErrStuck, e.feed.under)
	}
	return nil
}

// burst makes many writes, some under way at a time. The latency is that from
// the last one's answer until all have all.
func (e *engine) burst(res *Result) error {
	res.InFlight = e.cfg.InFlight
	f := &e.feed
	first := f.agreed
	for made := 0; f.agreed-first < e.cfg.Burst; {
		for ; made < e.cfg.Burst && made-(f.agreed-first) < e.cfg.InFlight; made++ {
			if err := e.write(); err != nil {
				return err
			}
		}
		had := f.agreed
		if err := e.spin(stuck, func() bool { return f.agreed > had }); err != nil {
			return err
		}
		if f.agreed == had {
			return ErrStuck
		}
	}
	last := e.clock()
	if err := e.settled(); err != nil {
		return err
	}
	e.hist = hist.Hist{}
	e.hist.Add(e.clock() - last)
	return nil
}

// computed asks the node how many contents of queries it has computed.
func (e *engine) computed() (uint64, error) {
	resp, err := http.Get("http://" + e.cfg.Addr.String() + "/metrics") //nolint:noctx // our own server
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	defer http.DefaultClient.CloseIdleConnections()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), `ropewalk_content_runs_total{scheme="query"} `); ok {
			runs, err := strconv.ParseFloat(n, 64)
			return uint64(runs), err
		}
	}
	return 0, errors.Join(errMetrics, lines.Err())
}
