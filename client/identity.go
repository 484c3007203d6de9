package client

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"time"

	"github.com/ropewalk/ropewalk/call"
	"github.com/ropewalk/ropewalk/message"
)

// Session is who a client is for its node, as far as the client may know: of the
// claims about it those that are public. The zero Session is nobody.
type Session struct {
	// ID tells sessions apart. It is no secret, and no proof of anything.
	ID string `json:"id,omitempty"`
	// Subject is who it is; empty if nobody has logged in.
	Subject string `json:"subject,omitempty"`
	// Issuer is who said so; empty for the mesh itself.
	Issuer string `json:"issuer,omitempty"`
	// Public are the claims that the client may see. They must not be changed.
	Public map[string]any `json:"public,omitempty"`
	// Since is when it began.
	Since time.Time `json:"since,omitzero"`
	// Expires is when it ends if nothing happens. Zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Token opens the session on another connection, so it is as secret as a
	// password. It is neither in JSON nor in what is printed. Empty: the client
	// does not know one.
	Token string `json:"-"`
}

// Authenticated tells whether it is known who it is.
func (s Session) Authenticated() bool { return s.Subject != "" }

// String tells who it is, without claims and token.
func (s Session) String() string {
	switch {
	case s.ID == "":
		return "anonymous"
	case s.Subject == "":
		return s.ID
	}
	return s.Subject + "/" + s.ID
}

// GoString is String: a token has no place in what is printed.
func (s Session) GoString() string { return s.String() }

// SessionChange is what became of a session.
type SessionChange string

// The changes.
const (
	// SessionChanged: this is the session now, or its end has moved.
	SessionChanged SessionChange = "changed"
	// SessionEnding: it ends soon. Unless [WithoutRefresh] says otherwise the
	// client refreshes it.
	SessionEnding SessionChange = "ending"
	// SessionEnded: its time is over, or it was closed, or the node did not take
	// its token on a new connection. The client is nobody.
	SessionEnded SessionChange = "ended"
	// SessionRevoked: somebody ended it. The client is nobody.
	SessionRevoked SessionChange = "revoked"
)

// SessionEvent tells of a change of a client's session.
type SessionEvent struct {
	Kind SessionChange
	// Session is what it is now; the zero Session when it has ended.
	Session Session
	// Reason says why it has ended, for people; it may be empty.
	Reason string
	// Err is why the token of the session was refused on a new connection, with
	// CodeUnauthenticated, or why the session could not be refreshed; else nil.
	Err error
}

// WithToken says who the client is: a token, or another credential that nodes
// know. It is sent ahead of everything else on each connection, in a message and
// never in a URL. A token that the node gives instead replaces it. If the node
// refuses it Dial fails with CodeUnauthenticated; on a later connection, or with
// [WithLazy], the client is nobody from then on and tells so, see
// [WithOnSession].
func WithToken(credential string) Option { return option(func(c *config) { c.token = credential }) }

// WithTokenSource is [WithToken] with a function that gets a credential, from a
// file or another service. It is asked when the client connects and has no token
// of the session that it had, and again when the node refuses what it gave
// before. If it fails, the client tries again as if the node were not there. Its
// context ends when the client is closed; it must not wait for calls of this
// client. A session whose time is over is replaced by a new one from the source
// at once; one that was closed or revoked is not, but for the latter at the next
// connection.
func WithTokenSource(f func(ctx context.Context) (string, error)) Option {
	return option(func(c *config) { c.source = f })
}

// WithoutRefresh has a session end when it does: by itself the client refreshes
// it when the node warns that it ends soon. It is for programs that people
// use, where a session that nobody needs is to end; they call
// [Client.RefreshSession] themselves.
func WithoutRefresh() Option { return option(func(c *config) { c.noRefresh = true }) }

// WithOnSession has f told of every change of the client's session, in order, one
// at a time. f runs on a goroutine of the client and may call it, but not its
// Close; a slow f misses old changes, never the last.
func WithOnSession(f func(SessionEvent)) Option {
	return option(func(c *config) { c.onSession = append(c.onSession, f) })
}

// WithOnUnserve has f told when the node takes back a path that the client
// serves, because its session may not serve it any more: the address as it was
// served, and the error that says why. The path is not announced again until the
// session changes. f runs on a goroutine of its own.
func WithOnUnserve(f func(address string, err error)) Option {
	return option(func(c *config) { c.onUnserve = f })
}

