package nodeapi

import (
	"context"
	"encoding/json"

	"github.com/ropewalk/ropewalk/exchange"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
	"github.com/ropewalk/ropewalk/session/keeper"
)

// Sessions is what a node can do with the sessions of its connections. Methods
// may block. The root package implements it.
type Sessions interface {
	// Open has p be who the credential says; see keeper.Keeper.Open.
	Open(ctx context.Context, p *exchange.Peer, credential string) (token string, err error)
	// Refresh has p's session last longer.
	Refresh(ctx context.Context, p *exchange.Peer) (token string, err error)
	// Leave ends p's session, or all of its subject.
	Leave(ctx context.Context, p *exchange.Peer, everywhere bool) error
	// List lists the sessions that are kept or live here, of one subject or all.
	List(ctx context.Context, subject string) ([]SessionInfo, error)
	// Revoke ends sessions on all nodes.
	Revoke(ctx context.Context, r keeper.Revocation) error
	// Merge takes what another node knows of revoked sessions.
	Merge(list []keeper.Revocation)
}

// SessionInfo is one session in the answer of node:/session/list.
type SessionInfo struct {
	ID      string `json:"id"`
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	// Clients are the connections of this node that it has.
	Clients []string `json:"clients,omitempty"`
	Since   float64  `json:"since,omitempty"`   // seconds since 1970
	Expires float64  `json:"expires,omitempty"` // likewise
	// Held tells that the nodes keep its state.
	Held bool `json:"held,omitempty"`
}

// SessionAnswer is the answer of node:/session, /open and /refresh.
type SessionAnswer struct {
	// Session is left out for nobody.
	Session json.RawMessage `json:"session,omitempty"`
	// Token replaces the one that the client has.
	Token string `json:"token,omitempty"`
}

func (h *api) serveSessions(s *service.Service) {
	about := service.WithDescription
	s.Handle("/session", service.Handle(h.session), about("Who the caller is."), service.WithIdempotent())
	s.Handle("/session/open", service.Handle(h.openSession), about("Be who a token says, from now on and on this connection."))
	s.Handle("/session/refresh", service.Handle(h.refreshSession), about("Have the caller's session last longer."))
	s.Handle("/session/close", service.Handle(h.closeSession), about("Log out, here or everywhere."))
	s.Handle("/session/list", service.Handle(h.listSessions), about("The sessions of this node."), service.WithIdempotent())
	s.Handle("/session/revoke", service.Handle(h.revokeSessions), about("End sessions of others, on all nodes."))
	s.Handle("/session/revocations", service.Handle(h.mergeRevocations), about("What nodes tell each other of sessions that were ended."))
}

var errNoSessions = message.NewError(message.CodeUnimplemented, "this node has no sessions",
	"Its configuration says so: sessions.form is \"none\".")

// caller returns the connection that calls a path about its own session.
func (h *api) caller(ctx context.Context) (*exchange.Peer, error) {
	if h.Sessions == nil {
		return nil, errNoSessions
	}
	p, ok := service.FromContext(ctx).Peer.(*exchange.Peer)
	if !ok {
		return nil, message.NewError(message.CodeForbidden, "a session belongs to a connection of this node",
			"Ask the node that you are connected to.")
	}
	return p, nil
}

func (h *api) session(ctx context.Context, _ none) (SessionAnswer, error) {
	return SessionAnswer{Session: service.SessionOf(ctx).Wire(false)}, nil
}

// Open is the input of node:/session/open.
type Open struct {
	// Token may also be in the field aut of the message.
	Token string `json:"token,omitempty"`
}

func (h *api) openSession(ctx context.Context, in Open) (SessionAnswer, error) {
	p, err := h.caller(ctx)
	if err != nil {
		return SessionAnswer{}, err
	}
	if in.Token == "" {
		in.Token = string(service.FromContext(ctx).Message.Authorization)
	}
	if in.Token == "" {
		return SessionAnswer{}, &message.Error{
			Code: message.CodeInvalidInput, Message: "there is no token", Path: "token",
			Hint: `Send {"token":"…"}, or the token in the field aut.`,
		}
	}
	return h.answer(p)(h.Sessions.Open(ctx, p, in.Token))
}

func (h *api) refreshSession(ctx context.Context, _ none) (SessionAnswer, error) {
	p, err := h.caller(ctx)
	if err != nil {
		return SessionAnswer{}, err
	}
	return h.answer(p)(h.Sessions.Refresh(ctx, p))
}

func (h *api) answer(p *exchange.Peer) func(string, error) (SessionAnswer, error) {
	return func(token string, err error) (SessionAnswer, error) {
		if err != nil {
			return SessionAnswer{}, err
		}
		return SessionAnswer{Session: p.Session().Wire(false), Token: token}, nil
	}
}

// Close is the input of node:/session/close.
type Close struct {
	// Everywhere ends all sessions of the caller's subject.
	Everywhere bool `json:"everywhere,omitempty"`
}

func (h *api) closeSession(ctx context.Context, in Close) (none, error) {
	p, err := h.caller(ctx)
	if err != nil {
		return none{}, err
	}
	return none{}, h.Sessions.Leave(ctx, p, in.Everywhere)
}

// SessionQuery is the input of node:/session/list.
type SessionQuery struct {
	Subject string `json:"subject,omitempty" query:"subject"`
}

// SessionList is the answer of node:/session/list.
type SessionList struct {
	Sessions []SessionInfo `json:"sessions"`
}

func (h *api) listSessions(ctx context.Context, in SessionQuery) (SessionList, error) {
	if err := h.mayManage(ctx); err != nil {
		return SessionList{}, err
	}
	list, err := h.Sessions.List(ctx, in.Subject)
	return SessionList{Sessions: list}, err
}

// Revoke is the input of node:/session/revoke: one of Session, Subject and All.
type Revoke struct {
	Session string `json:"session,omitempty"`
	Subject string `json:"subject,omitempty"`
	// All ends the sessions of everybody.
	All    bool   `json:"all,omitempty"`
	Reason string `json:"reason,omitempty"`
}

func (h *api) revokeSessions(ctx context.Context, in Revoke) (none, error) {
	if err := h.mayManage(ctx); err != nil {
		return none{}, err
	}
	return none{}, h.Sessions.Revoke(ctx, keeper.Revocation{Session: in.Session, Subject: in.Subject, All: in.All, Why: in.Reason})
}

// Revocations are the input of node:/session/revocations, and its answer, which
// is empty.
type Revocations struct {
	Revocations []keeper.Revocation `json:"revocations,omitempty"`
}

func (h *api) mergeRevocations(ctx context.Context, in Revocations) (Revocations, error) {
	if err := h.mayManage(ctx); err != nil {
		return Revocations{}, err
	}
	h.Sessions.Merge(in.Revocations)
	return Revocations{}, nil
}

func (h *api) mayManage(ctx context.Context) error {
	if h.Sessions == nil {
		return errNoSessions
	}
	return h.allowed(ctx)
}
