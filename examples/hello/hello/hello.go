// Package hello has the three services that a first look at Ropewalk meets:
// math calculates, text changes text, and report takes its time and says how
// far it is. They are what "ropewalk dev" serves, and show how a service is
// written; nothing in them depends on where they run.
package hello

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
	"github.com/ropewalk/ropewalk/service"
)

// Version is what the services say about themselves.
const Version = "1.0.0"

// Pace is the time between two parts of report:/long if nothing else is given:
// slow enough to be watched, and to be canceled on the way.
const Pace = 150 * time.Millisecond

// Services returns new services with the usual pace.
func Services() []*service.Service { return WithPace(Pace) }

// WithPace returns new services whose report takes pace for each step.
func WithPace(pace time.Duration) []*service.Service {
	return []*service.Service{Math(), Text(), Report(pace)}
}

// Pair is the input of the paths of math.
type Pair struct {
	A float64 `json:"a" jsonschema:"description=the first number"`
	B float64 `json:"b" jsonschema:"description=the second number"`
}

// Math returns the service math: /decimal/mul, add, sub and div take a
// [Pair] and answer with a number.
func Math() *service.Service {
	s := service.New("math", service.WithVersion(Version))
	about := service.WithDescription
	s.Handle("/decimal/mul", calc(func(in Pair) float64 { return in.A * in.B }), about("a times b"))
	s.Handle("/decimal/add", calc(func(in Pair) float64 { return in.A + in.B }), about("a plus b"))
	s.Handle("/decimal/sub", calc(func(in Pair) float64 { return in.A - in.B }), about("a minus b"))
	s.Handle("/decimal/div", calc(func(in Pair) float64 { return in.A / in.B }), about("a divided by b"))
	return s
}

// calc refuses what has no result that JSON can hold: x/0, and numbers over
// 1.8e308.
func calc(f func(Pair) float64) route.Handler {
	return service.Handle(func(_ context.Context, in Pair) (float64, error) {
		result := f(in)
		if math.IsNaN(result) || math.IsInf(result, 0) {
			return 0, message.NewError(message.CodeInvalidInput,
				fmt.Sprintf("there is no such number for %v and %v", in.A, in.B), "Take smaller numbers, and none that are 0 to divide by.")
		}
		return result, nil
	})
}

// Text returns the service text: /up takes a text and answers with the same in
// capitals.
func Text() *service.Service {
	s := service.New("text", service.WithVersion(Version))
	s.Handle("/up", service.Handle(func(_ context.Context, in string) (string, error) {
		return strings.ToUpper(in), nil
	}), service.WithDescription("a text in capitals"))
	return s
}

// Order is the input of report:/long.
type Order struct {
	Title string `json:"title,omitempty" jsonschema:"maxLength=100,description=of the report"`
	Steps int    `json:"steps,omitempty" jsonschema:"minimum=0,maximum=1000,description=how many; 20 if left out"`
}

// Progress is a part of report:/long.
type Progress struct {
	Step    int    `json:"step"`
	Of      int    `json:"of"`
	Percent int    `json:"percent"`
	Note    string `json:"note"`
}

// Summary is the reply of report:/long.
type Summary struct {
	Title   string  `json:"title"`
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
}

// steps is how many there are if the order does not say.
const steps = 20

var notes = []string{"Reading the books", "Adding up", "Looking for gaps", "Drawing the charts", "Binding the pages"}

// Report returns the service report: /long sends a [Progress] after each step,
// and at the end a [Summary]. It stops when its caller cancels.
func Report(pace time.Duration) *service.Service {
	s := service.New("report", service.WithVersion(Version))
	s.Handle("/long", service.Stream(func(ctx context.Context, in Order, send func(Progress) error) (Summary, error) {
		return write(ctx, in, pace, send)
	}), service.WithDescription("a report that takes its time and sends its progress"))
	return s
}

func write(ctx context.Context, in Order, pace time.Duration, send func(Progress) error) (Summary, error) {
	began := time.Now()
	n := in.Steps
	if n == 0 {
		n = steps
	}
	tick := time.NewTicker(max(pace, time.Microsecond))
	defer tick.Stop()
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Summary{}, ctx.Err()
		}
		p := Progress{Step: i + 1, Of: n, Percent: 100 * (i + 1) / n, Note: notes[i*len(notes)/n]}
		if err := send(p); err != nil {
			return Summary{}, fmt.Errorf("send step %d: %w", p.Step, err)
		}
	}
	title := in.Title
	if title == "" {
		title = "The long report"
	}
	return Summary{Title: title, Steps: n, Seconds: time.Since(began).Seconds()}, nil
}
