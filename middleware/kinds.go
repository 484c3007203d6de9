package middleware

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ropewalk/ropewalk/message"
	"github.com/ropewalk/ropewalk/route"
)

// Env is what middleware made from a configuration file gets from its node.
// Every field may be nil.
type Env struct {
	Logger   *slog.Logger
	Registry prometheus.Registerer
	Tracer   Tracer
}

// Kind describes a middleware that [New] can make.
type Kind struct {
	Name        string        // one of route.KindRecover …
	Description string        // one sentence
	Stages      []route.Stage // where it makes sense; the first is the usual one
	Settings    any           // the zero value of its configuration; nil if it has none

	build builder
}

// builder makes a middleware of its settings.
type builder func(raw json.RawMessage, env Env) (built, error)

type built struct {
	mw    route.Middleware
	shown any            // of the settings
	state route.Stateful // nil for none
}

// Kinds returns every kind that [New] can make, in the order in which they
// usually stand in a stage.
func Kinds() []Kind { return slices.Concat(watching(), guarding(), mending()) }

// The stages in which a kind makes sense, the usual one first.
const (
	inbound = route.StageInbound
	call    = route.StageCall
	serve   = route.StageServe
	deliver = route.StageDeliver
)

// watching are the kinds that see what becomes of messages.
func watching() []Kind {
	return []Kind{
		{
			Name: route.KindRecover, Description: "Turns a panic into an error and logs its stack.",
			Stages: []route.Stage{inbound, call, serve, deliver, route.StageOutbound},
			build:  plain(func(env Env) (route.Middleware, error) { return Recover(env.Logger), nil }),
		},
		{
			Name: route.KindMetrics, Description: "Counts calls, their errors, time and number in flight, by route.",
			Stages: []route.Stage{call, serve},
			build: plain(func(env Env) (route.Middleware, error) {
				m, err := NewCallMetrics(env.Registry)
				return Metrics(m), err
			}),
		},
		{
			Name: route.KindTrace, Description: "Makes a span of each message and passes its W3C trace context on.",
			Stages: []route.Stage{call, serve, deliver},
			build:  plain(func(env Env) (route.Middleware, error) { return Trace(env.Tracer), nil }),
		},
		{
			Name: route.KindLog, Description: "Logs each message at level debug, and slow calls as warnings.",
			Stages: []route.Stage{call, inbound, serve, deliver}, Settings: LogConfig{},
			build: configured(func(c LogConfig, env Env) (route.Middleware, error) { return Log(env.Logger, c), nil }),
		},
	}
}

