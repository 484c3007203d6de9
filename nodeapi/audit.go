package nodeapi

import (
	"context"

	"github.com/ropewalk/ropewalk/audit"
	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/service"
)

// Caller is who has called the handler that ctx comes from, for the audit log;
// nobody outside of one.
func Caller(ctx context.Context) audit.Who {
	req := service.FromContext(ctx)
	if req == nil {
		return audit.Who{}
	}
	s := req.Session()
	who := audit.Who{Subject: s.Subject, Session: s.ID}
	if p := req.Peer; p != nil {
		who.Client, who.IP = p.ID(), p.RemoteAddr() // the log cuts off the port
	}
	return who
}

// note writes into the audit log what a caller has changed, or, if err is not
// nil, has tried to. Refusals are noted where they are made.
func (h *api) note(ctx context.Context, kind audit.Kind, detail string, err error) {
	e := audit.Event{Kind: kind, Outcome: audit.Done, Who: Caller(ctx), Address: service.FromContext(ctx).Address.String(), Detail: detail}
	if err != nil {
		e.Outcome, e.Code = audit.Failed, message.CodeOf(err)
	}
	h.Audit.Record(e)
}
