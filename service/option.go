package service

import (
	"encoding/json"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Option is a setting of [New].
type Option interface{ applyService(s *Service) }

// HandleOption is a setting of [Service.Handle].
type HandleOption interface{ applyHandle(h *handling) }

// BothOption is a setting of a service, or of one of its paths, for which it
// then replaces the service's.
type BothOption interface {
	Option
	HandleOption
}

// handling is what the options of one path set.
type handling struct {
	info   route.Info
	given  bool           // schemas were given by WithSchemas
	inline []message.Verb // that were given to WithInline

	publish route.Handler // that was given to OnPublish
}

type serviceOption func(*Service)

func (o serviceOption) applyService(s *Service) { o(s) }

type handleOption func(*handling)

func (o handleOption) applyHandle(h *handling) { o(h) }

type bothOption struct {
	serviceOption
	handleOption
}

// WithVersion says which version of the service this is. Callers may ask for a
// range of versions, and a node may split calls among them, if it is a semantic
// version such as 1.2.0. Default: none.
func WithVersion(version string) BothOption {
	return bothOption{
		func(s *Service) { s.version = version },
		func(h *handling) { h.info.Version = version },
	}
}

// WithDescription says in a sentence what the service, or the path, is for.
// Default: none.
func WithDescription(text string) BothOption {
	return bothOption{
		func(s *Service) { s.description = text },
		func(h *handling) { h.info.Description = text },
	}
}

// WithMetadata adds a JSON object for the application. Ropewalk shows it and
// does not look at it. Default: none.
func WithMetadata(object json.RawMessage) BothOption {
	return bothOption{
		func(s *Service) { s.metadata = object },
		func(h *handling) { h.info.Metadata = object },
	}
}

// WithIdempotent says that executing a call twice does no more than executing it
// once, so that a node may repeat one whose server was lost. Default: unknown,
// and only calls that say so themselves are repeated.
func WithIdempotent() BothOption {
	return bothOption{
		func(s *Service) { s.idempotent = true },
		func(h *handling) { h.info.Idempotent = true },
	}
}

// WithConcurrency sets how many calls of the service run at a time, and how
// many more may wait for their turn before the next is refused with
// [message.CodeOverloaded]. Less than 1 call means [DefaultConcurrency]; less
// than 0 waiting means [DefaultQueue], and 0 that none may wait.
func WithConcurrency(calls, waiting int) Option {
	return serviceOption(func(s *Service) { s.concurrency, s.queue = calls, waiting })
}

// WithLevels has the calls of each level counted apart: as many of each run, and
// wait, as [WithConcurrency] says. Calls of a service that wait for other calls of
// it would else keep these from being run. of is called from any goroutine, and
// must not block; there are as many queues as it has results.
func WithLevels(of func(*route.Request) int) Option {
	return serviceOption(func(s *Service) { s.levels = of })
}

// WithSchemas gives the JSON Schemas of a path's input and output, either may
// be nil. The input is checked before the handler is called, as for a typed
// handler; the output is only described. Schemas that the handler derives from
// its types are replaced; handlers of [Watch] and [Events] go on to check by these.
func WithSchemas(in, out json.RawMessage) HandleOption {
	return handleOption(func(h *handling) { h.info.In, h.info.Out, h.given = in, out, true })
}
