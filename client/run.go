package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Close codes of docs/reference/wire.md that the client treats in their own way.
const (
	closeBye       = 1000
	closeGoing     = 1001
	closeProtocol  = 1002
	closeUnknown   = 1003
	closeNotUTF8   = 1007
	closeTooLarge  = 1009
	closeInternal  = 1011
	closeForGood   = 4100 // up to 4199: do not come back
	closeNoAuth    = 4101
	closeForbidden = 4102
	afterForGood   = 4200
)

// dropped is how a connection ended. It is an error within this package only.
type dropped struct {
	code   int // 0 if there was none
	reason string
	cause  error
}

func (d *dropped) Error() string {
	switch {
	case d.code != 0 && d.reason != "":
		return fmt.Sprintf("closed with code %d: %s", d.code, d.reason)
	case d.code != 0:
		return fmt.Sprintf("closed with code %d", d.code)
	case d.reason != "":
		return d.reason
	case d.cause != nil:
		return d.cause.Error()
	}
	return "connection lost"
}

func (d *dropped) Unwrap() error { return d.cause }

// final reports whether the close code says not to come back.
func (d *dropped) final() bool {
	switch d.code {
	case closeBye, closeProtocol, closeUnknown, closeNotUTF8, closeTooLarge:
		return true
	}
	return d.code >= closeForGood && d.code < afterForGood
}

// public is the error that calls on the lost connection end with.
func (d *dropped) public() *message.Error {
	code, hint := message.CodeConnectionLost, "The call may have been executed; repeat it only if that does no harm, or make it WithIdempotent."
	switch d.code {
	case closeNoAuth:
		code, hint = message.CodeUnauthenticated, "Connect with credentials that the node knows."
	case closeForbidden:
		code, hint = message.CodeForbidden, "Ask the owner of the node for permission to connect."
	}
	text := "the connection to the node was lost"
	if d.code != 0 || d.reason != "" {
		text += ": " + d.Error()
	}
	e := message.NewError(code, text, hint)
	e.Cause = d
	return e
}

// visit is one attempt to connect somewhere, and what became of it.
type visit struct {
	at        *place
	connected bool
	moving    bool // the node drains; the connection goes on until its answers are in
	lasted    time.Duration
	err       error // why it ended; nil if moving
}

// run connects, and connects again, until ctx ends or there is no use in it.
func (c *Client) run(ctx context.Context) {
	at, hop := c.roster.next()
	for try := 0; ; {
		v := c.visit(ctx, at, hop)
		if ctx.Err() != nil || c.ended() {
			return
		}
		if v.connected {
			c.roster.left(at, v.good())
		}
		if v.lasted >= stable {
			try = 0
		}
		wait, again := c.verdict(&v, try)
		if !again {
			if c.decide(v.err) {
				return // Dial ends the client
			}
			c.giveUp(at, v.err)
			return
		}
		if at, hop = c.roster.next(); hop {
			wait = 0
		} else {
			try++
			if c.decide(v.err) {
				return
			}
		}
		c.note(&v, wait)
		if !pause(ctx, wait) {
			return
		}
	}
}

// decide tells Dial how the first attempt ended, if that was it, and reports
// whether it is the end of the client. Only run and visit call it.
func (c *Client) decide(err error) bool {
	if c.decided {
		return false
	}
	c.decided = true
	c.begun <- err
	return err != nil && !c.cfg.lazy
}

// visit connects at a place and stays until the connection ends, or new
// messages had better go elsewhere.
func (c *Client) visit(ctx context.Context, at *place, hop bool) visit {
	c.become(Connecting)
	v := visit{at: at}
	dialCtx, cancel := ctx, func() {}
	if hop && c.stats.connects.Load() > 0 {
		dialCtx, cancel = context.WithTimeout(ctx, hopTimeout)
	}
	tr, hello, err := c.cfg.dial(dialCtx, at)
	cancel()
	var cn *conn
	var g *greeting
	if err == nil {
		g, err = c.greet(ctx, tr)
	}
	if err == nil {
		cn, err = c.online(ctx, at, tr, hello, g)
	}
	if err != nil {
		v.err = err
		return v
	}
	_ = c.decide(nil)
	v.connected = true
	began := time.Now()
	if !c.lane.Go("client.conn", func(ctx context.Context) { cn.ended <- c.attach(ctx, cn) }) {
		cn.ended <- c.attach(ctx, cn) // the client is being closed: this is short
	}
	select {
	case v.err = <-cn.ended:
	case <-cn.moved:
		v.moving = true
	}
	v.lasted = time.Since(began)
	return v
}

