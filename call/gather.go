package call

import (
	"encoding/json"
	"time"

	"github.com/ropewalk/ropewalk/message"
)

// Gathered is what came of asking many servers.
type Gathered struct {
	// Answers in the order in which they came, errors among them.
	Answers []ServerAnswer
	// Missing had not answered when the gather ended.
	Missing []Server
	// Servers is how many were asked.
	Servers int
}

// Server names one server and the path it was asked for.
type Server struct {
	ID   string // its client id, or the node's for a service compiled in
	Node string // the name of its node, if that is another one than the caller's
	Name string // of the service
	Path string
}

// ServerAnswer is what one server said: a body, or an error.
type ServerAnswer struct {
	Server
	// Took is the time from asking to the answer, as the node measured it.
	Took time.Duration
	// Body is nil for "no body" and for an error.
	Body []byte
	// ContentType is empty for JSON.
	ContentType string
	// Err is the server's error, nil if it answered well.
	Err *message.Error
}

// Decode returns Err if there is one, else puts the body into v, as [Decode]
// says.
func (a *ServerAnswer) Decode(v any) error {
	if a.Err != nil {
		return a.Err
	}
	return Decode(a.Body, a.ContentType, v)
}

// wireAnswer is one answer in a gather's reply; docs/reference/wire.md.
type wireAnswer struct {
	Server      string          `json:"server"`
	Node        string          `json:"node"`
	Name        string          `json:"name"`
	Path        string          `json:"path"`
	Took        float64         `json:"took"`
	Body        json.RawMessage `json:"body"`
	ContentType string          `json:"contentType"`
	Error       json.RawMessage `json:"error"`
}

func (w *wireAnswer) server() Server {
	return Server{ID: w.Server, Node: w.Node, Name: w.Name, Path: w.Path}
}

func (w *wireAnswer) answer() (ServerAnswer, error) {
	a := ServerAnswer{
		Server:      w.server(),
		Took:        time.Duration(w.Took * float64(time.Second)),
		Body:        w.Body,
		ContentType: w.ContentType,
	}
	switch {
	case len(w.Error) > 0 && string(w.Error) != "null":
		a.Err, a.Body, a.ContentType = message.DecodeError(w.Error), nil, ""
	case w.ContentType != "" && w.Body != nil:
		a.Body = nil
		if err := json.Unmarshal(w.Body, &a.Body); err != nil {
			return a, err
		}
	}
	return a, nil
}

// DecodeGathered reads the reply to a gather. Its errors have CodeBadMessage.
func DecodeGathered(body []byte) (*Gathered, error) {
	g := new(Gathered)
	if err := json.Unmarshal(body, g); err != nil {
		return nil, misfit("the reply is not that of a gather: "+err.Error(),
			"Gather needs a strategy that gathers: all or majority.", err)
	}
	return g, nil
}

// UnmarshalJSON reads the form in which a gather's reply travels.
func (g *Gathered) UnmarshalJSON(b []byte) error {
	var w struct {
		Answers []wireAnswer `json:"answers"`
		Missing []wireAnswer `json:"missing"`
		Servers int          `json:"servers"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*g = Gathered{Servers: w.Servers, Answers: make([]ServerAnswer, 0, len(w.Answers))}
	for i := range w.Answers {
		a, err := w.Answers[i].answer()
		if err != nil {
			return err
		}
		g.Answers = append(g.Answers, a)
	}
	for i := range w.Missing {
		g.Missing = append(g.Missing, w.Missing[i].server())
	}
	return nil
}

// UnmarshalJSON reads one answer of a gather, as it also comes as a part of a
// stream whose strategy asks for parts.
func (a *ServerAnswer) UnmarshalJSON(b []byte) error {
	var w wireAnswer
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	var err error
	*a, err = w.answer()
	return err
}
