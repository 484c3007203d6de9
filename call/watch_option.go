package call

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ropewalk/ropewalk/message"
)

// WatchOption changes one watch.
type WatchOption interface{ applyWatch(*WatchSettings) }

// BothOption is an option of a call, or here rather of a get, and of a watch.
type BothOption interface {
	Option
	WatchOption
}

type watchOption func(*WatchSettings)

func (f watchOption) applyWatch(s *WatchSettings) { f(s) }

type bothOption struct {
	option
	watchOption
}

// The ways in which a change of a content can travel; see [WithDelta].
const (
	DeltaMerge = "merge" // JSON Merge Patch, RFC 7396
	DeltaPatch = "patch" // JSON Patch, RFC 6902
	DeltaRows  = "rows"  // rows by their key
)

// WatchSettings is what the options of one watch add up to. It is for those who
// implement a [Watcher]; others use the With functions.
type WatchSettings struct {
	// Params is a JSON object in canonical form, keys sorted and no blanks; nil
	// if there are none.
	Params json.RawMessage
	// Delta are the ways in which changes may travel.
	Delta []string
	// History is with how many events of before to begin.
	History int
	// Recover is what was seen last; nil if nothing was.
	Recover *Position
	// Buffer is how many events the watch may hold; at least 1.
	Buffer int
	// Err is set if an option makes no sense: the watch ends with it.
	Err error
}

// CollectWatch adds options up, defaults filled in.
func CollectWatch(opts []WatchOption) WatchSettings {
	s := WatchSettings{Buffer: DefaultBuffer}
	for _, o := range opts {
		o.applyWatch(&s)
	}
	return s
}

// WithParams filters the content of a topic: params is what encoding/json writes
// as an object, nil for none. The same content with other params is another
// topic. It is for gets and watches; calls ignore it.
func WithParams(params any) BothOption {
	canonical, err := canonicalParams(params)
	return bothOption{
		func(s *Settings) { s.Params, s.ParamsErr = canonical, err },
		func(s *WatchSettings) {
			s.Params = canonical
			if err != nil {
				s.Err = err
			}
		},
	}
}

// WithDelta lets changes of a content travel as differences where these are
// smaller, for lines on which bytes count. The watch has whole contents all the
// same. Without kinds it is all that there are: [DeltaMerge], [DeltaPatch] and
// [DeltaRows], of rows with a key column "id"; of rows with another one it is
// "rows:" and its name.
func WithDelta(kinds ...string) WatchOption {
	if len(kinds) == 0 {
		kinds = []string{DeltaMerge, DeltaPatch, DeltaRows}
	}
	kinds = slices.Clone(kinds)
	return watchOption(func(s *WatchSettings) { s.Delta = kinds })
}

// WithHistory has a watch of an event topic begin with the last n events, as far
// as they are kept. Default: with what comes from now on.
func WithHistory(n int) WatchOption {
	return watchOption(func(s *WatchSettings) { s.History = max(n, 0) })
}

// WithRecover has a watch begin after what was seen last, by this program or one
// that ran before it: [Update.Position]. Of an event topic all events since then
// come; if they are not all kept, an update with Gap comes first. Of a state
// topic the content comes only if it is another one. Within one watch that is
// done without this option whenever the connection is lost.
func WithRecover(last Position) WatchOption {
	return watchOption(func(s *WatchSettings) { s.Recover = &last })
}

// canonicalParams writes params as an object with sorted keys.
func canonicalParams(params any) (json.RawMessage, error) {
	if params == nil {
		return nil, nil
	}
	body, err := Encode(params, "")
	if err != nil {
		return nil, err
	}
	if body.ContentType != "" {
		e := message.NewError(message.CodeInvalidInput, fmt.Sprintf("the params of a topic are wrong: %T is not written as JSON", params),
			"Give a struct, a map or raw JSON.")
		e.Path = "params"
		return nil, e
	}
	return message.CanonicalParams(body.Bytes)
}

var (
	_ BothOption  = bothOption{}
	_ WatchOption = watchOption(nil)
)