// Session returns who the client is now; the zero Session is nobody. While there
// is no connection it is what it was on the last.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.who.now
}

// OnSession is [WithOnSession] from now on.
func (c *Client) OnSession(f func(SessionEvent)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who.news.watch(f)
}

// OpenSession has the client be who a credential says, on this connection and
// later ones. It waits for the node's answer, and for a connection if there is
// none; calls that are made meanwhile are still made as before. If the node
// refuses it, with CodeUnauthenticated, nothing changes.
func (c *Client) OpenSession(ctx context.Context, credential string) (Session, error) {
	if credential == "" {
		return Session{}, message.NewError(message.CodeInvalidInput, "there is no token", "Log in to get one.")
	}
	return c.askSession(ctx, sessionOpen, nil, credential)
}

// RefreshSession has the session last longer, as long as the node's
// configuration allows. Without a session it fails with CodeUnauthenticated.
func (c *Client) RefreshSession(ctx context.Context) (Session, error) {
	return c.askSession(ctx, sessionRefresh, nil, "")
}

// CloseSession logs out: the session is over, with everywhere all sessions of
// the same subject, on all nodes. The client is nobody from now on, also on later
// connections and with [WithTokenSource], until [Client.OpenSession] or a service
// logs it in. If it fails, nothing has changed that the client knows of.
func (c *Client) CloseSession(ctx context.Context, everywhere bool) error {
	var body any
	if everywhere {
		body = map[string]bool{"everywhere": true}
	}
	_, err := c.askSession(ctx, sessionClose, body, "")
	return err
}

// The paths of the node about the caller's session.
const (
	sessionOpen    = "node:/session/open"
	sessionRefresh = "node:/session/refresh"
	sessionClose   = "node:/session/close"
)

// askSession calls the node about the client's session. Each of the calls may
// be made twice, so the loss of a connection does not matter.
func (c *Client) askSession(ctx context.Context, address string, body any, credential string) (Session, error) {
	opts := []call.Option{call.WithIdempotent(), call.WithAuthorization(credential)}
	s := call.Collect(opts)
	f, err := c.prepare(ctx, message.VerbCall, address, body, &s)
	if err != nil {
		return Session{}, err
	}
	q := &inquiry{waiter: newWaiter(), c: c, flight: f, address: address, credential: credential}
	c.mu.Lock()
	f.sink = q
	c.arm(f)
	c.mu.Unlock()
	if err := c.enqueue(ctx, f.out, q.done); err != nil {
		c.abandon(f, err)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		c.abandon(f, call.Ended(ctx))
		<-q.done
	}
	return q.session, q.err
}

// inquiry is the sink of a call about the client's session. What the answer says
// is taken before anything that the node sent after it.
type inquiry struct {
	*waiter

	c          *Client
	flight     *flight
	address    string
	credential string
	session    Session
}

func (q *inquiry) finish(a *call.Answer, err error) {
	if err == nil {
		err = q.take(a.Body)
	}
	q.waiter.finish(a, err)
}

func (q *inquiry) take(body []byte) error {
	c := q.c
	c.mu.Lock()
	defer c.mu.Unlock()
	here := c.conn == nil || q.flight.wire == c.conn.wire
	if q.address == sessionClose {
		c.who.closed = true
		c.nobody(SessionEvent{Kind: SessionEnded, Reason: "logged out"})
		return nil
	}
	n, err := parseNews(body)
	if err != nil {
		return err
	}
	if n.Token == "" {
		n.Token = q.credential
	}
	if c.somebody(n, here) {
		c.serveAgain()
	}
	q.session = n.session(c.who.token)
	return nil
}

// identity is who the client is, and will be on its next connection. Guarded by
// Client.mu.
type identity struct {
	token  string // opens the session on the next connection; "" if there is none
	now    Session
	closed bool // the client was logged out, so its source of tokens is not asked
	news   watchers[SessionEvent]

	refreshing bool      // a goroutine is at it
	futile     time.Time // when the session ends, and no refresh moves that
	opening    bool      // a goroutine tries to be somebody, see reopen
	again      bool      // and is to do so once more
}