// guarding are the kinds that refuse messages, or answer for others.
func guarding() []Kind {
	return []Kind{
		{
			Name: route.KindSecret, Description: "Lets only messages pass whose field aut is a shared secret.",
			Stages: []route.Stage{inbound, call}, Settings: SecretConfig{},
			build: hidden(configured(func(c SecretConfig, _ Env) (route.Middleware, error) { return Secret(c), nil })),
		},
		{
			Name: route.KindRate, Description: "Limits how many messages a second pass, in all or by client, address, session, user or route.",
			Stages: []route.Stage{inbound, call, serve, deliver}, Settings: RateConfig{},
			build: configured(func(c RateConfig, _ Env) (route.Middleware, error) { return RateLimit(c), nil }),
		},
		{
			Name: route.KindFallback, Description: "Answers in the place of what failed: another address, the last good answer, a value.",
			Stages: []route.Stage{inbound}, Settings: FallbackConfig{},
			build: configured(func(c FallbackConfig, env Env) (route.Middleware, error) {
				m, err := NewFallbackMetrics(env.Registry)
				return Fallback(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindShed, Description: "Refuses the calls that matter least while the node has too much to do.",
			Stages: []route.Stage{call, serve}, Settings: ShedConfig{},
			build: stateful(func(c ShedConfig, env Env) (*Shedder, error) {
				m, err := NewShedMetrics(env.Registry)
				return NewShed(m, c), err
			}),
		},
		{
			Name: route.KindDeadline, Description: "Gives calls a default and a longest time, by route.",
			Stages: []route.Stage{call, serve}, Settings: DeadlineConfig{},
			build: configured(func(c DeadlineConfig, _ Env) (route.Middleware, error) { return Deadline(c), nil }),
		},
	}
}

// mending are the kinds that see to the answer of a call.
func mending() []Kind {
	return []Kind{
		{
			Name: route.KindOrder, Description: "Has the calls of a session run one after another, in the order in which they came.",
			Stages: []route.Stage{call}, Settings: OrderConfig{},
			build: configured(func(c OrderConfig, env Env) (route.Middleware, error) {
				m, err := NewOrderMetrics(env.Registry)
				return InOrder(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindRetry, Description: "Tries calls again that failed and may be repeated.",
			Stages: []route.Stage{call}, Settings: RetryConfig{},
			build: configured(func(c RetryConfig, env Env) (route.Middleware, error) {
				m, err := NewRetryMetrics(env.Registry)
				return Retry(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindIdempotency, Description: "Executes a call with an idempotency key once, and gives its answer again.",
			Stages: []route.Stage{call, serve}, Settings: IdempotencyConfig{},
			build: configured(func(c IdempotencyConfig, env Env) (route.Middleware, error) {
				m, err := NewIdempotencyMetrics(env.Registry)
				return Idempotency(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindCache, Description: "Keeps the answers of routes that only read.",
			Stages: []route.Stage{call}, Settings: CacheConfig{},
			build: stateful(func(c CacheConfig, env Env) (*AnswerCache, error) {
				m, err := NewCacheMetrics(env.Registry)
				return NewCache(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindHedge, Description: "Asks a second server when the first is slow, if the call may be repeated.",
			Stages: []route.Stage{call}, Settings: HedgeConfig{},
			build: configured(func(c HedgeConfig, env Env) (route.Middleware, error) {
				m, err := NewHedgeMetrics(env.Registry)
				return Hedge(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindBreaker, Description: "Leaves servers alone that have failed too often lately.",
			Stages: []route.Stage{call}, Settings: BreakerConfig{},
			build: stateful(func(c BreakerConfig, env Env) (*CircuitBreaker, error) {
				m, err := NewBreakerMetrics(env.Registry)
				return NewBreaker(env.Logger, m, c), err
			}),
		},
		{
			Name: route.KindLimit, Description: "Limits how many calls run at a time; others wait in a bounded queue.",
			Stages: []route.Stage{call, serve}, Settings: LimitConfig{},
			build: stateful(func(c LimitConfig, env Env) (*Limiter, error) { return NewLimiter(env.Logger, c), nil }),
		},
	}
}

// New makes the stack entry of a kind from its settings in JSON; nothing or null
// means the defaults. The name of the entry is name, or the kind if that is "".
// The error is an *message.Error with [message.CodeInvalidInput] that names the
// setting at fault.
func New(kind, name string, settings json.RawMessage, env Env) (route.Entry, error) {
	kinds := Kinds()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == kind })
	if i < 0 {
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = k.Name
		}
		return route.Entry{}, invalid("kind", fmt.Sprintf("there is no middleware of the kind %q", kind), "Use one of "+strings.Join(names, ", ")+".")
	}
	b, err := kinds[i].build(settings, env)
	if err != nil {
		return route.Entry{}, err
	}
	if name == "" {
		name = kind
	}
	return route.Entry{
		Name: name, Middleware: b.mw, Kind: kind, Description: kinds[i].Description, Settings: b.shown, State: b.state,
	}, nil
}

// plain makes a kind that has no settings.
func plain(build func(env Env) (route.Middleware, error)) builder {
	return func(raw json.RawMessage, env Env) (built, error) {
		if err := decode(raw, &struct{}{}); err != nil {
			return built{}, err
		}
		mw, err := build(env)
		return built{mw: mw}, registered(err)
	}
}

// registered makes an error of that of a registry.
func registered(err error) error {
	if err == nil {
		return nil
	}
	e := message.NewError(message.CodeConflict, "the metrics cannot be registered", "Give the node a registry of its own.")
	e.Cause = err
	return e
}

// configured makes a kind of a constructor and its configuration.
func configured[C any](build func(C, Env) (route.Middleware, error)) builder {
	return func(raw json.RawMessage, env Env) (built, error) {
		c, err := settingsOf[C](raw)
		if err != nil {
			return built{}, err
		}
		mw, err := build(c, env)
		return built{mw: mw, shown: c}, registered(err)
	}
}

// stateful makes a kind of a constructor of something that has a state.
func stateful[C any, M interface {
	route.Stateful
	Middleware() route.Middleware
}](build func(C, Env) (M, error)) builder {
	return func(raw json.RawMessage, env Env) (built, error) {
		c, err := settingsOf[C](raw)
		if err != nil {
			return built{}, err
		}
		m, err := build(c, env)
		if err != nil {
			return built{}, registered(err)
		}
		return built{mw: m.Middleware(), shown: c, state: m}, nil
	}
}

// settingsOf reads a configuration and checks it.
func settingsOf[C any](raw json.RawMessage) (c C, err error) {
	if err := decode(raw, &c); err != nil {
		return c, err
	}
	if v, ok := any(c).(interface{ Validate() error }); ok {
		return c, v.Validate()
	}
	return c, nil
}

// hidden does not show the settings, which are secrets.
func hidden(build builder) builder {
	return func(raw json.RawMessage, env Env) (built, error) {
		b, err := build(raw, env)
		b.shown = nil
		return b, err
	}
}

func decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); errors.Is(more, io.EOF) {
			return nil
		}
		err = errors.New("there is something behind the settings")
	}
	hint := "This kind has no settings."
	if names := settingNames(reflect.TypeOf(into).Elem()); len(names) > 0 {
		hint = "The settings of this kind are " + strings.Join(names, ", ") + "."
	}
	e := invalid("settings", "the settings cannot be read: "+strings.TrimPrefix(err.Error(), "json: "), hint)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		e.Path = wrong.Field
	}
	return e
}

// settingNames lists the JSON names of a configuration.
func settingNames(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			out = append(out, name)
		} else if f.Anonymous {
			out = append(out, settingNames(f.Type)...)
		}
	}
	return out
}

func invalid(field, text, hint string) *message.Error {
	e := message.NewError(message.CodeInvalidInput, text, hint)
	e.Path = field
	return e
}

// must panics with what is wrong with the configuration of a constructor: a
// mistake of the program that calls it, at its start.
func must(err error) {
	if err != nil {
		panic("middleware: " + err.Error()) //nolint:forbidigo // at start-up
	}
}