// good reports whether a connection was as it should be.
func (v *visit) good() bool {
	d := new(dropped)
	asked := v.moving || errors.As(v.err, &d) && d.code == closeGoing
	return v.lasted >= stable || asked && v.lasted > time.Second
}

// note says, for all to see, that there is no connection and when there will be
// another try.
func (c *Client) note(v *visit, wait time.Duration) {
	c.mu.Lock()
	if v.err != nil {
		c.last = message.AsError(v.err)
	}
	c.mu.Unlock()
	c.become(Offline)
	if v.moving {
		c.log.Info("the node drains", "url", shown(v.at.url))
		return
	}
	c.log.Info("not connected", "url", shown(v.at.url), "err", v.err, "retry", wait)
}

// ended reports whether Close or Dial has ended the client.
func (c *Client) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.shut != nil
}

// verdict decides whether to try again, and when if that is not at a place that
// was not tried yet.
func (c *Client) verdict(v *visit, try int) (wait time.Duration, again bool) {
	var lowest time.Duration
	// What a node says at a place that we were only told of is no verdict: the
	// program did not choose it.
	mayEnd := v.connected || v.at.given
	if d := new(dropped); errors.As(v.err, &d) {
		switch {
		case d.final() && mayEnd:
			return 0, false
		case d.code == closeGoing && v.lasted > time.Second:
			return 0, true
		case d.code == closeInternal:
			lowest = time.Second // a bug does not go away in a moment
		}
	} else if e := message.AsError(v.err); e != nil && e.Remote() {
		refused := e.Code == message.CodeUnauthenticated || e.Code == message.CodeForbidden || e.Code == message.CodeBadMessage
		if refused && mayEnd {
			return 0, false
		}
		lowest = e.RetryAfter
	}
	return lowest + backoff(try, c.cfg.minBackoff, c.cfg.maxBackoff), true
}

// backoff is exponential with full jitter, so that the clients of a node that
// went away do not come back all at once.
func backoff(try int, lowest, highest time.Duration) time.Duration {
	limit := highest
	if try < 32 && lowest<<try > 0 {
		limit = min(lowest<<try, highest)
	}
	return time.Duration(rand.Int64N(int64(limit) + 1)) //nolint:gosec // jitter is no secret
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// giveUp ends the client because the node at a place does not want it back.
func (c *Client) giveUp(at *place, err error) {
	e := message.AsError(err)
	if d := new(dropped); errors.As(err, &d) {
		e = d.public()
	}
	c.mu.Lock()
	c.last = e
	c.mu.Unlock()
	c.log.Warn("the connection is over and the node said not to come back", "url", shown(at.url), "err", e)
	c.shutdown(e)
}

// become says what the client is doing about a connection. While one drains
// that is what counts.
func (c *Client) become(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doing = s
	if c.conn == nil {
		c.setState(s)
	}
}

// welcome is the body of the node's first message.
type welcome struct {
	ID   string `json:"id"`
	Node struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"node"`
	Limits struct {
		Frame int `json:"frame"`
		Calls int `json:"calls"`
	} `json:"limits"`
	Nodes []nodeRef `json:"nodes"` // nil if it says nothing of them
}

// readWelcome reads the first frame of a connection.
func readWelcome(frame []byte, asJSON bool) (*welcome, error) {
	var m message.Message
	if err := decoder(asJSON)(frame, &m); err != nil {
		return nil, fmt.Errorf("read the welcome: %w", err)
	}
	if m.EffectiveVerb() != message.VerbWelcome {
		return nil, fmt.Errorf("the node's first message is %s, not welcome", m.EffectiveVerb())
	}
	return parseWelcome(m.Body)
}

func parseWelcome(body []byte) (*welcome, error) {
	w := new(welcome)
	if err := json.Unmarshal(body, w); err != nil {
		return nil, fmt.Errorf("read the welcome: %w", err)
	}
	if w.ID == "" {
		return nil, errors.New("the welcome has no client id")
	}
	return w, nil
}

func decoder(asJSON bool) func([]byte, *message.Message) error {
	if asJSON {
		return message.DecodeJSON
	}
	return message.DecodeSplit
}