// news is what a node says of the client's session, in an answer or by itself.
type sessionNews struct {
	Event   SessionChange `json:"event"`
	Session *struct {
		ID      string         `json:"id"`
		Subject string         `json:"subject"`
		Issuer  string         `json:"issuer"`
		Public  map[string]any `json:"public"`
		Since   float64        `json:"since"`
		Expires float64        `json:"expires"`
	} `json:"session"`
	Token   string `json:"token"`
	Reason  string `json:"reason"`
	Expired bool   `json:"expired"` // its time is over, so another may be opened
}

func parseNews(body []byte) (*sessionNews, error) {
	n := new(sessionNews)
	if err := json.Unmarshal(body, n); err != nil {
		return nil, message.NewError(message.CodeBadMessage, "what the node says of the session cannot be read: "+err.Error(), "")
	}
	return n, nil
}

// session is what n says the session is, which token opens.
func (n *sessionNews) session(token string) Session {
	if n.Session == nil {
		return Session{}
	}
	s := n.Session
	return Session{
		ID: s.ID, Subject: s.Subject, Issuer: s.Issuer, Public: s.Public, Since: instant(s.Since), Expires: instant(s.Expires), Token: token,
	}
}

// instant is a time in seconds since 1970; 0 is none.
func instant(s float64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(math.Round(s * 1000)))
}

// somebody takes what the node says the session is. It is not here if it came by
// a connection that is about to be left: the one in use then has to be told. It
// reports whether anything changed. c.mu is held.
func (c *Client) somebody(n *sessionNews, here bool) bool {
	id := &c.who
	if n.Token != "" {
		id.token = n.Token
	}
	id.closed = false
	if !here && n.Token != "" {
		c.reopen(0)
		return false
	}
	next := n.session(id.token)
	if reflect.DeepEqual(next, id.now) {
		return false
	}
	id.now = next
	id.news.add(c, SessionEvent{Kind: SessionChanged, Session: next})
	return true
}

// nobody takes that there is no session any more; c.mu is held.
func (c *Client) nobody(e SessionEvent) {
	id := &c.who
	had := id.now.ID != "" || e.Err != nil
	id.token, id.now, id.futile = "", Session{}, time.Time{}
	if had {
		id.news.add(c, e)
	}
}

// receiveSession takes what the node says by itself of the session.
func (c *Client) receiveSession(cn *conn, m *message.Message) {
	n, err := parseNews(m.Body)
	if err != nil {
		c.malformed(cn, m, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id := &c.who
	here := c.conn == nil || c.conn == cn
	switch {
	case n.Event == SessionChanged:
		if c.somebody(n, here) {
			c.serveAgain()
		}
	case !here: // the node of the connection in use says so too
	case n.Event == SessionEnding:
		c.ending(n)
	case n.Event == SessionEnded:
		c.nobody(SessionEvent{Kind: SessionEnded, Reason: n.Reason})
		if n.Expired {
			c.reopen(0)
		} else {
			id.closed = true
		}
	case n.Event == SessionRevoked:
		c.nobody(SessionEvent{Kind: SessionRevoked, Reason: n.Reason})
	}
}

// ending has the session refreshed that ends soon; c.mu is held.
func (c *Client) ending(n *sessionNews) {
	id := &c.who
	next := n.session(id.token)
	id.now = next
	id.news.add(c, SessionEvent{Kind: SessionEnding, Session: next})
	if c.cfg.noRefresh || id.refreshing || next.Expires.Equal(id.futile) {
		return
	}
	id.refreshing = c.lane.Go("client.refresh", func(ctx context.Context) { c.refresh(ctx, next) })
}

// refresh has a session last longer, or tells why it does not.
func (c *Client) refresh(ctx context.Context, s Session) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.who.refreshing = false
	}()
	for try := 0; ; try++ {
		next, err := c.RefreshSession(ctx)
		c.mu.Lock()
		over := c.who.now.ID != s.ID || ctx.Err() != nil
		switch {
		case err == nil && !next.Expires.After(s.Expires):
			c.who.futile = next.Expires // its limit; to ask again changes nothing
			over = true
		case err == nil, over:
			over = true
		case message.CodeOf(err) == message.CodeUnauthenticated, time.Now().After(s.Expires):
			c.who.news.add(c, SessionEvent{Kind: SessionEnding, Session: c.who.now, Err: err})
			over = true
		}
		c.mu.Unlock()
		if over || !pause(ctx, backoff(try, c.cfg.minBackoff, c.cfg.maxBackoff)) {
			return
		}
	}
}
