package route

import (
	"slices"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Gate may keep a server from being given a request. It is asked at the moment
// at which the server was chosen, and before it is handed the request: for
// middleware of the stage call, which itself runs before the choice.
type Gate interface {
	// Admit is given the request, whose Server, Route and parameters are those
	// of the choice, and the Responder of it. An error, which is a
	// *message.Error, has another server chosen if there is one; else it is the
	// answer. Admit runs on whatever goroutine hands the request on; it must not
	// block nor answer. It is asked again for each further try, and may refuse
	// what it admitted before. What it registers with OnFinish is told of the
	// refusal at once if another gate refuses the server.
	Admit(req *Request, res Responder) error
}

// Guard has gates asked about each server that is chosen for the request, after
// those that are there already. A gate that is there is not added again. The
// slice is kept and must not be changed: one that is used for all requests costs
// no allocation.
func (r *Request) Guard(gates ...Gate) {
	if len(r.gates) == 0 {
		r.gates = slices.Clip(gates)
		return
	}
	for _, g := range gates {
		if !slices.Contains(r.gates, g) {
			r.gates = slices.Concat(r.gates, []Gate{g}) // other requests share the array
		}
	}
}

// Admit asks all gates about the server that was chosen. The error is that of
// the first that refuses it.
func (r *Request) Admit(res Responder) error {
	if len(r.gates) <= 1 {
		for _, g := range r.gates {
			return g.Admit(r, res)
		}
		return nil
	}
	in := &admission{Responder: res}
	for _, g := range r.gates {
		if err := g.Admit(r, in); err != nil {
			in.refused(r, err)
			return err
		}
	}
	for _, f := range in.finishers {
		res.OnFinish(f)
	}
	return nil
}

// admission is the Responder that gates see when there are several: what the first
// want to be told of is another server's end, if a later one refuses this server.
type admission struct {
	Responder

	finishers []Finisher
}

// OnFinish implements Responder.
func (a *admission) OnFinish(f Finisher) { a.finishers = append(a.finishers, f) }

// Unwrap returns the Responder of the request.
func (a *admission) Unwrap() Responder { return a.Responder }

func (a *admission) refused(r *Request, err error) {
	for _, f := range a.finishers {
		f.Finished(Outcome{Route: r.Route, Err: message.AsError(err), Took: time.Since(r.Received)})
	}
}

var _ Responder = (*admission)(nil)
