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

// run connects, and connects again, until ctx ends or there is no use in it.
func (c *Client) run(ctx context.Context) {
	first := true
	for try := 0; ; try++ {
		c.become(Connecting)
		began := time.Now()
		tr, hello, err := c.cfg.dial(ctx)
		var cn *conn
		if err == nil {
			cn, err = c.online(ctx, tr, hello)
		}
		if first {
			first = false
			c.begun <- err
			if err != nil && !c.cfg.lazy {
				return // Dial ends the client
			}
		}
		if cn != nil {
			began = time.Now()
			err = c.attach(ctx, cn)
		}
		lasted := time.Since(began)
		if ctx.Err() != nil || c.ended() {
			return
		}
		if cn != nil && lasted >= stable {
			try = 0
		}
		wait, again := c.verdict(err, try, lasted)
		if !again {
			c.giveUp(err)
			return
		}
		c.mu.Lock()
		c.last = message.AsError(err)
		c.setState(Offline)
		c.mu.Unlock()
		c.log.Info("not connected", "url", shown(c.url), "err", err, "retry", wait)
		if !pause(ctx, wait) {
			return
		}
	}
}

// ended reports whether Close or Dial has ended the client.
func (c *Client) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.shut != nil
}

// verdict decides whether to try again after err, and when.
func (c *Client) verdict(err error, try int, lasted time.Duration) (wait time.Duration, again bool) {
	var lowest time.Duration
	if d := new(dropped); errors.As(err, &d) {
		switch {
		case d.final():
			return 0, false
		case d.code == closeGoing && lasted > time.Second:
			return 0, true
		case d.code == closeInternal:
			lowest = time.Second // a bug does not go away in a moment
		}
	} else if e := message.AsError(err); e.Remote() {
		if e.Code == message.CodeUnauthenticated || e.Code == message.CodeForbidden || e.Code == message.CodeBadMessage {
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

// giveUp ends the client because the node does not want it back.
func (c *Client) giveUp(err error) {
	e := message.AsError(err)
	if d := new(dropped); errors.As(err, &d) {
		e = d.public()
	}
	c.mu.Lock()
	c.last = e
	c.mu.Unlock()
	c.log.Warn("the connection is over and the node said not to come back", "url", shown(c.url), "err", e)
	c.shutdown(e)
	c.abandonServed(e)
}

func (c *Client) become(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setState(s)
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
