package client

import (
	"context"
	"slices"

	"github.com/ropewalk/ropewalk/message"
)

// greeting is what came of telling a node who the client is, on a connection
// that was just made.
type greeting struct {
	before  string       // the client's token when it began
	closed  bool         // and whether it was logged out
	token   string       // that opened the session; "" for none
	news    *sessionNews // what the node says; nil without a token
	refused error        // the token is not good, and the client goes on as nobody
	early   [][]byte     // frames that came meanwhile
}

// maxEarly bounds the frames that are kept while a node finds out who the client
// is. More is lost, as are sends that find no room in the inbox.
const maxEarly = maxInbox

// greet tells a node who the client is, on a connection on which nothing else has
// been sent, and waits for the answer. If it fails the connection is closed.
func (c *Client) greet(ctx context.Context, tr transport) (*greeting, error) {
	g := new(greeting)
	err := c.sayWho(ctx, tr, g)
	if err != nil {
		tr.kill()
		return nil, err
	}
	return g, nil
}

func (c *Client) sayWho(ctx context.Context, tr transport, g *greeting) error {
	c.mu.Lock()
	g.before, g.token, g.closed = c.who.token, c.who.token, c.who.closed
	ask := c.cfg.source != nil && !c.who.closed
	c.mu.Unlock()
	var err error
	if g.token != "" {
		err = c.open(ctx, tr, g)
	}
	if ask && (g.token == "" || refusedToken(err)) {
		var fresh string
		if fresh, err = c.fromSource(ctx); err != nil || fresh == "" {
			return err
		}
		g.token = fresh
		if err = c.open(ctx, tr, g); refusedToken(err) { // one that it has kept, perhaps
			if fresh, srcErr := c.fromSource(ctx); srcErr == nil && fresh != g.token && fresh != "" {
				g.token = fresh
				err = c.open(ctx, tr, g)
			}
		}
	}
	if refusedToken(err) && (c.decided || c.cfg.lazy) {
		c.log.Warn("the node does not take the client's token; it goes on as nobody", "err", err)
		g.refused, err = err, nil
	}
	return err
}

// refusedToken reports whether a node has said that a token is not good.
func refusedToken(err error) bool {
	return message.FromPeer(err) && message.CodeOf(err) == message.CodeUnauthenticated
}

// fromSource asks the program for a token. The error is not the node's, whatever
// it is, so it is tried again.
func (c *Client) fromSource(ctx context.Context) (string, error) {
	token, err := c.cfg.source(ctx)
	if err == nil {
		return token, nil
	}
	e := message.NewError(message.CodeNotReady, "there is no token to connect with: "+err.Error(),
		"See why the function of WithTokenSource fails.")
	e.Cause, e.Retryable = err, true
	return "", e
}

// open opens the session of g's token. Nobody else reads or writes yet.
func (c *Client) open(ctx context.Context, tr transport, g *greeting) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.handshake)
	defer cancel()
	stop := context.AfterFunc(ctx, tr.kill)
	mid := message.NewMid()
	n, err := c.exchange(tr, g, &message.Message{
		Verb: message.VerbCall, To: []byte(sessionOpen), Mid: []byte(mid), Authorization: []byte(g.token), Timeout: c.cfg.handshake,
	})
	if !stop() && !message.FromPeer(err) {
		e := message.NewError(message.CodeNotReady, "the node did not say in time whether the token is good", "")
		e.Cause, e.Retryable = ctx.Err(), true
		return e
	}
	if err != nil {
		return err
	}
	if n.Token != "" {
		g.token = n.Token
	}
	g.news = n
	return nil
}

// exchange sends a call and returns its answer. Other messages are kept.
func (c *Client) exchange(tr transport, g *greeting, m *message.Message) (*sessionNews, error) {
	if _, err := tr.write([][]byte{appendFrame(nil, m, c.cfg.json)}); err != nil {
		return nil, err
	}
	decode := decoder(c.cfg.json)
	var in message.Message
	for {
		frame, err := tr.read()
		if err != nil {
			return nil, err
		}
		in.Reset()
		if decode(frame, &in) == nil && string(in.Rmid) == string(m.Mid) {
			if in.EffectiveVerb() == message.VerbError {
				return nil, message.DecodeError(in.Body)
			}
			return parseNews(in.Body)
		}
		if len(g.early) == maxEarly {
			c.stats.dropped.Add(1)
			continue
		}
		g.early = append(g.early, slices.Clone(frame))
	}
}

// greeted takes what came of the greeting, on a connection that is in use from
// now on; c.mu is held.
func (c *Client) greeted(g *greeting) {
	id := &c.who
	switch {
	case id.token != g.before || id.closed != g.closed: // by a connection that drains, meanwhile
		c.reopen(0)
	case g.refused != nil:
		c.nobody(SessionEvent{Kind: SessionEnded, Reason: "the node does not take its token", Err: g.refused})
		c.reopen(1)
	case g.news == nil:
		c.nobody(SessionEvent{Kind: SessionEnded, Reason: "there is no token for this connection"})
	default:
		g.news.Token = g.token
		if c.somebody(g.news, true) {
			c.unbar()
		}
	}
}

// reopen has the client be somebody on the connection in use, as its token says
// or one of its source; c.mu is held. With try above 0 it waits first.
func (c *Client) reopen(try int) {
	id := &c.who
	if id.opening {
		id.again = true
		return
	}
	if c.mayOpen() {
		id.opening = c.lane.Go("client.reopen", func(ctx context.Context) { c.keepOpening(ctx, try) })
	}
}

// mayOpen reports whether there is, or may be, a token; c.mu is held.
func (c *Client) mayOpen() bool {
	return c.who.token != "" || c.cfg.source != nil && !c.who.closed
}

func (c *Client) keepOpening(ctx context.Context, try int) {
	for ; ; try++ {
		if try > 0 && !pause(ctx, backoff(try, c.cfg.minBackoff, c.cfg.maxBackoff)) {
			return
		}
		c.mu.Lock()
		token := c.who.token
		c.who.again = false
		c.mu.Unlock()
		var err error
		if token == "" {
			token, err = c.fromSource(ctx)
		}
		if err == nil && token != "" {
			_, err = c.OpenSession(ctx, token)
		}
		if c.opened(token, err) || ctx.Err() != nil {
			return
		}
	}
}

// opened takes what an attempt of keepOpening came to, and reports whether it is
// the last.
func (c *Client) opened(token string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := &c.who
	if refusedToken(err) && id.token == token {
		c.nobody(SessionEvent{Kind: SessionEnded, Reason: "the node does not take its token", Err: err})
	}
	// Without a connection the next one begins with it.
	over := !id.again && (err == nil || c.conn == nil || !c.mayOpen())
	id.opening = !over
	return over
}
