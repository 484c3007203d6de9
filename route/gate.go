package route

import "slices"

// Gate may keep a server from being given a request. It is asked at the moment
// at which the server was chosen, and before it is handed the request: for
// middleware of the stage call, which itself runs before the choice.
type Gate interface {
	// Admit is given the request, whose Server, Route and parameters are those
	// of the choice, and the Responder of it. An error, which is a
	// *message.Error, has another server chosen if there is one; else it is the
	// answer. Admit runs on whatever goroutine hands the request on; it must not
	// block nor answer. It is asked again for each further try, and may refuse
	// what it admitted before.
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
	for _, g := range r.gates {
		if err := g.Admit(r, res); err != nil {
			return err
		}
	}
	return nil
}
